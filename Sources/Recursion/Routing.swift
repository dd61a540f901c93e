import DNS
import DNSSEC
import Daemon

/// Who is asked for what the cache doesn't have.
package enum AnswerSource: Sendable {
    case forwarders([ForwarderAddress])
    /// The servers of zones, from the root or a stub zone down.
    case zones
}

/// Who has the answer for which part of the tree of names, as far as recursion needs to know it: its own questions, for
/// servers' addresses and zones' keys, go the same ways as clients' do. Belongs to one event loop.
package protocol Routing {
    /// Who is asked about a name; nil where nobody is, or a zone of ours has it.
    func source(of name: DomainName) -> AnswerSource?

    /// The zone of ours that a name is in; nil for names of the world.
    func ownZone(of name: DomainName) -> (any OwnZone)?

    /// The top of the part of the tree that a name is in: of a zone of ours, a stub or a forward zone, or the root. What
    /// servers above it say of names below it isn't for us.
    func top(over name: DomainName) -> DomainName
}

/// A zone of ours, for recursion's own questions.
package protocol OwnZone {
    func answer(_ question: Question) -> Outcome

    /// The answer with its signatures; nil where the zone isn't signed.
    func proof(_ question: Question) -> SecurityReply?
}
