import CLinux
import NIOConcurrencyHelpers

/// Puts messages into mailboxes, many at a time: the Maildirs of a batch share their waits for the disk. Every call blocks;
/// several threads may call at once.
package final class MailDeliverer: Sendable {
    private let directory: MailDirectory
    /// What is being delivered now: the same again, asked for by a queue manager that lost its connection, has to wait.
    private let underWay = NIOLockedValueBox<Set<Identity>>([])
    private let open = NIOLockedValueBox<[MailboxLocation: Maildir]>([:])

    /// Maildirs that are kept open.
    private static let maximumOpen = 256
    /// From so many files on, one sync of the file system is quicker than one for each file.
    private static let syncAllFrom = 3

    /// One message for one mailbox.
    private struct Identity: Hashable {
        let location: MailboxLocation
        let key: String
    }

    /// The last step of a Maildir delivery.
    typealias DirectorySync = @Sendable (DirectoryAccess, String) throws(MailboxError) -> Void
    private let syncDirectory: DirectorySync

    package convenience init(_ directory: MailDirectory) {
        self.init(directory) { (directory, part) throws(MailboxError) in try directory.sync(part) }
    }

    /// - Parameter syncDirectory: for tests of disks that fail.
    init(_ directory: MailDirectory, syncDirectory: @escaping DirectorySync) {
        self.directory = directory
        self.syncDirectory = syncDirectory
    }

    /// Delivers; returns when each has succeeded, on stable storage, or failed.
    package func deliver(_ deliveries: [Delivery]) -> [Result<Void, MailboxError>] {
        var results = deliveries.map { _ in Result<Void, MailboxError>.success(()) }
        var written: [(index: Int, step: MaildirDelivery)] = []
        var begun: [Identity] = []
        defer { underWay.withLockedValue { $0.subtract(begun) } }
        for (index, delivery) in deliveries.enumerated() {
            let identity = Identity(location: delivery.location, key: delivery.key)
            guard underWay.withLockedValue({ $0.insert(identity).inserted }) else {
                results[index] = .failure(.locked)
                continue
            }
            begun.append(identity)
            do throws(MailboxError) {
                switch delivery.location.format {
                case .maildir: written.append((index, try write(delivery)))
                case .mbox: try MboxDelivery(delivery, try MboxStore(delivery.location, in: directory.directory)).run()
                }
            } catch {
                results[index] = .failure(error)
            }
        }
        sync(&written, &results)
        place(written, &results)
        return results
    }

    private func write(_ delivery: Delivery) throws(MailboxError) -> MaildirDelivery {
        var step = MaildirDelivery(delivery, try maildir(delivery.location))
        do throws(MailboxError) {
            try step.write()
        } catch {
            step.undo()
            guard error == .notFound else { throw error }
            // The Maildir was removed while it was open here: it's made again.
            open.withLockedValue { $0[delivery.location] = nil }
            step = MaildirDelivery(delivery, try maildir(delivery.location))
            try step.write()
        }
        return step
    }

    private func maildir(_ location: MailboxLocation) throws(MailboxError) -> Maildir {
        if let known = open.withLockedValue({ $0[location] }), known.isAt(location.path, in: directory.directory) {
            return known
        }
        let maildir = try Maildir(location, in: directory.directory)
        maildir.root.removeOldTemporaries()
        open.withLockedValue { open in
            if open.count >= Self.maximumOpen { open.removeAll() }
            open[location] = maildir
        }
        return maildir
    }

    /// Has the content of all files on stable storage; those for which that fails are taken back.
    private func sync(
        _ written: inout [(index: Int, step: MaildirDelivery)],
        _ results: inout [Result<Void, MailboxError>]
    ) {
        let fresh = written.filter { $0.step.file != nil }
        if fresh.count >= Self.syncAllFrom, CLinux_syncfs(directory.descriptor) == 0 { return }
        var failed: Set<Int> = []
        for (index, step) in fresh {
            do throws(MailboxError) {
                try step.file?.sync()
            } catch {
                results[index] = .failure(error)
                step.undo()
                failed.insert(index)
            }
        }
        written.removeAll { failed.contains($0.index) }
    }

    private func place(
        _ written: [(index: Int, step: MaildirDelivery)],
        _ results: inout [Result<Void, MailboxError>]
    ) {
        var touched: [ObjectIdentifier: (maildir: Maildir, parts: Set<String>, indices: [Int])] = [:]
        for (index, step) in written {
            let id = ObjectIdentifier(step.maildir)
            var entry = touched[id] ?? (step.maildir, [], [])
            // What an earlier attempt placed may not have been synced.
            if step.isKnown { entry.parts.formUnion(["\(step.place)new", "\(step.place)cur"]) }
            do throws(MailboxError) {
                try step.place(&entry.parts)
                entry.indices.append(index)
            } catch {
                results[index] = .failure(error)
                step.undo()
            }
            touched[id] = entry
        }
        for entry in touched.values {
            for part in entry.parts {
                do throws(MailboxError) {
                    try syncDirectory(entry.maildir.root, part)
                } catch {
                    for index in entry.indices { results[index] = .failure(error.afterwards) }
                }
            }
        }
    }
}
