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
    /// Taken only from who has come back after a while (RFC 6647); then the table goes on.
    case greylist
    /// The reply comes so many seconds later, and the table goes on.
    case tarpit(Int)
    /// Taken, and kept in the queue until an administrator releases it.
    case hold
    /// Added in front of the message, and the table goes on: a whole field without its line end.
    case addField(String)
    /// Goes by the route of that name to all recipients elsewhere, and the table goes on. The first one counts.
    case route(String)
    /// Added to the message's score, and the table goes on.
    case score(Int)

    /// Whether the mail isn't taken, for now or ever.
    var isRefusal: Bool {
        switch self {
        case .reject, .defer: true
        case .accept, .junk, .discard, .hold, .addField, .route, .score, .greylist, .tarpit: false
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
    /// A field of that name, in lower case, has such a value.
    case header(String, [TextPattern])
    /// The body's beginning.
    case body([TextPattern])
    /// Minutes of the local day; from later than to means over midnight.
    case time(from: Int, to: Int)
}
