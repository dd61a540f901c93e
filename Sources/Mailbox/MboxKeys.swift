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
    /// A longer line is none of ours. Octets.
    private static let maximumLine = 1024

    /// Whether the mbox may have the delivery; the file is read for the first question, and when it's another file. Needs
    /// the mbox's lock.
    func mayHave(_ key: String, _ location: MailboxLocation, _ file: OpenFile) throws(MailboxError) -> Bool {
        let status = try file.status()
        let digest = EntryDigest(key.utf8)
        if let known = known.withLockedValue({ $0[location] }), known.inode == status.inode,
            known.device == status.device
        {
            return known.keys.contains(digest)
        }
        let keys = try Self.keys(in: file)
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

    private static func keys(in file: OpenFile) throws(MailboxError) -> Set<EntryDigest> {
        let field = Array("\(MboxJournal.keyField): ".utf8)
        var keys: Set<EntryDigest> = []
        var line: [UInt8] = []
        var offset = 0
        while true {
            let piece = try file.read(64 * 1024, at: offset)
            guard !piece.isEmpty else { return keys }
            offset += piece.count
            var rest = piece[...]
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                let whole = line.isEmpty ? rest[..<end] : (line + rest[..<end].prefix(maximumLine))[...]
                if whole.starts(with: field) { keys.insert(EntryDigest(whole.dropFirst(field.count))) }
                line.removeAll(keepingCapacity: true)
                rest = rest[(end + 1)...]
            }
            if line.count < maximumLine { line += rest.prefix(maximumLine) }
        }
    }
}
