import ArgumentParser
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// `martlet mime text`: what a search index would see.
struct MIMETextCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "text",
        abstract: "Prints what a search index would see of a message.",
        discussion: """
            Subject, addresses, the names of attachments and of files within texts, then the text of all text parts, in UTF-8: \
            flowed paragraphs in one line, HTML without its tags. Where a multipart or an attached message can't be looked \
            into, its text as it is.
            """
    )

    @OptionGroup var input: MIMEInput
    @Flag(help: "For programs: one JSON document.") var json = false

    struct Line: Encodable {
        let name: String
        let value: String
    }

    func run() throws {
        var reader = MIMETextReader(document: json ? JSONTextOutput() : nil)
        try input.decode(toUTF8: true) { reader.take($0) }
        try reader.finish()
    }
}

/// Makes text of what a parser finds, piece by piece; keeps 64 KiB of what it writes, and as much of what lies before the first
/// part of a multipart.
private struct MIMETextReader {
    /// nil for text that people read.
    private var document: JSONTextOutput?
    private var numbering = PartNumbering()
    private var text: PartText?
    /// The number of the part that is open.
    private var number = ""
    /// The type of the part that is open, where it isn't text by itself but may turn out to be nothing else.
    private var unread: ContentFields?
    /// What a multipart has besides parts, until it has one; more than a few words for old programs is text.
    private var outside: [UInt8]?
    private var outsideDecoder: BodyDecoder?
    /// Of the part whose header came last.
    private var content = ContentFields()
    private var written: [UInt8] = []
    private var failure: (any Error)?

    private static let piece = 64 * 1024

    init(document: JSONTextOutput?) { self.document = document }

    mutating func take(_ event: MessageEvent) {
        guard failure == nil else { return }
        numbering.take(event)
        switch event {
        case .partBegin:
            // What came before the first part was so long that it was shown, and ends here.
            if text != nil { end() }
            // What had a header turned out to hold parts.
            text = nil
            unread = nil
            outside = nil
            outsideDecoder = nil
        case .headerEnd(_, let header, let content):
            number = numbering.bodyNumber
            self.content = content
            for line in Self.lines(header, content, isMessage: numbering.number == nil) { add(line) }
            if content.isText { begin(content) } else if content.isReadable { unread = content }
            if content.isMultipart { outside = [] }
        case .body(_, let octets):
            if let unread { begin(unread) }
            add(octets)
        case .outside(_, let octets): addOutside(octets)
        case .partEnd: end()
        case .field: break
        }
    }

    /// The end of the message.
    mutating func finish() throws {
        document?.finish(&written)
        flush()
        if let failure { throw failure }
    }

    private mutating func begin(_ content: ContentFields) {
        unread = nil
        text = PartText(content)
        guard document != nil else { return }
        document?.begin(number, TerminalText.make(content.type.value.map(ASCII.lower)), &written)
    }

    private mutating func add(_ octets: some Sequence<UInt8>) {
        guard var part = text else { return }
        text = nil
        var names: [[UInt8]] = []
        var shown: [UInt8] = []
        part.feed(octets, into: &shown) { names.append($0) }
        text = part
        show(shown, names)
    }

    private mutating func addOutside(_ octets: UnsafeRawBufferPointer) {
        guard outside != nil else { return }
        outside? += octets
        guard text != nil || (outside?.count ?? 0) > Self.piece else { return }
        showOutside()
    }

    /// What is outside of parts is text: there are none.
    private mutating func showOutside() {
        guard let octets = outside else { return }
        if let unread { begin(unread) }
        var decoder = outsideDecoder ?? BodyDecoder(content, toUTF8: true)
        var decoded: [UInt8] = []
        decoder.decode(octets, into: &decoded)
        outsideDecoder = decoder
        outside = []
        add(decoded)
    }

    private mutating func end() {
        if outside?.isEmpty == false { showOutside() }
        if var decoder = outsideDecoder {
            var rest: [UInt8] = []
            decoder.finish(into: &rest)
            add(rest)
        }
        outside = nil
        outsideDecoder = nil
        unread = nil
        guard var part = text else { return }
        text = nil
        var names: [[UInt8]] = []
        var shown: [UInt8] = []
        part.finish(into: &shown) { names.append($0) }
        show(shown, names)
        if document == nil { written.append(ASCII.lineFeed) }
    }

    // MARK: Writing

    private mutating func show(_ shown: [UInt8], _ names: [[UInt8]]) {
        for name in names {
            add(MIMETextCommand.Line(name: "File", value: TerminalText.make(EncodedWords.text(name).utf8)))
        }
        if document == nil { written += shown } else { document?.add(shown, &written) }
        if written.count >= Self.piece { flush() }
    }

