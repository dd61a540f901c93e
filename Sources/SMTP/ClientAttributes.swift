/// What a trusted proxy says about the client behind it: the arguments of XCLIENT, as Postfix defines them
/// (https://www.postfix.org/XCLIENT_README.html).
package struct ClientAttributes: Hashable, Sendable {
    /// The names, as EHLO announces them.
    package enum Name: String, CaseIterable, Sendable {
        case name = "NAME"
        /// The name before it was verified; nobody here asks for it.
        case reverseName = "REVERSE_NAME"
        case address = "ADDR"
        case port = "PORT"
        case protocolName = "PROTO"
        case helo = "HELO"
        case login = "LOGIN"
        case destinationAddress = "DESTADDR"
        case destinationPort = "DESTPORT"
    }

    /// Only what is known: `[UNAVAILABLE]` and `[TEMPUNAVAIL]` leave nothing.
    private var values: [Name: String] = [:]
    /// Those that were named, with or without a value.
    package private(set) var named: Set<Name> = []

    private static let unknown: Set<String> = ["[UNAVAILABLE]", "[TEMPUNAVAIL]"]
    private static let maximumValue = 255

    /// No attributes.
    package init() {}

    /// Reads `NAME=value` pairs, the values in xtext; nil where it's something else, a name is unknown or comes twice.
    package init?(parsing bytes: some Sequence<UInt8>) {
        var scanner = ByteScanner(bytes)
        repeat {
            scanner.skipSpaces()
            let word = scanner.take { $0.isLetterOrDigit || $0 == UInt8(ascii: "_") }
            guard let name = Name(rawValue: String(decoding: word.map(\.asciiUppercased), as: UTF8.self)),
                named.insert(name).inserted, scanner.take(UInt8(ascii: "=")),
                let octets = XText.decode(scanner.take { $0 != .space }), octets.count <= Self.maximumValue,
                octets.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }), let text = String(validating: octets, as: UTF8.self)
            else { return nil }
            if !text.isEmpty, !Self.unknown.contains(text) { values[name] = text }
            scanner.skipSpaces()
        } while !scanner.isAtEnd
    }

    /// What is known of an attribute.
    package subscript(name: Name) -> String? { values[name] }

    /// The address without the tag that an IPv6 address has.
    package func ipAddress(_ name: Name) -> String? {
        values[name].map { text in
            let tag = "IPV6:"
            return text.utf8.prefix(tag.utf8.count).map(\.asciiUppercased).elementsEqual(tag.utf8)
                ? String(text.dropFirst(tag.count)) : text
        }
    }
}
