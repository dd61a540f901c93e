import NIOConcurrencyHelpers

/// Delivers messages into mailboxes in batches that share syncs. Calls block on the disk; it's thread-safe.
package final class MailDeliverer: Sendable {
    private let directory: DirectoryAccess
    /// Deliveries in progress. A duplicate, from a queue manager that lost its connection, has to wait.
    private let underWay = NIOLockedValueBox<Set<Identity>>([])
    private let open = NIOLockedValueBox<[Place: DeliveryFolder]>([:])
    private let rooms = MaildirRooms()
    private let mboxKeys = MboxKeys()

    /// Folders kept open; each takes three descriptors.
    private static let maximumOpen = 200
    /// How long a folder is kept open, in seconds. Opening it removes old files from its `tmp/`.
    private static let maximumAge = 12 * 3600
    /// Names in `new` and `cur` that are remembered of all folders together; the folder in use has as many as it has.
    private static let maximumRemembered = 1_000_000
    /// For this many files or more, one syncfs is faster than syncing each file.
    private static let syncAllFrom = 3

    /// One message for one mailbox.
    private struct Identity: Hashable {
        let location: MailboxLocation
        let key: String
    }

    private struct Place: Hashable {
        let location: MailboxLocation
        let folder: FolderName
    }

    /// State of one call.
    private struct Batch {
        /// Open folders whose paths were verified in this batch.
        var folders: [Place: DeliveryFolder] = [:]
        /// Written to `tmp/`, not yet renamed.
        var steps: [MaildirDelivery] = []
        let token = BatchToken()
    }

    package init(_ directory: MailDirectory) { self.directory = directory.directory }

    /// Returns once each delivery is on stable storage or has failed: `busy` if the mbox is locked or the same delivery is in
    /// progress, `uncertain` if the message may be there.
    package func deliver(_ deliveries: [Delivery]) -> [Result<Void, MailboxError>] {
        var results = deliveries.map { _ in Result<Void, MailboxError>.success(()) }
        var batch = Batch()
        var begun: [Identity] = []
        defer { underWay.withLockedValue { $0.subtract(begun) } }
        for (index, delivery) in deliveries.enumerated() {
            let identity = Identity(location: delivery.location, key: delivery.key)
            guard underWay.withLockedValue({ $0.insert(identity).inserted }) else {
                results[index] = .failure(.busy)
                continue
            }
            begun.append(identity)
            do throws(MailboxError) {
                switch delivery.location.format {
                case .maildir, .maildirTree: try write(delivery, index, &batch)
                case .mbox: try MboxDelivery(delivery, try MboxStore(delivery.location, in: directory), mboxKeys).run()
                }
            } catch {
                results[index] = .failure(error)
            }
        }
        sync(&batch.steps, &results)
        place(batch.steps, &results)
        return results
    }

    // MARK: Into tmp

    private func write(_ delivery: Delivery, _ index: Int, _ batch: inout Batch) throws(MailboxError) {
        do throws(MailboxError) {
            try attempt(delivery, index, &batch)
        } catch {
            guard error == .notFound else { throw error }
            // The Maildir was removed while it was open here; create it again.
            open.withLockedValue { $0 = $0.filter { $0.key.location != delivery.location } }
            batch.folders = batch.folders.filter { $0.key.location != delivery.location }
            try attempt(delivery, index, &batch)
        }
    }

    private func attempt(_ delivery: Delivery, _ index: Int, _ batch: inout Batch) throws(MailboxError) {
        var step = MaildirDelivery(delivery, index: index, try folder(for: delivery, &batch))
        if step.mayBeKnown, try wasPlaced(step, &batch) { return }
        // Before the quota is looked at: a large message may take minutes to arrive, and others must know of it.
        rooms.claim(delivery.octets, for: step.beginning, in: delivery.location)
        do throws(MailboxError) {
            if delivery.location.quota > 0 { try checkQuota(step) }
            try step.write()
        } catch {
            rooms.release(step.beginning, in: delivery.location)
            step.undo()
            throw error
        }
        batch.steps.append(step)
    }

    /// Whether an earlier attempt delivered it; if so, it's on stable storage when this returns. Searches the inbox too, as
    /// the folder may have been created since.
    private func wasPlaced(_ step: MaildirDelivery, _ batch: inout Batch) throws(MailboxError) -> Bool {
        limitMemory(for: step.folder)
        if try step.folder.hasMessage(step.beginning, batch: batch.token) { return true }
        guard !step.folder.place.isEmpty else { return false }
        let inbox = try folder(Place(location: step.location, folder: .inbox), &batch)
        return try inbox.hasMessage(step.beginning, batch: batch.token)
    }

    /// Forgets what other folders had, where that is too much.
    private func limitMemory(for folder: DeliveryFolder) {
        guard folder.remembered == 0 else { return }
        let others = open.withLockedValue { Array($0.values) }.filter { $0 !== folder }
        guard others.reduce(0, { $0 + $1.remembered }) > Self.maximumRemembered else { return }
        for other in others { other.forgetListing() }
    }

    private func checkQuota(_ step: MaildirDelivery) throws(MailboxError) {
        do throws(MailboxError) {
            return try step.checkQuota(pending: rooms.before(step.beginning, in: step.location))
        } catch {
            guard error == .overQuota else { throw error }
        }
        // What arrived meanwhile may have been counted twice: as what others claim, and as what is there.
        try rooms.counting(in: step.location) { pending throws(MailboxError) in
            try step.checkQuota(pending: pending(step.beginning))
        }
    }

    /// The delivery's preferred folder if it exists, otherwise the inbox.
    private func folder(for delivery: Delivery, _ batch: inout Batch) throws(MailboxError) -> DeliveryFolder {
        if delivery.isJunk { return try junk(of: delivery.location, &batch) }
        if let wanted = delivery.folder, !wanted.isInbox {
            do throws(MailboxError) {
                return try folder(Place(location: delivery.location, folder: wanted), &batch)
            } catch {
                // Any other error leaves open whether it exists, and a retry must search the same places.
                guard error == .notFound else { throw error }
            }
        }
        return try folder(Place(location: delivery.location, folder: .inbox), &batch)
    }

    /// The folder that the user's programs call so (RFC 6154, `\Junk`), or else `Junk`.
    private func junk(of location: MailboxLocation, _ batch: inout Batch) throws(MailboxError) -> DeliveryFolder {
        // Makes the Maildir if it's missing.
        let inbox = try folder(Place(location: location, folder: .inbox), &batch)
        let maildir = inbox.maildir
        let names = try maildir.folders().filter(\.isSelectable).map(\.name)
        let uses = try maildir.specialUses(of: names.filter { !$0.isInbox })
        let marked = names.first { uses[$0]?.contains { $0.lowercased() == "\\junk" } == true }
        guard let junk = marked ?? FolderName("Junk", delimiter: location.delimiter) else { return inbox }
        if marked == nil, !names.contains(junk) {
            do throws(MailboxError) {
                try maildir.create(junk)
                try maildir.setSpecialUses(["\\Junk"], of: junk)
            } catch {
                guard error == .exists else { throw error }
            }
        }
        return try folder(Place(location: location, folder: junk), &batch)
    }

    private func folder(_ place: Place, _ batch: inout Batch) throws(MailboxError) -> DeliveryFolder {
        if let known = batch.folders[place] { return known }
        let folder: DeliveryFolder
        if let known = open.withLockedValue({ $0[place] }), known.opened > directory.disk.seconds - Self.maximumAge,
            try known.isInPlace(place.location, in: directory)
        {
            folder = known
        } else {
            folder = try DeliveryFolder(place.folder, of: place.location, in: directory)
            open.withLockedValue { open in
                if open.count >= Self.maximumOpen { open.removeAll() }
                open[place] = folder
            }
        }
        batch.folders[place] = folder
        return folder
    }

    // MARK: Into new

    /// Syncs the content of all files; removes those that fail.
    private func sync(_ steps: inout [MaildirDelivery], _ results: inout [Result<Void, MailboxError>]) {
        var counts: [UInt64: Int] = [:]
        for step in steps { counts[step.folder.device, default: 0] += 1 }
        var synced: [UInt64: Result<Void, MailboxError>] = [:]
        steps.removeAll { step in
            let device = step.folder.device
            do throws(MailboxError) {
                if counts[device, default: 0] < Self.syncAllFrom {
                    try step.sync()
                } else if let known = synced[device] {
                    try known.get()
                } else {
                    // syncfs reports an error only once, without saying which file it concerns: all of them fail.
                    let result = Result { () throws(MailboxError) in try step.folder.new.syncAll() }
                    synced[device] = result
                    try result.get()
                }
                return false
            } catch {
                results[step.index] = .failure(error)
                rooms.release(step.beginning, in: step.location)
                step.undo()
                return true
            }
        }
    }

    /// Deliveries into one folder.
    private struct Arrival {
        let folder: DeliveryFolder
        let location: MailboxLocation
        var steps: [MaildirDelivery] = []
    }

    private func place(_ steps: [MaildirDelivery], _ results: inout [Result<Void, MailboxError>]) {
        var arrivals: [Arrival] = []
        for step in steps {
            let known = arrivals.firstIndex { $0.folder === step.folder }
            if known == nil { arrivals.append(Arrival(folder: step.folder, location: step.location)) }
            arrivals[known ?? arrivals.count - 1].steps.append(step)
        }
        for arrival in arrivals {
            var placed: [MaildirDelivery] = []
            rooms.arriving(in: arrival.location) {
                placed = place(arrival, &results)
                let octets = placed.reduce(0) { $0 + $1.diskOctets }
                if !placed.isEmpty { arrival.folder.maildir.quota.record(octets: octets, messages: placed.count) }
                for step in arrival.steps { rooms.release(step.beginning, in: arrival.location) }
            }
            guard !placed.isEmpty else { continue }
            do throws(MailboxError) {
                try arrival.folder.new.sync()
                // Somebody may have removed the folder or the Maildir meanwhile, and the open directories with it.
                guard try arrival.folder.isInPlace(arrival.location, in: directory) else { throw .notFound }
                for step in placed { arrival.folder.add(step.beginning) }
                // Another call may have opened the folder once more since, and read it before these were there.
                let place = Place(location: arrival.location, folder: arrival.folder.name)
                let current = open.withLockedValue { $0[place] }
                if current !== arrival.folder { current?.forgetListing() }
            } catch {
                arrival.folder.forgetListing()
                for step in placed { results[step.index] = .failure(error.asUncertain) }
            }
        }
    }

    /// Renames the files into `new`. Returns those that are there.
    private func place(_ arrival: Arrival, _ results: inout [Result<Void, MailboxError>]) -> [MaildirDelivery] {
        var placed: [MaildirDelivery] = []
        for step in arrival.steps {
            do throws(MailboxError) {
                try step.place()
                placed.append(step)
            } catch {
                results[step.index] = .failure(error.asUncertain)
                step.folder.forgetListing()
                step.undo()
            }
        }
        return placed
    }
}
