/// A mailbox: local part and domain (`Mailbox` of RFC 5321 §4.1.2).
///
/// Two addresses are equal when their local parts are the same octets and their domains differ in ASCII case at most.
package struct MailAddress: Hashable, Sendable {
    /// The local part as it is meant, without quotes and backslashes. At most 64 octets as written.
    package let localPart: String
    /// The domain as it was written, or an address literal with its brackets. At most 255 octets.
    package let domain: String
    /// The local part was written without quotes, although its dots would need them: it's passed on as it came.
    private let isIrregular: Bool

    /// What a parser accepts beyond RFC 5321.
    package struct ParsingOptions: OptionSet, Sendable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// UTF-8 in local parts and domains (RFC 6531 §3.3).
        package static let utf8 = ParsingOptions(rawValue: 1)
        /// Dots that stand first, last or beside each other in a local part without quotes, and one behind the domain: such
        /// addresses exist, and their mail would be lost.
        package static let irregularDots = ParsingOptions(rawValue: 2)
        /// Paths without their angle brackets, as some programs send them.
        package static let unbracketedPaths = ParsingOptions(rawValue: 4)
        /// What envelopes may hold between daemons.
        package static let envelope: ParsingOptions = [.utf8, .irregularDots]
    }

    /// Reads `local-part@domain`, all of `bytes`, without angle brackets.
    package init(
        parsing bytes: some Sequence<UInt8>,
        options: ParsingOptions = []
    ) throws(EnvelopeError) {
        var scanner = ByteScanner(bytes)
        try self.init(&scanner, options: options)
        guard scanner.isAtEnd else { throw .malformedAddress }
    }

    /// Joins parts that are known to be good, such as `postmaster` and a domain of the configuration.
    package init(localPart: String, domain: String) throws(EnvelopeError) {
        try self.init(parsing: Self.text(localPart: localPart, domain: domain).utf8, options: .utf8)
    }

    init(checkedLocalPart localPart: String, isIrregular: Bool = false, domain: String) {
        self.localPart = localPart
        self.isIrregular = isIrregular
        self.domain = domain
    }

    /// The domain in lower case: the key to look it up by.
    package var lowercasedDomain: String {
        Self.lowercased(domain: domain)
    }

    /// A domain as the queue and the tables compare it: only letters of ASCII have another case.
    package static func lowercased(domain: String) -> String {
        domain.utf8.contains { (0x41...0x5A).contains($0) }
            ? String(decoding: domain.utf8.map(\.asciiLowercased), as: UTF8.self) : domain
    }

    /// Whether the domain is an address literal such as `[192.0.2.1]`.
    package var isAddressLiteral: Bool { domain.utf8.first == UInt8(ascii: "[") }

    /// Whether the local part is `postmaster`, in any case (RFC 5321 §4.5.1).
    package var isPostmaster: Bool { localPart.utf8.lazy.map(\.asciiLowercased).elementsEqual("postmaster".utf8) }

    /// Whether any octet is outside ASCII, so that the next host must support SMTPUTF8.
    package var needsUTF8: Bool { localPart.utf8.contains { $0 > 0x7F } || domain.utf8.contains { $0 > 0x7F } }

    package static func == (left: MailAddress, right: MailAddress) -> Bool {
        left.localPart == right.localPart
            && left.domain.utf8.count == right.domain.utf8.count
            && left.domain.utf8.lazy.map(\.asciiLowercased).elementsEqual(
                right.domain.utf8.lazy.map(\.asciiLowercased)
            )
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(localPart)
        for byte in domain.utf8 {
            hasher.combine(byte.asciiLowercased)
        }
    }
}

extension MailAddress: CustomStringConvertible {
    /// `local-part@domain` with the local part quoted where it needs to be.
    package var description: String {
        isIrregular ? "\(localPart)@\(domain)" : Self.text(localPart: localPart, domain: domain)
    }

    private static func text(localPart: String, domain: String) -> String {
        isDotString(localPart.utf8) ? "\(localPart)@\(domain)" : "\(quoted(localPart))@\(domain)"
    }

    private static func isDotString(_ bytes: String.UTF8View) -> Bool {
        var previous = UInt8.dot
        for byte in bytes {
            if byte == .dot {
                if previous == .dot { return false }
            } else if !byte.isAtomText && byte < 0x80 {
                return false
            }
            previous = byte
        }
        return previous != .dot
    }

    private static func quoted(_ localPart: String) -> String {
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        for byte in localPart.utf8 {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                bytes.append(UInt8(ascii: "\\"))
            }
            bytes.append(byte)
        }
        bytes.append(UInt8(ascii: "\""))
        return String(decoding: bytes, as: UTF8.self)
    }
}
