import ArgumentParser
import MIME

/// `martlet mime text`: what a search index would see.
struct MIMETextCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "text",
        abstract: "Prints what a search index would see of a message.",
        discussion: """
            Subject, addresses, the names of attachments and of files within texts, then the text of all text parts, in UTF-8: \
            flowed paragraphs in one line, HTML without its tags.
            """
    )

    @OptionGroup var input: MIMEInput
    @Flag(help: "For programs: one JSON document; at most 64 MiB of text.") var json = false

    struct Line: Encodable {
        let name: String
        let value: String
    }

    struct Text: Encodable {
        let part: String
        let type: String
        var text: String
    }

    struct Document: Encodable {
        var fields: [Line] = []
        var texts: [Text] = []
        /// Whether there is more text than is shown.
        var isCut = false
    }

    private static let mostOctets = 64 << 20

    func run() throws {
        var numbering = PartNumbering()
        var text: PartText?
        var document = Document()
        var octets = 0
        func add(_ piece: String) {
            guard json else { return print(piece, terminator: "") }
            octets += piece.utf8.count
            guard octets <= Self.mostOctets, let last = document.texts.indices.last else {
                document.isCut = true
                return
            }
            document.texts[last].text += piece
        }
        func add(_ lines: [Line]) {
            guard json else { return lines.forEach { print("\($0.name): \($0.value)") } }
            document.fields += lines
        }
        func end() {
            guard text != nil else { return }
            text?.finish {
                add($0)
            } names: {
                add([Line(name: "File", value: $0)])
            }
            text = nil
            if !json { print() }
        }
        try input.decode(toUTF8: true) { event in
            numbering.take(event)
            switch event {
            case .partBegin: text = nil
            case .headerEnd(_, let header, let content):
                add(Self.lines(header, content, isMessage: numbering.number == nil))
                text = PartText(content)
                guard text != nil, json else { return }
                let type = TerminalText.make(content.type.value.map(ASCII.lower))
                document.texts.append(Text(part: numbering.bodyNumber, type: type, text: ""))
            case .body(_, let octets):
                text?.feed(octets) {
                    add($0)
                } names: {
                    add([Line(name: "File", value: $0)])
                }
            case .partEnd: end()
            case .field: break
            }
        }
        if json { try JSONOutput.print(document) }
    }

    private static func lines(_ header: HeaderBlock, _ content: ContentFields, isMessage: Bool) -> [Line] {
        var lines: [Line] = []
        func add(_ name: String, _ value: String) {
            lines.append(Line(name: name, value: TerminalText.make(value.utf8)))
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

/// The text of one part, made readable piece by piece.
private struct PartText {
    private var files: EnclosedFileReader?
    private var flowed: FlowedText?
    private var html: HTMLText?
    /// Holds characters that are cut.
    private var characters = CharsetDecoder(.utf8)

    /// nil for parts that hold no text.
    init?(_ content: ContentFields) {
        guard content.isText else { return nil }
        if ASCII.equal(content.subtype, "html") { html = HTMLText() }
        if ASCII.equal(content.subtype, "plain") { files = EnclosedFileReader() }
        flowed = FlowedText(content.type)
    }

    mutating func feed(_ octets: some Sequence<UInt8>, _ add: (String) -> Void, names: (String) -> Void) {
        var text: [UInt8] = []
        var found: [String] = []
        if files != nil {
            files?.feed(octets) { Self.take($0, &text, &found) }
        } else {
            text = Array(octets)
        }
        found.forEach(names)
        show(text, add)
    }

    mutating func finish(_ add: (String) -> Void, names: (String) -> Void) {
        var text: [UInt8] = []
        var found: [String] = []
        files?.finish { Self.take($0, &text, &found) }
        found.forEach(names)
        show(text, add)
        var rest: [UInt8] = []
        flowed?.finish(into: &rest)
        html?.finish(into: &rest)
        var last: [UInt8] = []
        characters.decode(rest, into: &last)
        characters.finish(into: &last)
        add(TerminalText.make(last, hasLines: true))
    }

    private static func take(_ event: EnclosedFileReader.Event, _ text: inout [UInt8], _ names: inout [String]) {
        switch event {
        case .text(let octets): text += octets
        case .begin(let file): names.append(TerminalText.make(EncodedWords.text(file.name).utf8))
        case .content, .end: break
        }
    }

    private mutating func show(_ text: [UInt8], _ add: (String) -> Void) {
        var shown: [UInt8] = []
        if flowed != nil {
            flowed?.feed(text, into: &shown)
        } else if html != nil {
            html?.feed(text, into: &shown)
        } else {
            shown = text
        }
        var whole: [UInt8] = []
        characters.decode(shown, into: &whole)
        if !whole.isEmpty { add(TerminalText.make(whole, hasLines: true)) }
    }
}
