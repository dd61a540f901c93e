import Network
import SMTP

/// A line of the policy table: what happens to mail for which all conditions hold.
package struct PolicyRule: Sendable, Equatable {
    /// The line of the configuration file that it stands in.
    package let line: Int
    /// As it is written.
    package let text: String
    let action: PolicyAction
    let conditions: [PolicyCondition]

    /// Whether it may say different things of different recipients.
    var asksForRecipient: Bool {
        conditions.contains { if case .recipient = $0.test { true } else { false } }
    }
}

/// What a rule does.
package enum PolicyAction: Sendable, Equatable {
    /// Taken; nothing else is asked, not even what the author's domain wants.
    case accept
    case reject(EnhancedStatusCode, String)
    case `defer`(EnhancedStatusCode, String)
    /// Delivered into the recipients' Junk.
    case junk
    /// Taken and thrown away.
    case discard
    /// Added in front of the message, and the table goes on: a whole field without its line end.
    case addField(String)
    /// Added to the message's score, and the table goes on.
    case score(Int)

    /// Whether the mail isn't taken, for now or ever.
    var isRefusal: Bool {
        switch self {
        case .reject, .defer: true
        case .accept, .junk, .discard, .addField, .score: false
        }
    }

    /// Whether the client is to try again.
    var isDeferral: Bool { if case .defer = self { true } else { false } }
}

/// One thing that holds or doesn't.
struct PolicyCondition: Sendable, Equatable {
    let isNegated: Bool
    let test: PolicyTest
}

/// What a condition looks at.
enum PolicyTest: Sendable, Equatable {
    /// `smtp`, `submission`, `submissions`.
    case listener([String])
    case client([AddressRange])
    /// The client's name, if it and the address lead to each other.
    case clientName([TextPattern])
    case helo([TextPattern])
    /// One of our names or addresses.
    case ownHelo
    case tls
    /// The account that the client logged in to; without patterns, any.
    case account([TextPattern])
    case sender([TextPattern])
    case recipient([TextPattern])
    /// Octets, more than.
    case size(Int)
    /// A result of `iprev`, `spf`, `dkim`, `arc` or `dmarc`.
    case result(String, [String])
    /// Domains of signatures that hold.
    case signedBy([TextPattern])
    /// DNS lists that have the client.
    case listed([String])
    case score(Int)
    /// Minutes of the local day; from later than to means over midnight.
    case time(from: Int, to: Int)
}

/// A text with `*` for any characters; letters match in either case.
struct TextPattern: Sendable, Equatable {
    private let parts: [[UInt8]]

    init(_ text: String) {
        parts = text.utf8.map(Self.lower).split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false)
            .map(Array.init)
    }

    private static func lower(_ octet: UInt8) -> UInt8 { (0x41...0x5A).contains(octet) ? octet | 0x20 : octet }

    /// In time that grows with the text's length times the pattern's at most.
    func matches(_ text: String) -> Bool {
        let octets = text.utf8.map(Self.lower)
        guard let first = parts.first, let last = parts.last, octets.starts(with: first) else { return false }
        if parts.count == 1 { return octets.count == first.count }
        var position = first.count
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let found = Self.find(part, in: octets, from: position) else { return false }
            position = found + part.count
        }
        return octets.count - position >= last.count && octets.suffix(last.count).elementsEqual(last)
    }

    private static func find(_ part: [UInt8], in octets: [UInt8], from start: Int) -> Int? {
        guard octets.count - start >= part.count else { return nil }
        return (start...(octets.count - part.count)).first { octets[$0..<($0 + part.count)].elementsEqual(part) }
    }
}
