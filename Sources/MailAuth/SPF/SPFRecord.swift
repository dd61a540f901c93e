/// An SPF record: mechanisms in their order, and modifiers (RFC 7208 §4.5, §12).
package struct SPFRecord: Sendable, Hashable {
    package var directives: [SPFDirective] = []
    /// The domain whose record takes over when nothing matches (RFC 7208 §6.1).
    package var redirect: SPFMacroString?
    /// The name of the text that explains a failure (RFC 7208 §6.2).
    package var explanation: SPFMacroString?
    /// The names of modifiers that mean nothing here.
    package var unknownModifiers: [[UInt8]] = []

    /// Whether a TXT record is one of SPF: the version, alone or before a space (RFC 7208 §4.5).
    package static func isRecord(_ text: some Collection<UInt8>) -> Bool {
        let version = text.prefix(versionLength)
        return version.lazy.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 }.elementsEqual(Array("v=spf1".utf8))
            && (text.count == versionLength || text.dropFirst(versionLength).first == 0x20)
    }

    static let versionLength = 6

    /// Whether there is an `all`, behind which nothing matters.
    package var hasAll: Bool { directives.contains { $0.mechanism == .all } }
}

/// A mechanism, and the result where it matches (RFC 7208 §4.6.2).
package struct SPFDirective: Sendable, Hashable {
    package var qualifier: SPFQualifier
    package var mechanism: SPFMechanism
    /// The directive as it is written.
    package var text: [UInt8]
}

/// What a match means (RFC 7208 §4.6.2).
package enum SPFQualifier: UInt8, Sendable {
    case pass = 0x2B  // +
    case fail = 0x2D  // -
    case softfail = 0x7E  // ~
    case neutral = 0x3F  // ?
}

/// How many leading bits of an address count.
package struct SPFPrefixLengths: Sendable, Hashable {
    /// 0 to 32.
    package var ip4 = 32
    /// 0 to 128.
    package var ip6 = 128

    package init(ip4: Int = 32, ip6: Int = 128) {
        self.ip4 = ip4
        self.ip6 = ip6
    }
}

/// What a client may be matched with (RFC 7208 §5). A nil domain is the one the record belongs to.
package enum SPFMechanism: Sendable, Hashable {
    case all
    case include(SPFMacroString)
    case a(SPFMacroString?, SPFPrefixLengths)
    case mx(SPFMacroString?, SPFPrefixLengths)
    case ptr(SPFMacroString?)
    /// Four octets.
    case ip4([UInt8], prefix: Int)
    /// Sixteen octets.
    case ip6([UInt8], prefix: Int)
    case exists(SPFMacroString)

    /// Whether it counts against the ten that may ask the DNS (RFC 7208 §4.6.4).
    package var needsLookup: Bool {
        switch self {
        case .all, .ip4, .ip6: false
        case .include, .a, .mx, .ptr, .exists: true
        }
    }
}

/// What is wrong with a record, and where.
package struct SPFSyntaxError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Reason: String, Sendable {
        case notASCII = "a character that is not ASCII"
        case badCharacter = "a character that may not be here"
        case unknownMechanism = "an unknown mechanism"
        case unexpectedArgument = "a mechanism that takes no argument has one"
        case missingDomain = "no domain"
        case badDomain = "a domain that does not end as one must"
        case badAddress = "not an address"
        case badPrefixLength = "not a prefix length"
        case badMacro = "not a macro that may be here"
        case repeatedModifier = "a modifier for the second time"
        case notARecord = "not an SPF record"
    }

    package let reason: Reason
    /// In octets from the record's start.
    package let position: Int

    init(_ reason: Reason, at position: Int) {
        self.reason = reason
        self.position = position
    }

    package var description: String { "\(reason.rawValue), at octet \(position)" }
}
