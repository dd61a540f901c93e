import ArgumentParser
import MIME

/// `martlet mime text FILE`.
struct MIMETextCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "text",
        abstract: "Prints what a search index would see of a message.",
        discussion: "Subject, addresses, the names of attachments, then the text of all text parts, in UTF-8."
    )

    @Argument(help: "The message.") var file: String

    private static let mostOctets = 256 << 20

    func run() throws {
        let octets = try FileOctets.read(file, most: Self.mostOctets)
        var parser = StructureParser()
        octets.withUnsafeBytes { parser.feed($0) }
        show(parser.finish(), octets)
    }

    private func show(_ part: MessagePart, _ octets: [UInt8]) {
        if let envelope = part.envelope {
            if let subject = envelope.subject { Self.line("Subject", EncodedWords.text(subject)) }
            for (name, field) in [("From", envelope.from), ("To", envelope.to), ("Cc", envelope.cc)] {
                for address in AddressListParser.parse(field ?? []) where address.host != nil {
                    let mailbox = String(
                        decoding: (address.mailbox ?? []) + [0x40] + (address.host ?? []),
                        as: UTF8.self
                    )
                    Self.line(name, address.displayName.map { "\($0) <\(mailbox)>" } ?? mailbox)
                }
            }
        }
        let name = ParameterizedValue.fileName(disposition: part.content.disposition, type: part.content.type)
        if let name { Self.line("Attachment", name) }
        for child in part.children { show(child, octets) }
        if part.children.isEmpty, part.content.isText { print(Self.text(part, octets)) }
    }

    /// A field in one line, without what a terminal could be tricked with.
    private static func line(_ name: String, _ value: String) { print("\(name): \(printable(value))") }

    private static func printable(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let isControl = scalar.properties.generalCategory == .control && scalar != "\n" && scalar != "\t"
            if scalar != "\r" { result.append(isControl ? "\u{FFFD}" : scalar) }
        }
        return String(result)
    }

    private static func text(_ part: MessagePart, _ octets: [UInt8]) -> String {
        let range = part.body.clamped(to: 0..<octets.count)
        let decoded = TransferDecoder.decode(octets[range], part.content.encoding)
        let label = part.content.type["charset"]
        let utf8 = label.flatMap { Charset($0) }.map { $0.utf8(decoded) } ?? Charset.guess(decoded)
        guard ASCII.equal(part.content.subtype, "html") else { return printable(String(decoding: utf8, as: UTF8.self)) }
        var html = HTMLText()
        var text: [UInt8] = []
        html.feed(utf8, into: &text)
        html.finish(into: &text)
        return printable(String(decoding: text, as: UTF8.self))
    }
}
