/// A command of a client (RFC 5321 §4.1.1, RFC 3207, RFC 4954, RFC 3030, RFC 2033).
package enum Command: Hashable, Sendable {
    /// HELO with the name the client gives itself.
    case helo(String)
    /// EHLO with the name the client gives itself.
    case ehlo(String)
    /// MAIL FROM.
    case mail(ReversePath, MailParameters)
    /// RCPT TO.
    case rcpt(ForwardPath, RecipientParameters)
    /// LHLO with the name the client gives itself (RFC 2033).
    case lhlo(String)
    /// DATA.
    case data
    /// BDAT: so many octets of the message follow, and whether they are the last (RFC 3030 §2).
    case bdat(octets: Int, isLast: Bool)
    /// RSET.
    case rset
    /// NOOP; an argument is ignored.
    case noop
    /// VRFY with what to look up, and whether the reply may have UTF-8 (RFC 6531 §3.7.4.2).
    case vrfy(String, isUTF8: Bool)
    /// EXPN with the list to expand, likewise.
    case expn(String, isUTF8: Bool)
    /// HELP; with what it's asked about, empty for all.
    case help(String)
    /// QUIT.
    case quit
    /// STARTTLS.
    case startTLS
    /// AUTH: the mechanism in capitals; the initial response in base64 where there is one (`=` for an empty one).
    case auth(mechanism: String, initialResponse: [UInt8]?)
    /// XCLIENT with who the client is in truth (Postfix's extension).
    case xclient(ClientAttributes)

    /// The commands by name, in the order in which HELP shows them.
    package enum Verb: String, CaseIterable, Sendable {
        case ehlo = "EHLO"
        case helo = "HELO"
        case lhlo = "LHLO"
        case startTLS = "STARTTLS"
        case auth = "AUTH"
        case mail = "MAIL"
        case rcpt = "RCPT"
        case data = "DATA"
        case bdat = "BDAT"
        case rset = "RSET"
        case vrfy = "VRFY"
        case expn = "EXPN"
        case help = "HELP"
        case noop = "NOOP"
        case xclient = "XCLIENT"
        case quit = "QUIT"
    }
}

/// Why a line is not a command.
package enum CommandError: Error, Hashable, Sendable {
    /// No command of this name, whatever its arguments.
    case unknown
    /// A known command whose argument is missing, malformed, or one too many.
    case malformedArgument
    /// BDAT without the size of its chunk: nobody knows where the next command begins.
    case malformedChunk
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
        guard let verb = Verb(rawValue: name) else { throw .unknown }
        let allowed: (UInt8) -> Bool = { $0.isPrintable || ($0 > 0x7F && options.contains(.utf8)) }
        // Whatever a client calls itself, it may have mail.
        let isGreeting = verb == .helo || verb == .ehlo || verb == .lhlo
        guard isGreeting || scanner.rest.allSatisfy(allowed) else {
            // Whatever it is, nobody knows how many octets follow it.
            throw verb == .bdat ? .malformedChunk : .illegalOctet
        }
        scanner.skipSpaces()
        self = try Self.command(verb, &scanner, options)
    }

    private static func command(
        _ verb: Verb,
        _ scanner: inout ByteScanner,
        _ options: MailAddress.ParsingOptions
    ) throws(CommandError) -> Command {
        switch verb {
        case .mail: return try mail(&scanner, options)
        case .rcpt: return try recipient(&scanner, options)
        case .data: return try alone(.data, scanner)
        case .bdat: return try chunk(&scanner)
        case .rset: return try alone(.rset, scanner)
        case .quit: return try alone(.quit, scanner)
        case .startTLS: return try alone(.startTLS, scanner)
        case .noop: return .noop
        case .help: return .help(String(validating: scanner.rest, as: UTF8.self) ?? "")
        case .helo: return .helo(try name(scanner, options))
        case .ehlo: return .ehlo(try name(scanner, options))
        case .lhlo: return .lhlo(try name(scanner, options))
        case .vrfy:
            let (text, isUTF8) = try text(scanner)
            return .vrfy(text, isUTF8: isUTF8)
        case .expn:
            let (text, isUTF8) = try text(scanner)
            return .expn(text, isUTF8: isUTF8)
        case .auth: return try authentication(&scanner)
        case .xclient:
            guard let attributes = ClientAttributes(parsing: scanner.rest) else { throw .malformedArgument }
            return .xclient(attributes)
        }
    }

    /// `BDAT SP chunk-size [SP end-marker]` (RFC 3030 §2).
    private static func chunk(_ scanner: inout ByteScanner) throws(CommandError) -> Command {
        let digits = scanner.take(while: \.isDigit)
        // What is more than an Int holds is more than anybody takes.
        guard (1...20).contains(digits.count), scanner.isAtEnd || scanner.peek == .space else { throw .malformedChunk }
        let octets = Int(String(decoding: digits, as: UTF8.self)) ?? .max
        scanner.skipSpaces()
        let isLast = scanner.take(word: "LAST")
        scanner.skipSpaces()
        guard scanner.isAtEnd else { throw .malformedChunk }
        return .bdat(octets: octets, isLast: isLast)
    }

    private static func alone(_ command: Command, _ scanner: ByteScanner) throws(CommandError) -> Command {
        guard scanner.isAtEnd else { throw .malformedArgument }
        return command
    }

    /// The rest of the line but for spaces around it. What a client calls itself is not checked, as many give odd names: what can't
    /// stand in one is `?`, and one that is too long is cut off.
    private static func name(
        _ scanner: ByteScanner,
        _ options: MailAddress.ParsingOptions
    ) throws(CommandError) -> String {
        var rest = scanner.rest[...]
        while rest.first == .space { rest = rest.dropFirst() }
        while rest.last == .space { rest = rest.dropLast() }
        guard !rest.isEmpty else { throw .malformedArgument }
        let octets = rest.prefix(maximumName)
        if options.contains(.utf8), octets.allSatisfy({ $0.isPrintable || $0 > 0x7F }),
            let text = String(validating: octets, as: UTF8.self)
        {
            return text
        }
        return String(decoding: octets.map { $0.isPrintable ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    private static func text(_ scanner: ByteScanner) throws(CommandError) -> (String, isUTF8: Bool) {
        let parameter = " SMTPUTF8"
        let isUTF8 = scanner.rest.suffix(parameter.utf8.count).map(\.asciiUppercased).elementsEqual(parameter.utf8)
        let rest = scanner.rest.dropLast(isUTF8 ? parameter.utf8.count : 0)
        guard !rest.isEmpty, let text = String(validating: rest, as: UTF8.self) else { throw .malformedArgument }
        return (text, isUTF8)
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
