/// What a check says (RFC 7208 §2.6).
package enum SPFResult: String, Sendable, CaseIterable {
    case none, neutral, pass, fail, softfail, temperror, permerror
}

/// The result of a check, why it is so, and how it came about.
package struct SPFOutcome: Sendable {
    package var result: SPFResult
    /// One sentence for people.
    package var reason: String
    /// The directive that matched, as it is written; nil where none did.
    package var mechanism: [UInt8]?
    /// The domain whose record decided.
    package var domain: [UInt8]
    /// What the sender's domain says to those whose mail fails; printable ASCII. It is a stranger's text.
    package var explanation: [UInt8]?
    /// How many terms asked the DNS, of the ten that may.
    package var lookups = 0
    /// How many lookups found nothing, of the two that may.
    package var voidLookups = 0
    /// What was looked at, in its order.
    package var trace: [SPFStep] = []
}

/// One step of a check.
package struct SPFStep: Sendable, Hashable {
    package enum Kind: String, Sendable {
        /// A domain's record; the text is the whole of it.
        case record
        case directive
        case redirect
        case explanation
    }

    package var kind: Kind
    /// 0 for the domain that is checked, one more for each include.
    package var depth: Int
    package var domain: [UInt8]
    /// The record or the term, as it is written.
    package var text: [UInt8]
    /// What was found.
    package var note: String
    /// How many terms had asked the DNS then.
    package var lookups: Int
}

/// How much work a record may make (RFC 7208 §4.6.4).
package struct SPFLimits: Sendable {
    /// Terms that ask the DNS.
    package var lookups = 10
    /// Terms whose lookup finds nothing.
    package var voidLookups = 2
    /// Mail exchanges of a domain: with more, the result is permerror.
    package var mailExchanges = 10
    /// Names of an address: those beyond are not looked at.
    package var addressNames = 10
    /// Steps that are written down; later ones are left out.
    package var steps = 1000

    package init() {}
}
