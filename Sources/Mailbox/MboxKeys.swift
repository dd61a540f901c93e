import Files
import NIOConcurrencyHelpers

/// The keys of deliveries that each mbox had once, and of those that this process has made since. Only deliveries leave
/// keys, so one that isn't among them need not be looked for in the whole file again.
final class MboxKeys: Sendable {
    private struct Known {
        let device: UInt64
        let inode: UInt64
        var keys: Set<EntryDigest>
    }

    private let known = NIOLockedValueBox<[MailboxLocation: Known]>([:])
    /// Of all mboxes together; the one in use has as many as it has.
    private static let maximum = 1_000_000

    /// Whether the mbox has the delivery. The file is read for the first question, when it's another file, and when the answer
    /// may be yes: the message may have been removed since.
    func has(_ key: String, _ location: MailboxLocation, _ lock: MboxLock) throws(MailboxError) -> Bool {
        guard try mayHave(EntryDigest(key.utf8), location, lock) else { return false }
        return try MboxKeyFinder.place(of: key, in: lock.file, lock) != nil
    }

    private func mayHave(
        _ digest: EntryDigest,
        _ location: MailboxLocation,
        _ lock: MboxLock
    ) throws(MailboxError) -> Bool {
        let status = try lock.file.status()
        if let known = known.withLockedValue({ $0[location] }), known.inode == status.inode,
            known.device == status.device
        {
            return known.keys.contains(digest)
        }
        var keys: Set<EntryDigest> = []
        try MboxKeyFinder.read(lock.file, lock) { key, _ in
            keys.insert(EntryDigest(key))
            return true
        }
        known.withLockedValue { known in
            if known.values.reduce(0, { $0 + $1.keys.count }) > Self.maximum { known = [:] }
            known[location] = Known(device: status.device, inode: status.inode, keys: keys)
        }
        return keys.contains(digest)
    }

    /// Notes a delivery that was made for certain.
    func add(_ key: String, _ location: MailboxLocation) {
        known.withLockedValue { _ = $0[location]?.keys.insert(EntryDigest(key.utf8)) }
    }

    /// Has the file read again for the next question.
    func forget(_ location: MailboxLocation) { known.withLockedValue { $0[location] = nil } }
}

/// Finds the keys of deliveries in an mbox: the field right behind a message's `From ` line, where a delivery writes it. What
/// looks like one anywhere else is somebody's text.
struct MboxKeyFinder {
    private static let from = Array("From ".utf8)
    private static let field = Array("\(MboxJournal.keyField): ".utf8)
    /// Of a longer line only the beginning is kept; it's none of ours. Octets.
    private static let maximumLine = 1024

    /// What has come of a line whose end hasn't.
    private var line: [UInt8] = []
    private var followsEmptyLine = true
    private var followsFrom = false

    /// Reads the mbox, or the file that is to take its place.
    ///
    /// - Parameter receive: takes a key and where it begins; false where the rest is of no interest.
    static func read(
        _ file: OpenFile,
        _ lock: MboxLock,
        _ receive: (_ key: ArraySlice<UInt8>, _ offset: Int) -> Bool
    ) throws(MailboxError) {
        var finder = MboxKeyFinder()
        try lock.read(0..<Int.max, of: file) { piece, offset in finder.feed(piece, at: offset, receive) }
    }

    /// Where a key begins; nil where it isn't there.
    static func place(of key: String, in file: OpenFile, _ lock: MboxLock) throws(MailboxError) -> Int? {
        let key = Array(key.utf8)
        var place: Int?
        try read(file, lock) { found, offset in
            if found == key[...] { place = offset }
            return place == nil
        }
        return place
    }

    private mutating func feed(
        _ piece: [UInt8],
        at offset: Int,
        _ receive: (ArraySlice<UInt8>, Int) -> Bool
    ) -> Bool {
        var rest = piece[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let whole = line.isEmpty ? rest[..<end] : (line + rest[..<end].prefix(Self.maximumLine))[...]
            let key = endLine(whole)
            line.removeAll(keepingCapacity: true)
            if let key, !receive(key, offset + end - key.count) { return false }
            rest = rest[(end + 1)...]
        }
        if line.count < Self.maximumLine { line += rest.prefix(Self.maximumLine) }
        return true
    }

    /// Returns the line's key.
    private mutating func endLine(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let isField = followsFrom && line.count <= Self.maximumLine && line.starts(with: Self.field)
        followsFrom = followsEmptyLine && line.starts(with: Self.from)
        followsEmptyLine = line.isEmpty || line.elementsEqual([UInt8(ascii: "\r")])
        return isField ? line.dropFirst(Self.field.count) : nil
    }
}
