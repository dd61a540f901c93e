import DNS
import NIOCore

/// How far the search for one question's answer has come on its way down the tree.
struct Walk {
    private let key: Outcome.Key
    private let labels: Int
    /// The zone whose servers are asked next; nil for the nearest that is known.
    var zone: Delegation?
    /// The servers of a zone that all failed, and were forgotten for others.
    var former: Delegation?
    /// Whether the servers were named on this walk, not taken from the cache.
    var isFresh = false
    /// Whether servers are shown no more of the name than they must see.
    var minimises = true
    /// Who failed at a part of the name, and is asked about the whole first.
    var first: SocketAddress?
    var step = 0
    var reason = "no answer"
    /// How many labels of the name are known to be in the zone.
    private var known = 0
    private var minimised = 0

    /// RFC 9156 §2.3: so many labels are shown one by one, and so many queries are spent on it at most.
    private static let minimiseOneLabel = 4
    private static let maximumMinimised = 10

    init(_ key: Outcome.Key) {
        self.key = key
        labels = key.name.labelCount
    }

    /// Where the search for servers begins: DS records are at the parent's (RFC 4035 §3.1.4.1).
    var lowest: DomainName { key.type == .ds ? key.name.parent ?? key.name : key.name }

    var failure: Outcome {
        .failure(ExtendedError(code: ExtendedError.noReachableAuthorityCode, text: reason))
    }

    /// What a zone's servers are asked: the whole question, or one about a part of the name.
    func question(below zone: DomainName) -> Outcome.Key {
        let depth = max(known, zone.labelCount)
        guard minimises, minimised < Self.maximumMinimised, depth + 1 < labels else { return key }
        let left = labels - depth
        let stride =
            minimised < Self.minimiseOneLabel ? 1 : max(1, left / (Self.maximumMinimised - minimised))
        guard depth + stride < labels else { return key }
        var part = key
        part.name = key.name.suffix(labels: depth + stride)
        // RFC 9156 §2.1: of all types this one tells least.
        part.type = .a
        return part
    }

    /// Goes past parts of the name at which other walks found no cut.
    mutating func pass(below zone: DomainName, _ isInside: (DomainName) -> Bool) {
        var depth = max(known, zone.labelCount)
        while minimises, depth + 1 < labels, isInside(key.name.suffix(labels: depth + 1)) { depth += 1 }
        known = max(known, depth)
    }

    /// Takes in what came back to a part of the name: no cut there.
    mutating func learn(_ part: Outcome.Key, _ outcome: Outcome) {
        minimised += 1
        known = max(known, part.name.labelCount)
        // A name that doesn't exist has none below it (RFC 8020), but not all servers know: the whole name decides.
        if outcome.code != .noError || !outcome.answers.isEmpty { minimises = false }
    }
}
