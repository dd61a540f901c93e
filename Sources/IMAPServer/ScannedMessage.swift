import MIME
import Mailbox
import NIOCore

/// A message that is opened and parsed as far as somebody needs it, in short steps, so that others have their turns between
/// them. What was read once is kept. Every call may block on the disk.
struct ScannedMessage {
    private let uid: UInt32
    private let folder: any MailFolder
    private(set) var reader: MessageReader?
    /// Its parts, once they are known.
    private(set) var structure: MessagePart?
    /// Its own header and where that ends, once it was read.
    private(set) var header: (end: Int, block: HeaderBlock)?
    private var parser = StructureParser()
    private var offset = 0
    /// What all of this has cost so far, in octets that were read.
    private(set) var work = 0

    /// What opening a message counts for. Octets.
    private static let opening = 4096
    /// The most that one step parses. Octets.
    private static let step = 256 * 1024

    /// - Parameter structure: where it's known already.
    init(uid: UInt32, in folder: any MailFolder, structure: MessagePart? = nil) {
        self.uid = uid
        self.folder = folder
        self.structure = structure
    }

    mutating func opened() throws(MailboxError) -> MessageReader {
        if let reader { return reader }
        let opened = try folder.open(uid)
        work += Self.opening
        reader = opened
        return opened
    }

    /// The message's parts; nil as long as it has to be called again.
    mutating func parts() throws(MailboxError) -> MessagePart? {
        if let structure { return structure }
        let reader = try opened()
        work += min(Self.step, reader.octets)
        let end = min(offset + Self.step, reader.octets)
        while offset < end {
            let piece = try reader.read(at: offset, count: MessageContent.chunk)
            guard piece.readableBytes > 0 else { break }
            parser.feed(piece)
            offset += piece.readableBytes
        }
        if offset >= end, offset < reader.octets { return nil }
        structure = parser.finish()
        return structure
    }

    /// The message's own header; nil as long as it has to be called again. Where it doesn't end within the limit, the
    /// structure says where that is.
    mutating func ownHeader() throws(MailboxError) -> (end: Int, block: HeaderBlock)? {
        if let header { return header }
        let reader = try opened()
        if structure == nil, offset == 0, let found = try MessageContent.header(reader) {
            return keep(found)
        }
        guard let range = try parts()?.header else { return nil }
        return keep((end: range.upperBound, block: try MessageContent.header(reader, in: range)))
    }

    private mutating func keep(_ found: (end: Int, block: HeaderBlock)) -> (end: Int, block: HeaderBlock) {
        work += found.block.octets.count
        header = found
        return found
    }
}
