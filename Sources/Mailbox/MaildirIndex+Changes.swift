import Files

/// What sessions do to messages.
extension MaildirIndex {
    /// Makes a change to files in `cur/`, after which its time is ours.
    private func changingCurrent<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
        let isKnown = try currentRead == time(of: "cur")
        do throws(MailboxError) {
            let value = try body()
            currentRead = isKnown ? try time(of: "cur") : nil
            return value
        } catch {
            currentRead = nil
            throw error
        }
    }

    /// Changes the flags of messages. Those that are gone are left out.
    ///
    /// - Parameters:
    ///   - validity: the numbering that the UIDs are of.
    ///   - sequence: messages with a later one are left alone.
    func store(
        _ change: FlagChange,
        to wanted: [UInt32],
        unchangedSince sequence: UInt64?,
        _ validity: UInt32,
        in maildir: Maildir
    ) throws(MailboxError) -> Change {
        try changing { () throws(MailboxError) in
            if sequence != nil || !isListed { try scan(maildir, movesNew: false) }
            var uids = wanted
            var conflicts: [UInt32] = []
            /// What their sequences are of.
            var checked: [UInt32: StoredMessage]?
            if let sequence {
                try logChanges()
                conflicts = wanted.filter { log.changes?.sequence(of: $0).map { $0 > sequence } ?? false }
                let left = Set(conflicts)
                uids = wanted.filter { !left.contains($0) }
                var found: [UInt32: StoredMessage] = [:]
                for uid in uids { if let index = find(uid) { found[uid] = StoredMessage(list.records[index]) } }
                checked = found
            }
            let before = version
            var isAlone = true
            if !change.keywords.isEmpty, change.mode != .remove, keywordList.isMissing(change.keywords) {
                try naming(in: maildir) { () throws(MailboxError) in
                    isAlone = version == before
                    try check(validity)
                    try addKeywords(change.keywords)
                }
                // Dovecot has written its list anew.
                if !isListed { try scan(maildir, movesNew: false) }
            }
            try check(validity)
            let start = version
            let set = keywordList.set(of: change.keywords)
            var made = Change()
            made.conflicts = conflicts
            made.messages.reserveCapacity(uids.count)
            try changingCurrent { () throws(MailboxError) in
                defer { changed() }
                for uid in uids {
                    do throws(MailboxError) {
                        let known = checked.map { $0[uid] }
                        if let message = try store(change, set, to: uid, provided: known, validity, maildir) {
                            made.messages.append(message)
                        } else {
                            made.conflicts.append(uid)
                        }
                    } catch {
                        guard error == .notFound else { throw error }
                    }
                }
                if isAlone, version == start { made.before = before }
            }
            made.after = version
            made.keywords = keywordList.names
            return made
        }
    }

    /// - Parameter known: what the message must still be: another program may have renamed it since.
    /// - Returns: what it is now; nil where it was left alone.
    private func store(
        _ change: FlagChange,
        _ keywords: KeywordSet,
        to uid: UInt32,
        provided known: StoredMessage??,
        _ validity: UInt32,
        _ maildir: Maildir
    ) throws(MailboxError) -> StoredMessage? {
        try changing(uid, validity, maildir) { (index, path) throws(MailboxError) -> StoredMessage? in
            var message = StoredMessage(list.records[index])
            if let known, message.flags != known?.flags || message.keywords != known?.keywords { return nil }
            change.apply(keywords, to: &message)
            let others = irregularNames[uid].map { MaildirFileName.otherLetters(in: $0) } ?? []
            let name =
                Array(list.base(index)) + MaildirFileName.suffix(message.flags, message.keywords, others: others)
            let target = Self.path("cur/", name)
            if target != path {
                try directory.rename(path, to: target)
                if list.records[index].place == .new { newRead = nil }
            }
            irregularNames[uid] = others.isEmpty ? nil : name
            list.update(index) { record in
                record.place = .current
                record.flags = message.flags
                record.keywords = message.keywords
            }
            return message
        }
    }

    /// Removes messages, durably. Those that are gone already count as removed.
    ///
    /// - Parameter validity: the numbering that the UIDs are of.
    func expunge(_ uids: [UInt32], _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> Change {
        try changing { () throws(MailboxError) in
            if !isListed { try scan(maildir, movesNew: false) }
            try check(validity)
            let before = version
            var made = Change()
            var hadNew = false
            var gone: [UInt32] = []
            try changingCurrent { () throws(MailboxError) in
                defer {
                    // UIDs of another numbering would be of other messages.
                    for uid in gone where list.validity == validity { if let index = find(uid) { forget(index) } }
                }
                for uid in uids {
                    do throws(MailboxError) {
                        try changing(uid, validity, maildir) { (index, path) throws(MailboxError) in
                            let record = list.records[index]
                            let size: Int
                            if let known = record.octets {
                                size = known
                            } else {
                                size = try directory.status(path).size
                            }
                            try directory.remove(path)
                            made.octets += size
                            made.files += 1
                            if record.place == .new { hadNew = true }
                        }
                    } catch {
                        guard error == .notFound else { throw error }
                    }
                    gone.append(uid)
                }
                if version == before { made.before = before }
                try directory.sync("cur")
                if hadNew {
                    newRead = nil
                    try directory.sync("new")
                }
            }
            made.after = version
            return made
        }
    }

    /// Needs the locks of `naming`.
    private func addKeywords(_ names: [String]) throws(MailboxError) {
        guard keywordList.isMissing(names) else { return }
        try keywordList.add(names, in: directory)
        keywordStamp = try keywordsOnDisk()
        changed()
    }

    /// A file that is to become a message.
    struct Newcomer {
        let base: [UInt8]
        private(set) var flags: MessageFlags
        private(set) var keywords: [String]
        /// Without flags it's new mail to other programs.
        let isNew: Bool
        /// Of the message that it's a copy of.
        let identifier: [UInt8]?

        /// Without the flags that it may not have.
        func accepted(_ allowed: MessageFlags) -> Newcomer {
            var newcomer = self
            newcomer.flags.formIntersection(allowed)
            if !allowed.contains(.answered) { newcomer.keywords = [] }
            return newcomer
        }

        init(
            base: String,
            flags: MessageFlags,
            keywords: [String],
            staysNew: Bool,
            identifier: [UInt8]? = nil
        ) {
            self.identifier = identifier
            self.base = Array(base.utf8)
            self.flags = flags
            self.keywords = keywords
            isNew = staysNew && flags.isEmpty && keywords.isEmpty
        }
    }

    /// Puts messages into the folder, durably: all of them, or none.
    ///
    /// - Parameters:
    ///   - put: makes one file appear under a path here.
    ///   - confirm: gives the folder's name, and throws where the folder isn't in its place any more.
    ///   - validity: the numbering that their UIDs are to be of.
    /// - Returns: their UIDs.
    /// - Throws: `vanished` where another numbering was begun.
    func add(
        _ newcomers: [Newcomer],
        _ validity: UInt32,
        in maildir: Maildir,
        put: (Int, String) throws(MailboxError) -> Void,
        confirm: () throws(MailboxError) -> FolderName
    ) throws(MailboxError) -> [UInt32] {
        try changing { () throws(MailboxError) in
            try naming(in: maildir) { () throws(MailboxError) in
                try check(validity)
                try addKeywords(newcomers.flatMap(\.keywords))
                let arrivals = newcomers.map { newcomer in
                    let set = keywordList.set(of: newcomer.keywords)
                    let name =
                        newcomer.isNew ? newcomer.base : newcomer.base + MaildirFileName.suffix(newcomer.flags, set)
                    return Arrival(
                        base: newcomer.base,
                        name: name,
                        place: newcomer.isNew ? .new : .current,
                        isRecent: true,
                        identifier: newcomer.identifier
                    )
                }
                return try changingCurrent { () throws(MailboxError) in
                    try add(arrivals, put: put) { () throws(MailboxError) in
                        try secure(confirm(), in: maildir)
                    }
                }
            }
        }
    }

    private func add(
        _ arrivals: [Arrival],
        put: (Int, String) throws(MailboxError) -> Void,
        confirm: () throws(MailboxError) -> Void
    ) throws(MailboxError) -> [UInt32] {
        var made: [String] = []
        do throws(MailboxError) {
            for (number, arrival) in arrivals.enumerated() {
                let path = Self.path(arrival.place == .new ? "new/" : "cur/", arrival.name)
                try put(number, path)
                made.append(path)
            }
            // The UIDs first: a file system that commits in order has the names on stable storage then, too.
            var identifiers: [[UInt8]: [UInt8]] = [:]
            for arrival in arrivals { identifiers[arrival.base] = arrival.identifier }
            try assign(arrivals.map(\.base), identifiers: identifiers)
            if arrivals.contains(where: { $0.place == .new }) {
                newRead = nil
                try directory.sync("new")
            }
            if arrivals.contains(where: { $0.place == .current }) { try directory.sync("cur") }
            try confirm()
        } catch {
            for path in made { try? directory.remove(path) }
            throw error
        }
        var uids: [UInt32] = []
        var shown = snapshot
        snapshot = nil
        let before = version
        for arrival in arrivals {
            guard let index = arrival.base.withUnsafeBytes({ list.index(ofBase: $0) }) else { continue }
            note(arrival.name, index, arrival.place)
            let uid = list.records[index].uid
            unclaim(uid)
            uids.append(uid)
            if let last = shown?.last, last.uid >= uid { shown = nil }
            shown?.append(StoredMessage(list.records[index]))
        }
        // The rest is as it was.
        if version > before { snapshot = shown }
        return uids
    }

    /// Makes sure that the folder's name is on stable storage, once: its creator may have died before, or had an error.
    func secure(_ name: FolderName, in maildir: Maildir) throws(MailboxError) {
        guard !name.isInbox, name != securedName else { return }
        try maildir.layout.syncParents(of: name, in: maildir.root)
        securedName = name
    }

    /// A message that is to be copied.
    struct Original {
        let uid: UInt32
        /// Its file's path here when it was looked at.
        let path: String
        let base: [UInt8]
        let octets: Int
        let flags: MessageFlags
        let keywords: [String]
        /// What Dovecot calls its GUID, which its copies have too.
        let identifier: [UInt8]
    }

    /// Where the files of messages are.
    ///
    /// - Throws: `notFound` where one is gone.
    func originals(_ uids: [UInt32], _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> [Original] {
        var found: [Original] = []
        found.reserveCapacity(uids.count)
        for uid in uids {
            found.append(
                try reading(uid, validity, maildir) { (index, path) throws(MailboxError) in
                    let record = list.records[index]
                    let octets: Int
                    if let known = record.octets { octets = known } else { octets = try directory.status(path).size }
                    let names = keywordList.names
                    return Original(
                        uid: uid,
                        path: path,
                        base: Array(list.base(index)),
                        octets: octets,
                        flags: record.flags,
                        keywords: record.keywords.indices.filter { names.indices.contains($0) }.map { names[$0] }
                            .filter { !$0.isEmpty },
                        identifier: list.contentIdentifier(index)
                    )
                }
            )
        }
        return found
    }

    /// Looks at everything again: something was not where it should be.
    func rescan(in maildir: Maildir) throws(MailboxError) {
        try changing { () throws(MailboxError) in try scan(maildir, movesNew: false, all: true) }
    }
}
