import Files

/// The file `NAME.martlet-append` beside an mbox: exists while a message is being appended, and afterwards only if the
/// append was interrupted. Holds the offset of a message that has not been acknowledged. Every call needs the mbox's lock.
struct MboxJournal {
    /// The header field that tells a delivery by its key.
    static let keyField = "X-Delivery-Id"

    private let directory: DirectoryAccess
    private let path: String

    init(_ name: String, in directory: DirectoryAccess) {
        self.directory = directory
        path = "\(name).martlet-append"
    }

    /// Durably records that a message is about to be appended.
    func begin(_ file: OpenFile, at offset: Int, key: String) throws(MailboxError) {
        let inode = try file.status().inode
        try directory.replace(path, with: Array("\(offset) \(inode) \(key)\n".utf8))
    }

    /// Removes the journal once the message is on stable storage or rolled back. Durable: a journal that reappeared after
    /// a crash would roll back a delivered message.
    func end() throws(MailboxError) {
        try directory.remove(path)
        try directory.sync()
    }

    /// Rolls back what an interrupted delivery left at the end of the mbox. The queue still has the message and retries.
    func recover(_ file: OpenFile) throws(MailboxError) {
        guard let octets = try directory.contents(path, maximum: 1024) else { return }
        let fields = String(decoding: octets, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        let status = try file.status()
        let size = status.size
        if fields.count == 3, let begin = Int(fields[0]), UInt64(fields[1]) == status.inode,
            (0...size).contains(begin)
        {
            if begin == size {
                // The delivery may have truncated it without getting that onto stable storage.
                try file.truncate(to: begin)
                try file.sync()
                return try end()
            }
            let rest = try file.read(min(size - begin, 4096), at: begin)
            if let key = Self.key(fields[2], in: rest) {
                try rollBack(file, begin..<size, key: (begin + key.lowerBound)..<(begin + key.upperBound))
                try file.sync()
            }
        }
        try end()
    }

    private func rollBack(_ file: OpenFile, _ range: Range<Int>, key: Range<Int>) throws(MailboxError) {
        // Behind at most two empty lines of our own.
        guard try file.contains(Array("\n\nFrom ".utf8), from: range.lowerBound + 2, to: range.upperBound) else {
            return try file.truncate(to: range.lowerBound)
        }
        // Another program has added a message behind it. It can't be said any more whether ours is whole: it stays, but
        // is not taken for delivered.
        try file.write([UInt8](repeating: UInt8(ascii: "-"), count: key.count), at: key.lowerBound)
    }

    /// Where the key is in the octets at the journal's offset; nil if they are not ours. A prefix of our first lines counts
    /// as ours, and so do lines with NULs, which a power failure leaves in place of octets that were never written.
    private static func key(_ key: Substring, in octets: [UInt8]) -> Range<Int>? {
        let start = octets.prefix(2).prefix { $0 == UInt8(ascii: "\n") }.count
        let from = Array("From ".utf8)
        let first = octets[start...].prefix { $0 != UInt8(ascii: "\n") }
        if first.contains(0) { return start..<start }
        guard zip(first, from).allSatisfy(==) else { return nil }
        guard first.endIndex < octets.endIndex else { return start..<start }
        let end = first.endIndex
        let field = Array("\(keyField): ".utf8)
        let second = octets[(end + 1)...]
        if second.prefix(while: { $0 != UInt8(ascii: "\n") }).contains(0) { return start..<start }
        guard zip(second, field + Array(key.utf8) + [UInt8(ascii: "\n")]).allSatisfy(==) else { return nil }
        let keyStart = min(octets.count, end + 1 + field.count)
        return keyStart..<min(octets.count, keyStart + key.utf8.count)
    }
}

extension OpenFile {
    /// Whether the octets are somewhere in a range of the file.
    func contains(
        _ pattern: [UInt8],
        from begin: Int,
        to end: Int
    ) throws(MailboxError) -> Bool {
        var position = begin
        var carried: [UInt8] = []
        while position < end {
            let piece = try read(min(64 * 1024, end - position), at: position)
            if piece.isEmpty { break }
            position += piece.count
            let window = carried + piece
            if window.firstRange(of: pattern) != nil { return true }
            carried = Array(window.suffix(pattern.count - 1))
        }
        return false
    }
}
