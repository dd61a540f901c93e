import Algorithms
import Files

#if canImport(Glibc)
import Glibc
#endif

/// Reading the directories: what came, what is gone, what is where.
extension MaildirIndex {
    /// Reads the directories where they have changed. Needs both our locks.
    func scan(_ maildir: Maildir, movesNew: Bool, all: Bool = false) throws(MailboxError) {
        clearTemporaries()
        for _ in 0..<Self.attempts {
            try scanOnce(maildir, movesNew: movesNew, all: all)
            // Unless the list was replaced meanwhile.
            if isListed { return }
        }
        throw .busy
    }

    private func scanOnce(_ maildir: Maildir, movesNew: Bool, all: Bool) throws(MailboxError) {
        let start = now
        try loadList(maildir, isLocked: false)
        var newTime = try time(of: "new")
        var currentTime = try time(of: "cur")
        let listsCurrent = all || !isListed || currentRead != currentTime || isInDoubt
        let listsNew = all || !isListed || newRead != newTime
        let moves = movesNew && (listsNew || hasNew && !isStuck)
        guard listsNew || listsCurrent || moves else { return }
        wasReread = false
        listing &+= 1
        var unknown: [Arrival] = []
        var isComplete = true
        // Another program may write its list before its files have their names.
        let settled = list.stamp.map { Int($0.modified) < start / 1_000_000_000 - 1 } ?? false ? list.records.count : 0
        if moves {
            isStuck = false
            do throws(MailboxError) { try moveNew(&unknown, maildir) } catch {
                guard error.leavesReading else { throw error }
                // They stay where they are, as for a session that may only read.
                try list(.new, &unknown)
            }
            newTime = try time(of: "new")
            currentTime = try time(of: "cur")
        } else if listsNew {
            isStuck = false
            try list(.new, &unknown)
        }
        if listsCurrent { try list(.current, &unknown) }
        let wasMoving = try times() != (newTime, currentTime) && !isListed
        if wasMoving || isMissing(new: moves || listsNew, current: listsCurrent) {
            isComplete = try findMissing(&unknown)
        }
        try assign(unknown, maildir)
        if isComplete, listsCurrent, moves || listsNew, !wasReread, start - max(newTime, currentTime) > Self.tick {
            list.forgetUnseen(of: settled)
        }
        if listsCurrent, list.isMostlyDead { try compact(maildir) }
        newRead = start - newTime > Self.settling ? newTime : nil
        currentRead = isComplete ? currentTime : nil
        if listsCurrent {
            listed = start
            listingTook = now - start
        }
        isListed = !wasReread && list.generation == generation
        hasUnsought = false
    }

    /// Looks for messages that weren't found where they were: a file that was renamed while its directory was being read may
    /// have been missed, or has gone to the other one. What isn't found in directories that nobody changed meanwhile is gone.
    ///
    /// - Returns: false where they never were at rest.
    private func findMissing(_ unknown: inout [Arrival]) throws(MailboxError) -> Bool {
        var rests = 0
        for _ in 0..<Self.attempts {
            let (before, start) = (try times(), now)
            try list(.new, &unknown)
            try list(.current, &unknown)
            rests = try times() == before ? rests + 1 : 0
            // A change in the same tick of the clock as one before it doesn't show: once more where there was one just now.
            if rests > 1 || rests == 1 && start - max(before.new, before.current) > Self.tick {
                forgetMissing()
                return true
            }
        }
        return false
    }

    /// Writes the list without the messages that are gone. It can be done another time where it can't be done now.
    private func compact(_ maildir: Maildir) throws(MailboxError) {
        let count = list.records.count
        do throws(MailboxError) {
            try naming(in: maildir) { () throws(MailboxError) in
                // Nothing is known of the files of what is in the list since just now.
                if !wasReread, list.records.count == count { try list.compact(in: directory) }
            }
        } catch {
            guard error != .busy else { throw error }
        }
    }

    private func clearTemporaries() {
        let now = directory.disk.seconds
        guard now - cleared >= Self.clearing else { return }
        cleared = now
        directory.removeOldTemporaries()
    }

    /// A file that the list doesn't know.
    struct Arrival {
        let base: [UInt8]
        let name: [UInt8]
        let place: MaildirRecord.Place
        let isRecent: Bool
        /// Of the content, where it's a copy.
        var identifier: [UInt8]?
    }

    func list(_ place: MaildirRecord.Place, _ unknown: inout [Arrival]) throws(MailboxError) {
        var found: [Arrival] = []
        try directory.visitNames(place == .new ? "new" : "cur") { name in
            guard let parsed = MaildirFileName(name) else { return }
            let base = UnsafeRawBufferPointer(rebasing: name[..<parsed.baseLength])
            if let index = list.index(ofBase: base) {
                note(parsed, name, index, place)
            } else {
                found.append(Arrival(base: Array(base), name: Array(name), place: place, isRecent: place == .new))
            }
        }
        unknown += found
    }

