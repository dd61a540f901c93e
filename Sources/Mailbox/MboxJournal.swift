import Files

/// The file `NAME.martlet-append` beside an mbox: exists while a message is being appended, and afterwards only if the
/// append was interrupted. Says where a message begins that has not been acknowledged, and how. Every call needs the
/// mbox's lock.
struct MboxJournal {
    /// The header field that tells a delivery by its key.
    static let keyField = "X-Delivery-Id"
    private static let maximumOctets = 64 * 1024
    /// What a key is overwritten with.
    private static let noKey = UInt8(ascii: "-")

    private let directory: DirectoryAccess
    private let path: String

    init(_ name: String, in directory: DirectoryAccess) {
        self.directory = directory
        path = "\(name).martlet-append"
    }

    /// Durably records that a message is about to be appended.
    ///
    /// - Parameter start: the first octets that will be written there, to the line with the key at least.
    func begin(_ file: OpenFile, at offset: Int, key: String, start: [UInt8]) throws(MailboxError) {
        let inode = try file.status().inode
        try directory.replace(path, with: Array("\(offset) \(inode) \(key)\n".utf8) + start)
    }

    /// Removes the journal once the message is on stable storage or rolled back. Durable: a journal that reappeared after
    /// a crash would roll back a delivered message.
    func end() throws(MailboxError) {
        try directory.remove(path)
        try directory.sync()
    }

    /// What the file says. `start` is empty where an older version wrote it.
    private struct Note {
        let offset: Int
        let inode: UInt64
        let key: String
        let start: [UInt8]

        init?(_ octets: [UInt8]) {
            guard let end = octets.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            let fields = String(decoding: octets[..<end], as: UTF8.self).split(separator: " ")
            guard fields.count == 3, let offset = Int(fields[0]), offset >= 0, let inode = UInt64(fields[1]) else {
                return nil
            }
            self.offset = offset
            self.inode = inode
            key = String(fields[2])
            start = Array(octets[(end + 1)...])
        }

        /// Whether an octet of the start, whose last line ends with the key, belongs to that.
        func isOfKey(_ place: Int) -> Bool { place < start.count - 1 && place >= start.count - 1 - key.utf8.count }

        /// How many of the octets that are there now are those of the start. A power failure leaves NULs in place of what was
        /// never written, and the key may have been overwritten here before one.
        func matching(_ octets: [UInt8]) -> Int {
            zip(octets.indices, octets).prefix { place, octet in
                octet == start[place] || octet == 0 || octet == MboxJournal.noKey && isOfKey(place)
            }.count
        }
    }

    /// Takes back what an interrupted delivery left at the end of the mbox. The queue still has the message and retries.
    ///
    /// Only what is surely ours is cut off: another program may have appended a message right behind it, since a lock
    /// doesn't outlive its holder. In doubt all stays, so that a part of ours may be left, but it isn't taken for delivered.
    func recover(_ file: OpenFile, _ lock: MboxLock) throws(MailboxError) {
        guard let octets = try directory.contents(path, maximum: Self.maximumOctets) else { return }
        guard let note = Note(octets) else { return try end() }
        let status = try file.status()
        if note.inode == status.inode, note.offset <= status.size {
            try rollBack(file, lock, note, note.offset..<status.size)
        } else {
            // Another program has written the mbox anew, perhaps with a part of ours.
            try forget(note.key, in: file, lock)
        }
        try file.sync()
        try end()
    }

    private func rollBack(
        _ file: OpenFile,
        _ lock: MboxLock,
        _ note: Note,
        _ range: Range<Int>
    ) throws(MailboxError) {
        let begin = try file.read(min(range.count, note.start.count), at: range.lowerBound)
        let same = note.matching(begin)
        let isOurs = same == begin.count && !note.start.isEmpty || range.isEmpty
        let known = range.lowerBound + same
        let other = try FromLineFinder.first(in: file, lock, known..<range.upperBound)
        // Also where the length is that already: the delivery may have truncated it without getting that onto stable storage.
        try file.truncate(to: isOurs && other == nil ? range.lowerBound : range.upperBound)
        // Another message shall begin behind an empty line, as readers want it, whatever ours ended with.
        switch (isOurs, other) {
        case (true, nil): break
        case (true, let other?):
            // NULs in place of our first lines would belong to the message before them.
            let start = note.start.indices.map { note.isOfKey($0) ? Self.noKey : note.start[$0] }
            try file.write(start, at: range.lowerBound)
            try file.write([10, 10], at: max(other - 2, range.lowerBound))
        case (false, let other):
            try forget(note.key, in: file, lock)
            guard let other else { return }
            // Of ours there is only a part of the first lines, which would look like a message of its own.
            let between = try file.read(min(3, other - known), at: known)
            guard between.count < 3, between.allSatisfy({ $0 == 10 }) else { return }
            try file.write([UInt8](repeating: 10, count: other - range.lowerBound), at: range.lowerBound)
        }
    }

    /// Makes a delivery unknown: it can't be said whether it's whole.
    private func forget(_ key: String, in file: OpenFile, _ lock: MboxLock) throws(MailboxError) {
        guard let place = try MboxKeyFinder.place(of: key, in: file, lock) else { return }
        try file.write([UInt8](repeating: Self.noKey, count: key.utf8.count), at: place)
    }
}

/// Finds what looks like the `From ` line of a message that somebody else wrote: `From ` anywhere, also behind the torn end of
/// a line of ours, and a date as all programs write it there: `Mon Nov 23 15:40:35 2026`.
private struct FromLineFinder {
    private static let from = Array("From ".utf8)
    private static let days = Set(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].map { Array("\($0) ".utf8) })
    private static let months = Set(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"].map {
            Array("\($0) ".utf8)
        }
    )
    /// An address and a date are shorter than that. Octets.
    private static let maximum = 1024

    private var matched = 0
    private var start: Int?
    /// What stands behind `From `.
    private var rest: [UInt8] = []

    /// Where the first one begins; nil where there is none.
    static func first(in file: OpenFile, _ lock: MboxLock, _ range: Range<Int>) throws(MailboxError) -> Int? {
        var finder = FromLineFinder()
        var found: Int?
        try lock.read(range, of: file) { piece, offset in
            for (index, octet) in piece.enumerated() where finder.feed(octet, at: offset + index) {
                found = finder.start
                return false
            }
            return true
        }
        return found
    }

    /// Returns whether `start` is where one begins.
    private mutating func feed(_ octet: UInt8, at position: Int) -> Bool {
        if octet == UInt8(ascii: "\n") {
            if start != nil, hasDate { return true }
            self = FromLineFinder()
        } else if start != nil {
            if rest.count < Self.maximum { rest.append(octet) }
        } else {
            // No prefix of it is also within it.
            if octet != Self.from[matched] { matched = 0 }
            if octet == Self.from[matched] { matched += 1 }
            if matched == Self.from.count { start = position - matched + 1 }
        }
        return false
    }

    private var hasDate: Bool {
        rest.indices.dropLast(12).contains { place in
            guard Self.days.contains(Array(rest[place..<(place + 4)])),
                Self.months.contains(Array(rest[(place + 4)..<(place + 8)]))
            else { return false }
            return rest[(place + 8)...].contains(UInt8(ascii: ":"))
        }
    }
}
