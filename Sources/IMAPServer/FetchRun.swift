import IMAP
import MIME
import MailIndex
import Mailbox
import NIOCore

/// A FETCH that goes on in short steps, each of as many messages as there is time for, so that others have their turns between
/// them. Every call may block on the disk.
final class FetchRun: @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.

    /// A message that is asked for.
    struct Request {
        /// The message number, less one.
        var place: Int
        var message: StoredMessage
        /// Whether its flags are told although nobody asked for them: the command has set \Seen.
        var tellsFlags = false
        /// Its modification sequence, where it's told.
        var sequence: UInt64?
    }

    /// What comes next in the response.
    struct Step: Sendable {
        var octets: ByteBuffer
        /// Follows the octets: the content of a literal whose head is in them.
        var stream: FetchSource.Stream?
        /// Of the message whose octets are streamed.
        var reader: MessageReader?
        var isLast = false
    }

    private let requests: [Request]
    private let items: [FetchItem]
    private let itemsWithFlags: [FetchItem]
    private let folder: any MailFolder
    private let keywords: [String]
    private let dialect: Dialect
    private let window: ItemWindow?
    /// Of messages that were asked for last.
    private(set) var structures: StructureCache

    /// The request that is answered now.
    private var next = 0
    private var source: FetchSource?
    private var isPrepared = false
    /// The item that is written next; those before it are written.
    private var item = 0
    private var owesSpace = false
    /// A message's response has begun, and can't be taken back.
    private(set) var hasBegun = false
    /// A message has a part in an encoding that isn't known (RFC 3516 §4.3): nothing more is written.
    private(set) var hasUnknownEncoding = false
    /// How flags are written, for those that were met.
    private var flagLists: [FlagKey: [UInt8]] = [:]

    /// What is written, or read for it, before others have their turn. Octets.
    private static let turn = 64 * 1024
    /// Literals up to this are read at once. Octets.
    private static let smallLiteral = 16 * 1024
    /// What a message costs beside its octets.
    private static let message = 64

    /// - Parameter index: what is kept of the folder's messages, if any.
    init(
        _ requests: [Request],
        _ items: [FetchItem],
        in folder: any MailFolder,
        for dialect: Dialect,
        index: FolderIndex?,
        structures: StructureCache
    ) {
        self.requests = requests
        self.items = items
        let tells = requests.contains { $0.sequence != nil }
        let told: [FetchItem] = tells ? [.flags, .modSequence] : [.flags]
        itemsWithFlags = items + told.filter { !items.contains($0) }
        self.folder = folder
        keywords = folder.keywords
        self.dialect = dialect
        self.structures = structures
        window = index.map { ItemWindow($0, in: folder, requests.map(\.message.uid)) }
    }

    /// Whether the index may have any of the items.
    static func isHelped(_ items: [FetchItem], _ dialect: Dialect) -> Bool {
        items.contains { FetchSource.indexedItem($0, dialect) != nil }
    }

    /// Goes on for a turn. A message that is gone has no answer: its EXPUNGE comes later.
    ///
    /// - Throws: before anything of the message was written, unless `hasBegun`.
    func advance() throws(MailboxError) -> Step {
        var writer = ResponseWriter(for: dialect)
        var spent = 0
        while next < requests.count, !hasUnknownEncoding {
            guard writer.buffer.readableBytes + spent < Self.turn else { return Step(octets: writer.buffer) }
            do throws(MailboxError) {
                if let step = try advance(&writer, &spent) { return step }
            } catch {
                if error == .notFound, !hasBegun {
                    endMessage()
                    continue
                }
                // What is written goes out first: the next call meets the fault again.
                guard writer.buffer.readableBytes > 0 else { throw error }
                return Step(octets: writer.buffer)
            }
        }
        window?.flush()
        return Step(octets: writer.buffer, isLast: true)
    }

    /// Goes on with one message; nil where there is time for more.
    private func advance(_ writer: inout ResponseWriter, _ spent: inout Int) throws(MailboxError) -> Step? {
        let request = requests[next]
        let items = request.tellsFlags ? itemsWithFlags : items
        let source = source ?? makeSource(request)
        self.source = source
        spent += Self.message
        if !isPrepared {
            let before = source.readOctets
            let isReady = try source.prepare(for: items)
            spent += source.readOctets - before
            guard isReady else { return Step(octets: writer.buffer) }
            hasUnknownEncoding = source.hasUnknownEncoding
            if hasUnknownEncoding { return nil }
            isPrepared = true
        }
        if !hasBegun {
            writer.fetchHead(number: request.place + 1, uid: request.message.uid)
            hasBegun = true
        }
        while item < items.count {
            if owesSpace { writer.space() }
            owesSpace = false
            let before = source.readOctets
            let stream = try source.write(items[item], to: &writer)
            spent += source.readOctets - before
            item += 1
            owesSpace = true
            if let stream, !writeSmall(stream, from: source, &writer) {
                return Step(octets: writer.buffer, stream: stream, reader: source.reader)
            }
            if writer.buffer.readableBytes + spent >= Self.turn, item < items.count {
                return Step(octets: writer.buffer)
            }
        }
        writer.raw(")")
        writer.end()
        if let structure = source.structure, structures[request.message.uid] == nil {
            structures.add(structure, for: request.message.uid)
        }
        endMessage()
        return nil
    }

    private func endMessage() {
        next += 1
        source = nil
        isPrepared = false
        hasBegun = false
        item = 0
        owesSpace = false
    }

    private func makeSource(_ request: Request) -> FetchSource {
        let message = request.message
        let key = FlagKey(message)
        let flags: [UInt8]
        if let known = flagLists[key] {
            flags = known
        } else {
            var writer = ResponseWriter(for: dialect)
            writer.flagList(SystemFlags.flags(of: message, keywords: keywords, for: dialect))
            flags = Array(writer.buffer.readableBytesView)
            flagLists[key] = flags
        }
        return FetchSource(
            message,
            flags: flags,
            folder: folder,
            structure: structures[message.uid],
            sequence: request.sequence,
            for: dialect,
            known: window.map { FetchSource.Known(window: $0, place: next) }
        )
    }

    /// Writes a short literal's content, so that it needs no step of its own; false where it's long, or can't be read now.
    private func writeSmall(
        _ stream: FetchSource.Stream,
        from source: FetchSource,
        _ writer: inout ResponseWriter
    ) -> Bool {
        guard case .range(let range) = stream, range.count <= Self.smallLiteral, let reader = source.reader else {
            return false
        }
        var content = ByteBuffer()
        while content.readableBytes < range.count {
            let start = range.lowerBound + content.readableBytes
            guard var piece = try? reader.read(at: start, count: range.upperBound - start), piece.readableBytes > 0
            else { return false }
            content.writeBuffer(&piece)
        }
        var octets = ResponseWriter.withoutNUL(content)
        writer.buffer.writeBuffer(&octets)
        return true
    }
}