    /// Notes that a message's file was found.
    func note(
        _ parsed: MaildirFileName,
        _ name: UnsafeRawBufferPointer,
        _ index: Int,
        _ place: MaildirRecord.Place
    ) {
        let record = list.records[index]
        if parsed.form == (place == .new ? .bare : .regular) {
            if !irregularNames.isEmpty { irregularNames[record.uid] = nil }
        } else {
            irregularNames[record.uid] = Array(name)
        }
        if record.place != place || record.flags != parsed.flags || record.keywords != parsed.keywords {
            // Another process has shown it to a session, or nobody has.
            if record.place == .new, place == .current { claim(record.uid) }
            if record.place != .new, place == .new { unclaim(record.uid) }
            changed()
        }
        list.update(index) { record in
            record.place = place
            record.flags = parsed.flags
            record.keywords = parsed.keywords
            record.listing = listing
        }
    }

    /// Whether messages weren't found where they were.
    func isMissing(new: Bool, current: Bool) -> Bool {
        // Nobody was told of those in `new/`.
        if new, unclaimed.contains(where: { isNew($0) && isUnseen($0) }) { return true }
        return current && list.records.contains { $0.place == .current && $0.listing != listing }
    }

    private func isUnseen(_ uid: UInt32) -> Bool {
        list.index(ofUID: uid).map { list.records[$0].listing != listing } ?? false
    }

    private func forgetMissing() {
        for index in list.records.indices {
            let record = list.records[index]
            if record.place != .nowhere, record.listing != listing { forget(index) }
        }
    }

    func forget(_ index: Int) {
        let uid = list.records[index].uid
        irregularNames[uid] = nil
        claim(uid)
        list.forget(index)
        changed()
    }

    /// Moves the files in `new/` to `cur/`, where they are what a session has seen.
    private func moveNew(_ unknown: inout [Arrival], _ maildir: Maildir) throws(MailboxError) {
        var names: [[UInt8]] = []
        try directory.visitNames("new") { names.append(Array($0)) }
        guard !names.isEmpty else { return }
        // Dovecot moves them under its lock, too. Where it is taken nothing has happened yet.
        try naming(in: maildir) { () throws(MailboxError) in try move(names, &unknown) }
    }

    private func move(_ names: [[UInt8]], _ unknown: inout [Arrival]) throws(MailboxError) {
        for name in names {
            guard let parsed = name.withUnsafeBytes({ MaildirFileName($0) }) else { continue }
            let target = parsed.form == .bare ? name + MaildirFileName.suffix([], []) : name
            var found = target
            var place = MaildirRecord.Place.current
            do throws(MailboxError) {
                try directory.rename(Self.path("new/", name), to: Self.path("cur/", target))
            } catch {
                if error == .notFound { continue }
                // One that can't have the other name, or may not be renamed, is no reason to leave the rest.
                guard case .system(_, let code) = error, [ENAMETOOLONG, EPERM, EACCES].contains(code) else {
                    throw error
                }
                found = name
                place = .new
                isStuck = true
            }
            let base = Array(name[..<parsed.baseLength])
            guard let index = base.withUnsafeBytes({ list.index(ofBase: $0) }) else {
                unknown.append(Arrival(base: base, name: found, place: place, isRecent: true))
                continue
            }
            note(found, index, place)
            unclaim(list.records[index].uid)
        }
    }

    func note(_ name: [UInt8], _ index: Int, _ place: MaildirRecord.Place) {
        name.withUnsafeBytes { name in
            if let parsed = MaildirFileName(name) { note(parsed, name, index, place) }
        }
    }

    /// The place of a UID in `unclaimed`, or the one where it belongs.
    private func unclaimedPlace(_ uid: UInt32) -> Int {
        if let last = unclaimed.last, last < uid { return unclaimed.count }
        return unclaimed.partitioningIndex { $0 >= uid }
    }

    /// Has a message be recent in the next session that asks.
    func unclaim(_ uid: UInt32) {
        let place = unclaimedPlace(uid)
        if place == unclaimed.count || unclaimed[place] != uid { unclaimed.insert(uid, at: place) }
    }

    private func claim(_ uid: UInt32) {
        let place = unclaimedPlace(uid)
        if place < unclaimed.count, unclaimed[place] == uid { unclaimed.remove(at: place) }
    }

    /// Gives UIDs to files that have none, in the order of their arrival.
    func assign(_ arrivals: [Arrival], _ maildir: Maildir) throws(MailboxError) {
        guard !arrivals.isEmpty else { return }
        try naming(in: maildir) { () throws(MailboxError) in
            let sorted = arrivals.filter { arrival in arrival.base.withUnsafeBytes { list.index(ofBase: $0) } == nil }
                .map { (seconds: MaildirFileName.seconds(of: $0.base), base: $0.base) }
                .sorted { MaildirFileName.arrivedBefore($0, $1) }
            var new: [[UInt8]] = []
            new.reserveCapacity(sorted.count)
            for (_, base) in sorted where base != new.last { new.append(base) }
            try assign(new)
            for arrival in arrivals {
                guard let index = arrival.base.withUnsafeBytes({ list.index(ofBase: $0) }) else { continue }
                note(arrival.name, index, arrival.place)
                if arrival.isRecent { unclaim(list.records[index].uid) }
            }
        }
    }
}
