import ArgumentParser
import MIME
import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// `martlet mime join`: puts the pieces of one message, or of one file in yEnc, together.
struct MIMEJoinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join",
        abstract: "Writes the message that was sent in pieces (message/partial, RFC 2046 §5.2.2).",
        discussion: """
            Where the messages hold parts of one file in yEnc instead, that file. It goes to standard output, or into a new \
            file. At most 256 MiB.
            """
    )

    @Argument(help: "The messages, in any order, or an mbox of them; standard input without any or for \"-\".")
    var files = ["-"]
    @Option(help: ArgumentHelp("A new file for what is joined, rather than standard output.", valueName: "file"))
    var output: String?
    @Flag(help: "For programs: what was joined, as one JSON document; needs --output.") var json = false

    private static let mostOctets = 256 << 20

    /// What was joined, for programs.
    struct Document: Encodable {
        /// `message`, or `file` for one in yEnc.
        let kind: String
        let pieces: Int
        /// Of a file, as its sender wrote it.
        let name: String?
        let path: String
        let octets: Int
    }

    func validate() throws {
        if json, output == nil { throw ValidationError("--json needs --output") }
        if files.filter({ $0 == "-" }).count > 1 { throw ValidationError("standard input can be given once") }
    }

    func run() throws {
        var messages: [[UInt8]] = []
        var left = Self.mostOctets
        for file in files {
            let octets = try FileOctets.read(file, most: left)
            left -= octets.count
            messages += MboxText.isMbox(octets) ? MboxText.messages(in: octets) : [octets]
        }
        let isMessage = Self.isPartial(messages.first ?? [])
        let (joined, name) = try isMessage ? (message(messages), nil) : file(messages)
        guard let output else {
            return try joined.withUnsafeBytes { try FileOctets.write($0, to: STDOUT_FILENO, "standard output") }
        }
        try FileOctets.create(output, joined)
        guard json else { return }
        try JSONOutput.print(
            Document(
                kind: isMessage ? "message" : "file",
                pieces: messages.count,
                name: name,
                path: output,
                octets: joined.count
            )
        )
    }

    private static func isPartial(_ message: [UInt8]) -> Bool {
        PartialMessage.isPartial(ContentFields(HeaderBlock(message)))
    }

    private func message(_ messages: [[UInt8]]) throws -> [UInt8] {
        var assembly = PartialAssembly(mostOctets: Self.mostOctets)
        do throws(PartialAssembly.Failure) {
            for message in messages { try assembly.add(message) }
            return try assembly.message()
        } catch {
            switch error {
            case .notPartial: throw ValidationError("not all are pieces of a message")
            case .otherMessage: throw ValidationError("the pieces are of different messages")
            case .repeated(let number): throw ValidationError("piece \(number) is there twice")
            case .tooLong: throw ValidationError("more than \(Self.mostOctets) octets")
            case .missing(let numbers):
                throw ValidationError("missing: \(numbers.isEmpty ? "the last piece" : "\(numbers)")")
            }
        }
    }

    /// The file and its name.
    private func file(_ messages: [[UInt8]]) throws -> ([UInt8], String?) {
        var assembly = YEncAssembly(mostOctets: Self.mostOctets)
        for message in messages { try Self.add(message, to: &assembly) }
        do throws(YEncAssembly.Failure) {
            return (try assembly.file(), assembly.name.map { TerminalText.make(EncodedWords.text($0).utf8) })
        } catch {
            throw ValidationError(Self.reason(error))
        }
    }

    /// All parts in the message's texts.
    private static func add(_ message: [UInt8], to assembly: inout YEncAssembly) throws {
        var parser = DecodingParser()
        var body: [UInt8] = []
        var failure: YEncAssembly.Failure?
        func take(_ event: MessageEvent) {
            switch event {
            case .body(_, let octets): body += octets
            case .partEnd:
                do throws(YEncAssembly.Failure) {
                    try assembly.addAll(in: body)
                } catch { failure = error }
                body = []
            case .partBegin, .headerEnd, .field, .outside: break
            }
        }
        message.withUnsafeBytes { parser.feed($0, to: take) }
        parser.finish(to: take)
        if let failure { throw ValidationError(reason(failure)) }
    }

    private static func reason(_ failure: YEncAssembly.Failure) -> String {
        switch failure {
        case .notPart: "a part of a file is damaged"
        case .otherFile: "the parts are of different files"
        case .repeated: "parts overlap"
        case .tooLong: "more than \(mostOctets) octets"
        case .missing(let ranges): ranges == [0..<0] ? "no file in yEnc" : "missing: octets \(ranges)"
        case .badChecksum: "the file's checksum is wrong"
        }
    }
}
