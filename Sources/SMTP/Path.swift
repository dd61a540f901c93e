/// Where failures are reported to: the argument of MAIL FROM (RFC 5321 §4.1.2).
package struct ReversePath: Hashable, Sendable, CustomStringConvertible {
    /// Nil is the null reverse-path `<>`.
    package let address: MailAddress?

    /// The path to this address, or the null reverse-path.
    package init(_ address: MailAddress?) {
        self.address = address
    }

    /// `<>`: failures are not reported.
    package static let null = ReversePath(nil)

    /// Reads `<…>`, all of `bytes`.
    package init(
        parsing bytes: some Sequence<UInt8>,
        options: MailAddress.ParsingOptions = []
    ) throws(EnvelopeError) {
        var scanner = ByteScanner(bytes)
        try self.init(&scanner, options: options)
        guard scanner.isAtEnd else { throw .malformedAddress }
    }

    init(_ scanner: inout ByteScanner, options: MailAddress.ParsingOptions) throws(EnvelopeError) {
        guard scanner.take(UInt8(ascii: "<")) else {
            guard options.contains(.unbracketedPaths) else { throw .malformedAddress }
            self.init(try MailAddress(&scanner, options: options))
            return
        }
        if scanner.take(UInt8(ascii: ">")) {
            self.init(nil)
            return
        }
        try SourceRoute.drop(&scanner, options: options)
        self.init(try MailAddress(&scanner, options: options))
        guard scanner.take(UInt8(ascii: ">")) else { throw .malformedAddress }
    }

    /// With its brackets.
    package var description: String { address.map { "<\($0)>" } ?? "<>" }
}

/// Where a message goes: the argument of RCPT TO (RFC 5321 §4.1.1.3).
package enum ForwardPath: Hashable, Sendable, CustomStringConvertible {
    /// A mailbox.
    case mailbox(MailAddress)
    /// `<Postmaster>` without a domain: the postmaster of the receiving host.
    case postmaster

    /// Reads `<…>`, all of `bytes`.
    package init(
        parsing bytes: some Sequence<UInt8>,
        options: MailAddress.ParsingOptions = []
    ) throws(EnvelopeError) {
        var scanner = ByteScanner(bytes)
        try self.init(&scanner, options: options)
        guard scanner.isAtEnd else { throw .malformedAddress }
    }

    init(_ scanner: inout ByteScanner, options: MailAddress.ParsingOptions) throws(EnvelopeError) {
        guard scanner.take(UInt8(ascii: "<")) else {
            guard options.contains(.unbracketedPaths) else { throw .malformedAddress }
            self = try Self.unbracketed(&scanner, options: options)
            return
        }
        if scanner.take(word: "POSTMASTER>") {
            self = .postmaster
            return
        }
        try SourceRoute.drop(&scanner, options: options)
        self = .mailbox(try MailAddress(&scanner, options: options))
        guard scanner.take(UInt8(ascii: ">")) else { throw .malformedAddress }
    }

    private static func unbracketed(
        _ scanner: inout ByteScanner,
        options: MailAddress.ParsingOptions
    ) throws(EnvelopeError) -> ForwardPath {
        var alone = scanner
        if alone.take(word: "POSTMASTER"), alone.isAtEnd || alone.peek == .space {
            scanner = alone
            return .postmaster
        }
        return .mailbox(try MailAddress(&scanner, options: options))
    }

    /// With its brackets.
    package var description: String {
        switch self {
        case .mailbox(let address): "<\(address)>"
        case .postmaster: "<postmaster>"
        }
    }
}

/// `@one.example,@two.example:` before an address: to be accepted and ignored (RFC 5321 §3.6.1, appendix C).
enum SourceRoute {
    private static let maximumOctets = 256

    static func drop(
        _ scanner: inout ByteScanner,
        options: MailAddress.ParsingOptions
    ) throws(EnvelopeError) {
        guard scanner.peek == UInt8(ascii: "@") else { return }
        let start = scanner.position
        repeat {
            guard scanner.take(UInt8(ascii: "@")) else { throw .malformedAddress }
            _ = try MailAddress.domain(&scanner, options: options)
            guard scanner.position - start <= maximumOctets else { throw .pathTooLong }
        } while scanner.take(UInt8(ascii: ","))
        guard scanner.take(UInt8(ascii: ":")) else { throw .malformedAddress }
    }
}
