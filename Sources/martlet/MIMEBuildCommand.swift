import ArgumentParser
import CLinux
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// `martlet mime build`.
struct MIMEBuildCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build",
        abstract: "Writes a message made of text, HTML and files, to standard output or into a new file."
    )

    @Option(help: "The sender.") var from: String
    @Option(help: "A recipient, or several with commas between; may be given again.") var to: [String] = []
    @Option(help: "As --to.") var cc: [String] = []
    @Option(help: "The subject.") var subject = ""
    @Option(help: ArgumentHelp("The text.", valueName: "text")) var text: String?
    @Option(help: ArgumentHelp("The text again, as HTML.", valueName: "html")) var html: String?
    @Option(help: ArgumentHelp("The text, from a file in UTF-8; - for standard input.", valueName: "file"))
    var textFile: String?
    @Option(help: ArgumentHelp("The HTML, from a file in UTF-8; - for standard input.", valueName: "file"))
    var htmlFile: String?
    @Option(help: ArgumentHelp("A file to attach; may be given again.", valueName: "file")) var attach: [String] = []
    @Option(help: "Seconds since 1970 for the Date field, rather than now.") var date: Int?
    @Flag(name: .customLong("8bit"), help: "Send text as it is where its lines allow.") var allowsEightBit = false
    @Option(help: ArgumentHelp("A new file for the message, rather than standard output.", valueName: "file"))
    var output: String?
    @Flag(help: "For programs: what was built, as one JSON document; needs --output.") var json = false

    private static let mostOctets = 256 << 20

    /// What was built, for programs.
    struct Document: Encodable {
        let path: String
        let octets: Int
        /// Whether a transport needs 8BITMIME (RFC 6152), or SMTPUTF8 (RFC 6531).
        let needsEightBit: Bool
        let needsUTF8: Bool
        let message: MIMEPartDocument
    }

    func validate() throws {
        if json, output == nil { throw ValidationError("--json needs --output") }
        guard text == nil || textFile == nil, html == nil || htmlFile == nil, textFile != "-" || htmlFile != "-" else {
            throw ValidationError("the text, the HTML and standard input can be given once each")
        }
    }

    func run() throws {
        let text = try textFile.map { try Self.words($0) } ?? text
        let html = try htmlFile.map { try Self.words($0) } ?? html
        let message: BuiltMessage
        do throws(BuildError) {
            let header = try header()
            let body = try body(text, html)
            let builder = MessageBuilder(allowsEightBit: allowsEightBit) { .random(in: .min ... .max) }
            message = try builder.build(header, body)
        } catch {
            throw ValidationError(Self.reason(error))
        }
        try write(message)
    }

    private func write(_ message: BuiltMessage) throws {
        guard let output else {
            return try message.octets.withUnsafeBytes { try FileOctets.write($0, to: STDOUT_FILENO, "standard output") }
        }
        try FileOctets.create(output, message.octets)
        guard json else { return }
        var parser = StructureParser()
        message.octets.withUnsafeBytes { parser.feed($0) }
        try JSONOutput.print(
            Document(
                path: output,
                octets: message.octets.count,
                needsEightBit: message.needsEightBit,
                needsUTF8: message.needsUTF8,
                message: MIMEPartDocument(parser.finish())
            )
        )
    }

    private static func words(_ file: String) throws -> String {
        guard let text = String(validating: try FileOctets.read(file, most: mostOctets), as: UTF8.self) else {
            throw ValidationError("\(file): not UTF-8")
        }
        return text
    }

    private func header() throws(BuildError) -> HeaderBuilder {
        var header = HeaderBuilder()
        let now = date ?? time(nil)
        let offset = CLinux_utc_offset(Int64(now)) / 60
        try header.add("Date", text: DateTime(secondsSince1970: now, offset: offset).description)
        let senders = try Self.addresses(from)
        try header.add("From", addresses: senders)
        for (name, values) in [("To", to), ("Cc", cc)] where !values.isEmpty {
            try header.add(name, addresses: Self.addresses(values.joined(separator: ", ")))
        }
        try header.add("Subject", text: subject)
        let unique = String(UInt64.random(in: .min ... .max), radix: 36)
        let host = senders.first?.host.flatMap { InternationalDomain.ascii($0) } ?? Array("localhost".utf8)
        try header.add("Message-ID", words: [Array("<\(now).\(unique)@".utf8) + host + Array(">".utf8)])
        return header
    }

    /// What is sent is exactly what was asked for: nothing is made of what isn't a list of addresses.
    private static func addresses(_ text: String) throws(BuildError) -> [ListedAddress] {
        let field = Array(text.utf8)
        guard AddressSyntax.isList(field) else { throw .badAddress(text) }
        return AddressListParser.parse(field)
    }

    private func body(_ text: String?, _ html: String?) throws(BuildError) -> MIMEEntity {
        var parts: [MIMEEntity] = []
        if let text { parts.append(.text(subtype: "plain", text)) }
        if let html { parts.append(.text(subtype: "html", html)) }
        if text != nil, html != nil { parts = [.multipart(subtype: "alternative", parameters: [:], parts)] }
        for path in attach {
            guard let content = try? FileOctets.read(path, most: Self.mostOctets) else {
                throw .badAddress("\(path): can't be read, or has more than \(Self.mostOctets) octets")
            }
            let name = path.split(separator: "/").last.map { String($0) } ?? "file"
            let isMessage = name.hasSuffix(".eml")
            parts.append(isMessage ? .message(content) : .attachment(type: Self.type(name), name: name, content))
        }
        if parts.isEmpty { parts = [.text(subtype: "plain", "")] }
        return parts.count == 1 && attach.isEmpty ? parts[0] : .multipart(subtype: "mixed", parameters: [:], parts)
    }

    private static func type(_ name: String) -> String {
        let types = [
            "pdf": "application/pdf", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
            "zip": "application/zip", "txt": "text/plain", "html": "text/html", "csv": "text/csv",
        ]
        return name.split(separator: ".").last.flatMap { types[$0.lowercased()] } ?? "application/octet-stream"
    }

    private static func reason(_ error: BuildError) -> String {
        switch error {
        case .lineBreak(let field): "\(field): line breaks and NUL can't stand in a field"
        case .badFieldName(let name): "\"\(name)\" is no field name"
        case .badAddress(let address): "\"\(address)\" can't be used"
        case .badType(let type): "\"\(type)\" is no media type"
        case .badStructure: "the message has no parts or too many within each other"
        }
    }
}
