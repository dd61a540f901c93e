import Files

/// The UID list: read where others have changed it, begun, taken over.
extension MaildirIndex {
    /// Reads the list where somebody else has changed it; makes it where there is none.
    ///
    /// - Parameter isLocked: whether Dovecot's lock is held.
    func loadList(_ maildir: Maildir, isLocked: Bool) throws(MailboxError) {
        let count = list.records.count
        let before = (isListed: isListed, new: newRead, current: currentRead)
        // Nothing is known of the records where this fails half-way.
        isListed = false
        newRead = nil
        currentRead = nil
        let isThere = try list.load(in: directory)
        let hasOlder = try directory.statusIfPresent(Self.olderListFile) != nil
        let isUnsafe = try MaildirUIDList.isUnsafe(in: directory)
        if !isThere || hasOlder || isUnsafe {
            let lock = isLocked ? nil : try MboxLock.DotLock.acquire(MaildirUIDList.path, in: directory)
            defer { withExtendedLifetime(lock) {} }
            try takeOver(maildir, hasOlder: hasOlder)
            if try MaildirUIDList.isUnsafe(in: directory) { try list.secure(in: directory) }
        }
        if list.generation != generation {
            // Places in the list are new: the files are to be found again.
            generation = list.generation
            wasReread = true
            irregularNames = [:]
            changed()
        } else {
            isListed = before.isListed
            if list.records.count == count {
                (newRead, currentRead) = (before.new, before.current)
            } else {
                hasUnsought = true
            }
        }
        let now = try keywordsOnDisk()
        if now != keywordStamp {
            try keywordList.load(in: directory)
            keywordStamp = now
            changed()
        }
    }

    /// Begins the list where there is none: with the UIDs of Martlet's own list, which earlier versions had. Needs both locks.
    private func takeOver(_ maildir: Maildir, hasOlder: Bool) throws(MailboxError) {
        // Another program may have made it meanwhile.
        let isThere = try list.load(in: directory)
        var older = UIDList(path: Self.olderListFile)
        if hasOlder {
            do throws(MailboxError) {
                try older.load(in: directory) { () throws(MailboxError) in throw .corrupt("no UIDs") }
            } catch {
                guard case .corrupt = error else { throw error }
                // A part of the UIDs is none to go on with: what the rest were would be given again.
                older = UIDList(path: Self.olderListFile)
            }
        }
        if older.validity != 0 {
            // Clients know these numbers, whatever another program's list says.
            if !isThere || list.validity != older.validity {
                try list.start(
                    validity: older.validity,
                    next: older.next,
                    known: Self.usable(older.uids),
                    identifies: try directory.file.status().inode == maildir.root.file.status().inode,
                    in: directory
                )
            }
        } else if !isThere {
            try list.start(validity: try maildir.newUIDValidity(), in: directory)
        }
        guard hasOlder else { return }
        for leftover in [Self.olderListFile, "\(Self.olderListFile).lock"] { try? directory.remove(leftover) }
    }

    /// The messages of an older list that the new one can have: in ascending order, and none where two have the same UID.
    private static func usable(_ uids: [String: UInt32]) -> [(uid: UInt32, base: [UInt8])] {
        let sorted = uids.map { (uid: $0.value, base: Array($0.key.utf8)) }.sorted { $0.uid < $1.uid }
        return sorted.indices.filter { place in
            let (uid, base) = sorted[place]
            let isAlone =
                (place == 0 || sorted[place - 1].uid != uid)
                && (place + 1 == sorted.count || sorted[place + 1].uid != uid)
            return isAlone && (1...255).contains(base.count) && !base.contains(UInt8(ascii: ":"))
        }.map { sorted[$0] }
    }
}
