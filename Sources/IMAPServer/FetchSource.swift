import IMAP
import MIME
import MailIndex
import Mailbox
import NIOCore

/// One message while FETCH answers for it: opened and parsed only as far as the items need, each header read once. Every
/// call may block, and does little enough that others have their turns between calls.
final class FetchSource: @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private let message: StoredMessage
    /// As they are written.
    private let flags: [UInt8]
    private let sequence: UInt64?
    private let folder: any MailFolder
    private let dialect: Dialect
    private let known: Known?
    private var scanned: ScannedMessage
    private var internalDate: Int?
    private var size: Int?
    private var emailID: String?
    /// Nil within where it isn't known.
    private var saveDate: Int??
    /// Of messages within this one, by where they begin.
    private var embeddedHeaders: [Int: HeaderBlock] = [:]
    /// Octets of headers that were gone through.
    private var work = 0
    /// Octets of parts without their transfer encodings.
    private var decodedSizes: [[Int]: Int] = [:]
    /// The part that is being counted.
    private var counting: (part: [Int], body: DecodedBody, octets: Int)?
    private var preview: [UInt8]?
    /// Whether a part is asked for in an encoding that isn't known (RFC 3516 §4.3).
    private(set) var hasUnknownEncoding = false

    /// What the index has of the message, as far as it was asked for.
    private var indexed: [IndexedItem: [UInt8]] = [:]

    /// What is kept of `embeddedHeaders`. Octets.
    private static let maximumEmbedded = 2 * 1024 * 1024

    init(
        _ message: StoredMessage,
        flags: [UInt8],
        folder: any MailFolder,
        structure: MessagePart?,
        sequence: UInt64? = nil,
        for dialect: Dialect = Dialect(),
        known: Known? = nil
    ) {
        self.sequence = sequence
        self.message = message
        self.flags = flags
        self.folder = folder
        self.dialect = dialect
        self.known = known
        scanned = ScannedMessage(uid: message.uid, in: folder, structure: structure)
    }

    /// The message in the index.
    struct Known {
        let window: ItemWindow
        let place: Int
    }

    /// What the index may have for an item; nil where the message itself has to be read.
    static func indexedItem(_ item: FetchItem, _ dialect: Dialect) -> IndexedItem? {
        // What is kept is written as for IMAP4rev1.
        let isPlain = !dialect.isRev2 && !dialect.acceptsUTF8
        switch item {
        case .envelope: return isPlain ? .envelope : nil
        case .bodyStructure: return isPlain ? .structure : nil
        case .body: return isPlain ? .body : nil
        case .section(let section, _, _):
            guard section.part.isEmpty, case .headerFields(let names) = section.text, CommonFields.cover(names) else {
                return nil
            }
            return .header
        case .threadID: return .header
        case .flags, .uid, .size, .internalDate, .modSequence, .emailID, .saveDate, .rfc822, .rfc822Header,
            .rfc822Text, .binary, .binarySize, .preview:
            return nil
        }
    }

    /// Octets that were read so far, or as much work.
    var readOctets: Int { scanned.work + work }
    var reader: MessageReader? { scanned.reader }
    var structure: MessagePart? { scanned.structure }

    /// Opens and parses what the items need, so that a message that is gone, or can't be read, is found out before the
    /// response has begun.
    ///
    /// - Returns: false as long as it has to be called again.
    func prepare(for items: [FetchItem]) throws(MailboxError) -> Bool {
        for item in items {
            if findInIndex(item) { continue }
            switch item {
            case .flags, .uid, .modSequence: break
            case .emailID: if emailID == nil { emailID = try ObjectID.email(message.uid, in: folder) }
            case .saveDate: if saveDate == nil { saveDate = .some(try folder.saveDate(of: message.uid)) }
            case .threadID: guard try scanned.ownHeader() != nil else { return false }
            case .internalDate: _ = try arrival()
            case .size: _ = try octets()
            case .envelope: guard try scanned.ownHeader() != nil else { return false }
            case .body, .bodyStructure: guard try scanned.parts() != nil else { return false }
            case .rfc822: _ = try scanned.opened()
            case .rfc822Header, .rfc822Text: guard try scanned.ownHeader() != nil else { return false }
            case .binary(let part, _, _), .binarySize(let part):
                guard try countDecoded(part) else { return false }
            case .preview:
                guard let root = try scanned.parts() else { return false }
                if preview == nil { preview = try MessagePreview.text(root, scanned.opened()) }
            case .section(let section, _, _):
                _ = try scanned.opened()
                if !section.part.isEmpty {
                    guard try scanned.parts() != nil else { return false }
                } else if section.text != .content {
                    guard try scanned.ownHeader() != nil else { return false }
                }
            }
        }
        return true
    }

    /// What follows a piece, as a literal whose head is in it.
    enum Stream: Sendable {
        /// Octets of the message.
        case range(Range<Int>)
        case decoded(DecodedBody)
    }

    private func findInIndex(_ item: FetchItem) -> Bool {
        guard let known, let wanted = Self.indexedItem(item, dialect) else { return false }
        if indexed[wanted] == nil { indexed[wanted] = known.window.octets(wanted, at: known.place) }
        return indexed[wanted] != nil
    }

    /// Writes an item with its value; or its name and the head of a literal, whose octets are what is returned.
    func write(_ item: FetchItem, to writer: inout ResponseWriter) throws(MailboxError) -> Stream? {
        switch item {
        case .flags:
            writer.raw("FLAGS ")
            writer.raw(flags)
        case .uid:
            writer.raw("UID ")
            writer.decimal(Int(message.uid))
        case .internalDate:
            writer.raw("INTERNALDATE ")
            writer.dateTime(DateTime(secondsSince1970: try arrival()))
        case .size:
            writer.raw("RFC822.SIZE ")
            writer.decimal(try octets())
        case .envelope:
            writer.raw("ENVELOPE ")
            try writeIndexed(item, to: &writer) { (writer) throws(MailboxError) in
                writer.envelope(EnvelopeFields(try ownHeader().block))
            }
        case .body, .bodyStructure:
            writer.raw(item == .body ? "BODY " : "BODYSTRUCTURE ")
            try writeIndexed(item, to: &writer) { (writer) throws(MailboxError) in
                writer.structure(try parts(), isExtended: item == .bodyStructure)
            }
        case .binary(let part, let partial, _): return try binary(part, partial, &writer)
        case .binarySize(let part):
            writer.binaryName("BINARY.SIZE", part, origin: nil)
            writer.raw(" \(decodedSizes[part] ?? 0)")
        case .preview:
            writer.raw("PREVIEW ")
            writer.nstring(preview)
        case .modSequence: writer.modSequence(sequence ?? 1)
        case .emailID: writer.raw("EMAILID (\(emailID ?? ""))")
        case .threadID:
            let header: HeaderBlock
            if let known = try commonFields(ObjectID.threadFields) {
                header = known
            } else {
                header = try ownHeader().block
            }
            writer.raw("THREADID (\(try ObjectID.thread(header, message.uid, in: folder)))")
        case .saveDate:
            writer.raw("SAVEDATE ")
            if let saveDate, let date = saveDate {
                writer.dateTime(DateTime(secondsSince1970: date))
            } else {
                writer.raw("NIL")
            }
        case .rfc822: return try content(Section(), nil, "RFC822", &writer)
        case .rfc822Header: return try content(Section(text: .header), nil, "RFC822.HEADER", &writer)
        case .rfc822Text: return try content(Section(text: .text), nil, "RFC822.TEXT", &writer)
        case .section(let section, let partial, _): return try content(section, partial, nil, &writer)
        }
        return nil
    }

    /// Writes what the index has of an item; or what the body writes, and has that kept.
    private func writeIndexed(
        _ item: FetchItem,
        to writer: inout ResponseWriter,
        _ body: (inout ResponseWriter) throws(MailboxError) -> Void
    ) throws(MailboxError) {
        guard let known, let wanted = Self.indexedItem(item, dialect) else { return try body(&writer) }
        if let octets = indexed[wanted] {
            writer.buffer.writeBytes(octets)
            return
        }
        var own = ResponseWriter(for: dialect)
        try body(&own)
        known.window.keep(wanted, at: known.place, Array(own.buffer.readableBytesView))
        writer.buffer.writeBuffer(&own.buffer)
    }

    private enum Content {
        case range(Range<Int>)
        case octets([UInt8])
    }

    private func content(
        _ section: Section,
        _ partial: Partial?,
        _ name: String?,
        _ writer: inout ResponseWriter
    ) throws(MailboxError) -> Stream? {
        let content = try find(section)
        if let name { writer.raw(name) } else { writer.sectionName(section, origin: partial?.start) }
        writer.space()
        switch content {
        case nil:
            writer.raw("NIL")
            return nil
        case .octets(let octets):
            let range = Self.cut(octets.indices, partial)
            writer.literalHead(range.count)
            writer.literalOctets(octets[range])
            return nil
        case .range(let whole):
            // The structure may have been known without the message being open.
            _ = try scanned.opened()
            let range = Self.cut(whole, partial)
            writer.literalHead(range.count)
            return .range(range)
        }
    }

    // MARK: BINARY (RFC 3516)

    /// Where a part's body is, and what it's encoded in; nil where there is no such part.
    private func encoded(_ part: [Int]) throws(MailboxError) -> (body: Range<Int>, encoding: TransferDecoder.Encoding)?
    {
        if part.isEmpty { return (0..<(try scanned.opened().octets), .identity) }
        guard let found = try parts().part(part[...]) else { return nil }
        // What is made of parts has no encoding of its own (RFC 2045 §6.4).
        return (found.body, found.children.isEmpty ? found.content.encoding : .identity)
    }

    private static func isKnown(_ content: ContentFields) -> Bool {
        guard let name = content.transferEncoding, !name.isEmpty, content.encoding == .identity else { return true }
        let plain: [StaticString] = ["7bit", "8bit", "binary"]
        return plain.contains { ASCII.equal(name, $0) }
    }

    /// Counts a part's octets for a turn; false as long as it has to be called again.
    private func countDecoded(_ part: [Int]) throws(MailboxError) -> Bool {
        guard decodedSizes[part] == nil else { return true }
        let reader = try scanned.opened()
        if !part.isEmpty {
            guard let root = try scanned.parts() else { return false }
            if let found = root.part(part[...]), found.children.isEmpty, !Self.isKnown(found.content) {
                hasUnknownEncoding = true
                return true
            }
        }
        guard let (body, encoding) = try encoded(part) else {
            decodedSizes[part] = 0
            return true
        }
        guard encoding != .identity else {
            decodedSizes[part] = body.count
            return true
        }
        var count =
            counting?.part == part
            ? counting : (part, DecodedBody(reader, body, encoding, wanted: 0..<Int.max), 0)
        counting = nil
        guard let octets = try count?.body.read() else {
            decodedSizes[part] = count?.octets ?? 0
            return true
        }
        count?.octets += octets.count
        counting = count
        return false
    }

    private func binary(
        _ part: [Int],
        _ partial: Partial?,
        _ writer: inout ResponseWriter
    ) throws(MailboxError) -> Stream? {
        writer.binaryName("BINARY", part, origin: partial?.start)
        writer.space()
        guard let (body, encoding) = try encoded(part), let size = decodedSizes[part] else {
            writer.raw("NIL")
            return nil
        }
        let wanted = Self.cut(0..<size, partial)
        writer.binaryHead(wanted.count)
        return .decoded(DecodedBody(try scanned.opened(), body, encoding, wanted: wanted))
    }

    // MARK: CATENATE (RFC 4469)

    /// What of a message a section is; nil where there is no such part. It was prepared.
    func part(_ section: Section, _ partial: Partial?) throws(MailboxError) -> Part? {
        switch try find(section) {
        case nil: return nil
        case .octets(let octets): return .octets(Array(octets[Self.cut(octets.indices, partial)]))
        case .range(let range): return .range(Self.cut(range, partial))
        }
    }

    enum Part: Sendable {
        case octets([UInt8])
        case range(Range<Int>)
    }

    private static func cut(_ range: Range<Int>, _ partial: Partial?) -> Range<Int> {
        guard let partial else { return range }
        let start = range.lowerBound + min(partial.start, range.count)
        return start..<(start + min(partial.count, range.upperBound - start))
    }

    private func find(_ section: Section) throws(MailboxError) -> Content? {
        if section.part.isEmpty { return try findInMessage(section.text) }
        guard let part = try parts().part(section.part[...]) else { return nil }
        switch section.text {
        case .content: return .range(part.body)
        case .mime: return .range(part.header)
        case .header: return Self.embeddedMessage(part).map { .range($0.header) }
        case .text: return Self.embeddedMessage(part).map { .range($0.body) }
        case .headerFields(let names): return try embeddedFields(part, names, excluded: false)
        case .headerFieldsNot(let names): return try embeddedFields(part, names, excluded: true)
        }
    }

    private static func embeddedMessage(_ part: MessagePart) -> MessagePart? {
        part.isEmbeddedMessage ? part.children.first : nil
    }

    private func embeddedFields(
        _ part: MessagePart,
        _ names: [[UInt8]],
        excluded: Bool
    ) throws(MailboxError) -> Content? {
        guard let message = Self.embeddedMessage(part) else { return nil }
        let header = try embeddedHeader(message.header)
        work += header.octets.count
        return .octets(MessageContent.fields(header, named: names, excluded: excluded))
    }

    private func embeddedHeader(_ range: Range<Int>) throws(MailboxError) -> HeaderBlock {
        if let known = embeddedHeaders[range.lowerBound] { return known }
        let header = try MessageContent.header(scanned.opened(), in: range)
        let kept = embeddedHeaders.values.reduce(header.octets.count) { $0 + $1.octets.count }
        if kept > Self.maximumEmbedded { embeddedHeaders = [:] }
        embeddedHeaders[range.lowerBound] = header
        return header
    }

    private func findInMessage(_ text: Section.Text) throws(MailboxError) -> Content? {
        if case .headerFields(let names) = text, let header = try commonFields(names) {
            return .octets(MessageContent.fields(header, named: names, excluded: false))
        }
        let reader = try scanned.opened()
        switch text {
        case .content: return .range(0..<reader.octets)
        case .header: return .range(0..<(try ownHeader().end))
        case .text: return .range(try ownHeader().end..<reader.octets)
        case .headerFields(let names):
            return .octets(MessageContent.fields(try ownHeader().block, named: names, excluded: false))
        case .headerFieldsNot(let names):
            return .octets(MessageContent.fields(try ownHeader().block, named: names, excluded: true))
        case .mime: return nil
        }
    }

    /// The fields that the index keeps, where these are among them and there is an index.
    private func commonFields(_ names: [[UInt8]]) throws(MailboxError) -> HeaderBlock? {
        guard let known, CommonFields.cover(names) else { return nil }
        if let octets = indexed[.header] { return HeaderBlock(octets) }
        let header = try ownHeader().block
        let octets = CommonFields.of(header)
        indexed[.header] = octets
        known.window.keep(.header, at: known.place, octets)
        return header
    }

    private func octets() throws(MailboxError) -> Int {
        if let known = message.octets ?? size { return known }
        let found = try folder.octets(of: message.uid)
        size = found
        return found
    }

    private func arrival() throws(MailboxError) -> Int {
        if let internalDate { return internalDate }
        let found = try folder.internalDate(of: message.uid)
        internalDate = found
        return found
    }

    private func ownHeader() throws(MailboxError) -> (end: Int, block: HeaderBlock) {
        while true {
            if let header = try scanned.ownHeader() {
                work += header.block.octets.count
                return header
            }
        }
    }

    private func parts() throws(MailboxError) -> MessagePart {
        while true {
            if let parts = try scanned.parts() { return parts }
        }
    }
}