    private mutating func add(_ line: MIMETextCommand.Line) {
        if document == nil {
            written += Array("\(line.name): \(line.value)\n".utf8)
        } else {
            document?.fields.append(line)
        }
    }

    private mutating func flush() {
        guard failure == nil else { return }
        do {
            try written.withUnsafeBytes { try FileOctets.write($0, to: STDOUT_FILENO, "standard output") }
        } catch { failure = error }
        written.removeAll(keepingCapacity: true)
    }

    /// What is told of a part's header.
    private static func lines(_ header: HeaderBlock, _ content: ContentFields, isMessage: Bool) -> [MIMETextCommand
        .Line]
    {
        var lines: [MIMETextCommand.Line] = []
        func add(_ name: String, _ value: String) {
            lines.append(MIMETextCommand.Line(name: name, value: TerminalText.make(value.utf8)))
        }
        if isMessage {
            let envelope = EnvelopeFields(header)
            if let subject = envelope.subject { add("Subject", EncodedWords.text(subject)) }
            for (name, field) in [("From", envelope.from), ("To", envelope.to), ("Cc", envelope.cc)] {
                for address in AddressListParser.parse(field ?? []) where address.host != nil {
                    add(name, address.shown)
                }
            }
        }
        if let name = content.fileName { add("Attachment", name) }
        return lines
    }
}

/// The document for programs, written as its texts come: `{"texts":[…],"fields":[…]}`.
private struct JSONTextOutput {
    var fields: [MIMETextCommand.Line] = []
    private var hasText = false
    /// Text that isn't written yet.
    private var pending: [UInt8] = []

    private static let piece = 16 * 1024

    private struct Text: Encodable {
        let part: String
        let type: String
    }

    /// A part's text begins.
    mutating func begin(_ part: String, _ type: String, _ octets: inout [UInt8]) {
        flush(&octets)
        octets += Array((hasText ? "\"}," : #"{"texts":["#).utf8)
        hasText = true
        octets += JSONOutput.encoded(Text(part: part, type: type)).dropLast() + Array(#","text":""#.utf8)
    }

    /// More of the text, of whole characters.
    mutating func add(_ text: [UInt8], _ octets: inout [UInt8]) {
        pending += text
        if pending.count >= Self.piece { flush(&octets) }
    }

    mutating func finish(_ octets: inout [UInt8]) {
        flush(&octets)
        octets += Array((hasText ? "\"}]" : #"{"texts":[]"#).utf8) + Array(#","fields":"#.utf8)
        octets += JSONOutput.encoded(fields) + Array("}\n".utf8)
    }

    private mutating func flush(_ octets: inout [UInt8]) {
        guard !pending.isEmpty else { return }
        octets += JSONOutput.encoded(String(decoding: pending, as: UTF8.self)).dropFirst().dropLast()
        pending.removeAll(keepingCapacity: true)
    }
}

/// The text of one part, made readable piece by piece.
private struct PartText {
    private var files: EnclosedFileReader?
    private var flowed: FlowedText?
    private var html: HTMLText?
    private var characters = TerminalText(hasLines: true)

    init(_ content: ContentFields) {
        if ASCII.equal(content.type.value, "text/html") { html = HTMLText() }
        if ASCII.equal(content.type.value, "text/plain") { files = EnclosedFileReader() }
        flowed = FlowedText(content.type)
    }

    mutating func feed(_ octets: some Sequence<UInt8>, into shown: inout [UInt8], names: ([UInt8]) -> Void) {
        guard files != nil else { return show(Array(octets), into: &shown) }
        var text: [UInt8] = []
        files?.feed(octets) { Self.take($0, &text, names) }
        show(text, into: &shown)
    }

    mutating func finish(into shown: inout [UInt8], names: ([UInt8]) -> Void) {
        var text: [UInt8] = []
        files?.finish { Self.take($0, &text, names) }
        show(text, into: &shown)
        var rest: [UInt8] = []
        flowed?.finish(into: &rest)
        html?.finish(into: &rest)
        characters.add(rest, to: &shown)
        characters.finish(to: &shown)
    }

    private static func take(_ event: EnclosedFileReader.Event, _ text: inout [UInt8], _ names: ([UInt8]) -> Void) {
        switch event {
        case .text(let octets): text += octets
        case .begin(let file): names(file.name)
        case .content, .end: break
        }
    }

    private mutating func show(_ text: [UInt8], into shown: inout [UInt8]) {
        guard flowed != nil || html != nil else { return characters.add(text, to: &shown) }
        var plain: [UInt8] = []
        flowed?.feed(text, into: &plain)
        html?.feed(text, into: &plain)
        characters.add(plain, to: &shown)
    }
}
