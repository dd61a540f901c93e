import MIME
import Mailbox
import NIOCore

/// Structures of the messages that were asked for last; bounded, so that a session stays small.
struct StructureCache {
    private var entries: [(uid: UInt32, part: MessagePart)] = []
    private var weight = 0

    private static let maximumEntries = 16
    private static let maximumWeight = 256 * 1024

    subscript(uid: UInt32) -> MessagePart? { entries.first { $0.uid == uid }?.part }

    mutating func add(_ part: MessagePart, for uid: UInt32) {
        guard part.weight <= Self.maximumWeight else { return }
        entries.append((uid, part))
        weight += part.weight
        while entries.count > Self.maximumEntries || weight > Self.maximumWeight, let first = entries.first {
            weight -= first.part.weight
            entries.removeFirst()
        }
    }
}

/// Reads what FETCH and SEARCH need of a message. Every call may block on the disk.
enum MessageContent {
    static let chunk = 64 * 1024
    /// The most of a header that is read. Octets.
    static let maximumHeader = 1024 * 1024

    /// A header whose place is known, with the empty line; cut at the limit.
    static func header(_ reader: MessageReader, in range: Range<Int>) throws(MailboxError) -> HeaderBlock {
        let limit = min(range.count, maximumHeader)
        var octets: [UInt8] = []
        while octets.count < limit {
            let piece = try reader.read(at: range.lowerBound + octets.count, count: min(chunk, limit - octets.count))
            guard piece.readableBytes > 0 else { break }
            octets.append(contentsOf: piece.readableBytesView)
        }
        return HeaderBlock(octets)
    }

    /// The message's own header: where it ends and what is in it; nil where it doesn't end within the limit. The structure
    /// says where that is.
    static func header(_ reader: MessageReader) throws(MailboxError) -> (end: Int, block: HeaderBlock)? {
        var finder = HeaderFinder()
        var offset = 0
        while finder.header == nil, offset < reader.octets {
            guard offset <= maximumHeader else { return nil }
            let piece = try reader.read(at: offset, count: offset == 0 ? 4096 : chunk)
            guard piece.readableBytes > 0 else { break }
            finder.feed(piece)
            offset += piece.readableBytes
        }
        if finder.header == nil { finder.finish() }
        guard let (end, block) = finder.header else { return (0, HeaderBlock([])) }
        let isWhole = block.octets.count == end && !block.hasMoreFields
        return (end, isWhole ? block : try header(reader, in: 0..<end))
    }

    /// Fields of a header by their names, with the empty line (RFC 3501 §6.4.5).
    static func fields(_ block: HeaderBlock, named names: [[UInt8]], excluded: Bool) -> [UInt8] {
        // A few names are compared faster than looked up.
        let wanted = names.count > 4 ? Set(names.map { $0.map(ASCII.lower) }) : nil
        return fields(block) { name in
            let isNamed =
                wanted?.contains(name.map(ASCII.lower))
                ?? names.contains { $0.count == name.count && ASCII.equal(name, $0) }
            return isNamed != excluded
        }
    }

    /// The same for those whose names the body wants.
    static func fields(_ block: HeaderBlock, where isWanted: (ArraySlice<UInt8>) -> Bool) -> [UInt8] {
        var octets: [UInt8] = []
        for field in block.fields where isWanted(block.name(of: field)) {
            octets += block.octets[field.whole]
            if octets.last != ASCII.lineFeed { octets += [ASCII.carriageReturn, ASCII.lineFeed] }
        }
        return octets + [ASCII.carriageReturn, ASCII.lineFeed]
    }
}
