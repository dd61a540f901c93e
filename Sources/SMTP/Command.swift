/// A command of a client (RFC 5321 §4.1.1, RFC 3207, RFC 4954).
package enum Command: Hashable, Sendable {
    /// HELO with the name the client gives itself.
    case helo(String)
    /// EHLO with the name the client gives itself.
    case ehlo(String)
    /// MAIL FROM.
    case mail(ReversePath, MailParameters)
    /// RCPT TO.
    case rcpt(ForwardPath, RecipientParameters)
    /// DATA.
    case data
    /// RSET.
    case rset
    /// NOOP; an argument is ignored.
    case noop
    /// VRFY with what to look up.
    case vrfy(String)
    /// EXPN with the list to expand.
    case expn(String)
    /// HELP; an argument is ignored.
    case help
    /// QUIT.
    case quit
    /// STARTTLS.
    case startTLS
    /// AUTH: the mechanism in capitals; the initial response in base64 where there is one (`=` for an empty one).
    case auth(mechanism: String, initialResponse: [UInt8]?)
}

/// Why a line is not a command.
package enum CommandError: Error, Hashable, Sendable {
    /// No command of this name, whatever its arguments.
    case unknown
    /// A known command whose argument is missing, malformed, or one too many.
    case malformedArgument
    /// A control character or, without SMTPUTF8, an octet above 127.
    case illegalOctet
    /// The path of MAIL or its parameters.
    case sender(EnvelopeError)
    /// The path of RCPT or its parameters.
    case recipient(EnvelopeError)
}

extension Command {
    private static let maximumName = 255

    /// Reads one command line without its line end.
    package init(
        parsing line: some Sequence<UInt8>,
        options: MailAddress.ParsingOptions = []
    ) throws(CommandError) {
        var scanner = ByteScanner(line)
        let verb = scanner.take(while: \.isLetter)
        guard verb.count <= 8, scanner.isAtEnd || scanner.peek == .space else { throw .unknown }
        let name = String(unsafeUninitializedCapacity: 8) { memory in
            for (index, byte) in verb.enumerated() {
                memory[index] = byte.asciiUppercased
            }
            return verb.count
        }
        let allowed: (UInt8) -> Bool = { $0.isPrintable || ($0 > 0x7F && options.contains(.utf8)) }
        guard Self.names.contains(name) else { throw .unknown }
        guard scanner.rest.allSatisfy(allowed) else { throw .illegalOctet }
        scanner.skipSpaces()
        self = try Self.command(name, &scanner, options)
    }

    private static let names: Set<String> = [
        "HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT", "STARTTLS", "AUTH",
    ]

    private static func command(
        _ name: String,
        _ scanner: inout ByteScanner,
        _ options: MailAddress.ParsingOptions
    ) throws(CommandError) -> Command {
        switch name {
        case "MAIL": return try mail(&scanner, options)
        case "RCPT": return try recipient(&scanner, options)
        case "DATA": return try alone(.data, scanner)
        case "RSET": return try alone(.rset, scanner)
        case "QUIT": return try alone(.quit, scanner)
        case "STARTTLS": return try alone(.startTLS, scanner)
        case "NOOP": return .noop
        case "HELP": return .help
        case "HELO": return .helo(try word(&scanner))
        case "EHLO": return .ehlo(try word(&scanner))
        case "VRFY": return .vrfy(try text(scanner))
        case "EXPN": return .expn(try text(scanner))
        case "AUTH": return try authentication(&scanner)
        default: throw .unknown
        }
    }

    private static func alone(_ command: Command, _ scanner: ByteScanner) throws(CommandError) -> Command {
        guard scanner.isAtEnd else { throw .malformedArgument }
        return command
    }

    /// One word, then nothing but spaces. The name that a client gives is not checked further, as many give odd ones.
    private static func word(_ scanner: inout ByteScanner) throws(CommandError) -> String {
        let word = scanner.take { $0 != .space }
        scanner.skipSpaces()
        guard (1...maximumName).contains(word.count), scanner.isAtEnd,
            let text = String(validating: word, as: UTF8.self)
        else { throw .malformedArgument }
        return text
    }

    private static func text(_ scanner: ByteScanner) throws(CommandError) -> String {
        guard !scanner.isAtEnd, let text = String(validating: scanner.rest, as: UTF8.self) else {
            throw .malformedArgument
        }
        return text
    }

    private static func mail(
        _ scanner: inout ByteScanner,
        _ options: MailAddress.ParsingOptions
    ) throws(CommandError) -> Command {
        guard scanner.take(word: "FROM:") else { throw .malformedArgument }
        // Not RFC 5321's, but many clients put a space here.
        scanner.skipSpaces()
        do throws(EnvelopeError) {
            let sender = try EnvelopeSender(&scanner, options: options)
            return .mail(sender.path, sender.parameters)
        } catch {
            throw .sender(error)
        }
    }

    private static func recipient(
        _ scanner: inout ByteScanner,
        _ options: MailAddress.ParsingOptions
    ) throws(CommandError) -> Command {
        guard scanner.take(word: "TO:") else { throw .malformedArgument }
        scanner.skipSpaces()
        do throws(EnvelopeError) {
            let path = try ForwardPath(&scanner, options: options)
            return .rcpt(path, try RecipientParameters(&scanner))
        } catch {
            throw .recipient(error)
        }
    }

    private static func authentication(_ scanner: inout ByteScanner) throws(CommandError) -> Command {
        let mechanism = scanner.take {
            $0.isLetterOrDigit || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
        }
        guard (1...20).contains(mechanism.count), scanner.isAtEnd || scanner.take(.space) else {
            throw .malformedArgument
        }
        scanner.skipSpaces()
        let response = scanner.take { $0 != .space }
        scanner.skipSpaces()
        guard scanner.isAtEnd else { throw .malformedArgument }
        return .auth(
            mechanism: String(decoding: mechanism.map(\.asciiUppercased), as: UTF8.self),
            initialResponse: response.isEmpty ? nil : Array(response)
        )
    }
}
