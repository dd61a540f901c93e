import IMAP
import MIME
import Mailbox
import NIOCore

/// One message while FETCH answers for it: opened and parsed only as far as the items need. Every call may block.
struct FetchSource {
    private let message: StoredMessage
    private let flags: [Flag]
    private let folder: any MailFolder
    private(set) var reader: MessageReader?
    private(set) var structure: MessagePart?
    /// The message's own.
    private var knownHeader: (end: Int, block: HeaderBlock)?

    init(_ message: StoredMessage, flags: [Flag], folder: any MailFolder, structure: MessagePart?) {
        self.message = message
        self.flags = flags
        self.folder = folder
        self.structure = structure
    }

    /// Writes an item with its value; or its name and the head of a literal, whose octets are the range that is
    /// returned.
    mutating func write(_ item: FetchItem, to writer: inout ResponseWriter) throws(MailboxError) -> Range<Int>? {
        switch item {
        case .flags:
            writer.raw("FLAGS ")
            writer.flagList(flags)
        case .uid: writer.raw("UID \(message.uid)")
        case .internalDate:
            writer.raw("INTERNALDATE ")
            writer.dateTime(DateTime(secondsSince1970: try folder.internalDate(of: message.uid)))
        case .size: writer.raw("RFC822.SIZE \(try octets())")
        case .envelope:
            writer.raw("ENVELOPE ")
            writer.envelope(EnvelopeFields(try header().block))
        case .body, .bodyStructure:
            writer.raw(item == .body ? "BODY " : "BODYSTRUCTURE ")
            writer.structure(try parts(), isExtended: item == .bodyStructure)
        case .rfc822: return try content(Section(), nil, "RFC822", &writer)
        case .rfc822Header: return try content(Section(text: .header), nil, "RFC822.HEADER", &writer)
        case .rfc822Text: return try content(Section(text: .text), nil, "RFC822.TEXT", &writer)
        case .section(let section, let partial, _): return try content(section, partial, nil, &writer)
        }
        return nil
    }

    private enum Content {
        case range(Range<Int>)
        case octets([UInt8])
    }

    private mutating func content(
        _ section: Section,
        _ partial: Partial?,
        _ name: String?,
        _ writer: inout ResponseWriter
    ) throws(MailboxError) -> Range<Int>? {
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
            _ = try opened()
            let range = Self.cut(whole, partial)
            writer.literalHead(range.count)
            return range
        }
    }

    private static func cut(_ range: Range<Int>, _ partial: Partial?) -> Range<Int> {
        guard let partial else { return range }
        let start = range.lowerBound + min(partial.start, range.count)
        return start..<(start + min(partial.count, range.upperBound - start))
    }

    private mutating func find(_ section: Section) throws(MailboxError) -> Content? {
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

    private mutating func embeddedFields(
        _ part: MessagePart,
        _ names: [[UInt8]],
        excluded: Bool
    ) throws(MailboxError) -> Content? {
        guard let message = Self.embeddedMessage(part) else { return nil }
        let header = try MessageContent.header(opened(), in: message.header)
        return .octets(MessageContent.fields(header, named: names, excluded: excluded))
    }

    private mutating func findInMessage(_ text: Section.Text) throws(MailboxError) -> Content? {
        let reader = try opened()
        switch text {
        case .content: return .range(0..<reader.octets)
        case .header: return .range(0..<(try header().end))
        case .text: return .range(try header().end..<reader.octets)
        case .headerFields(let names):
            return .octets(MessageContent.fields(try header().block, named: names, excluded: false))
        case .headerFieldsNot(let names):
            return .octets(MessageContent.fields(try header().block, named: names, excluded: true))
        case .mime: return nil
        }
    }

    private func octets() throws(MailboxError) -> Int {
        if let known = message.octets { return known }
        return try folder.octets(of: message.uid)
    }

    private mutating func opened() throws(MailboxError) -> MessageReader {
        if let reader { return reader }
        let opened = try folder.open(message.uid)
        reader = opened
        return opened
    }

    private mutating func header() throws(MailboxError) -> (end: Int, block: HeaderBlock) {
        if let knownHeader { return knownHeader }
        let reader = try opened()
        let header =
            if let range = structure?.header {
                (end: range.upperBound, block: try MessageContent.header(reader, in: range))
            } else {
                try MessageContent.header(reader)
            }
        knownHeader = header
        return header
    }

    private mutating func parts() throws(MailboxError) -> MessagePart {
        if let structure { return structure }
        let found = try MessageContent.structure(try opened())
        structure = found
        return found
    }
}
