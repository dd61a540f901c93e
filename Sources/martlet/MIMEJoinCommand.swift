import ArgumentParser
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// `martlet mime join`: puts the pieces of one message, or of one file in yEnc, together.
struct MIMEJoinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join",
        abstract: "Writes the message that was sent in pieces (message/partial, RFC 2046 §5.2.2) to standard output.",
        discussion: "Where the messages hold parts of one file in yEnc instead, that file. At most 256 MiB."
    )

    @Argument(help: "The messages, in any order.") var files: [String]

    private static let mostOctets = 256 << 20

    func run() throws {
        var messages: [[UInt8]] = []
        var left = Self.mostOctets
        for file in files {
            let octets = try FileOctets.read(file, most: left)
            left -= octets.count
            messages.append(octets)
        }
        let joined = try Self.isPartial(messages.first ?? []) ? message(messages) : file(messages)
        var rest = joined[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw ValidationError("standard output: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
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

    private func file(_ messages: [[UInt8]]) throws -> [UInt8] {
        var assembly = YEncAssembly(mostOctets: Self.mostOctets)
        for message in messages { try Self.add(message, to: &assembly) }
        do throws(YEncAssembly.Failure) {
            return try assembly.file()
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
            case .partBegin, .headerEnd, .field: break
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
