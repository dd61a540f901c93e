import NIOCore

/// Which keys domains have, as keyd said a moment ago: it isn't asked for each message of a burst. It looks at its files no more often
/// itself.
struct RecentKeys: Sendable {
    private struct Kept {
        let keys: [ActiveKey]
        let end: NIODeadline
    }

    private var kept: [String: Kept] = [:]

    /// How long an answer counts.
    static let lifetime = TimeAmount.milliseconds(250)
    /// Domains.
    static let capacity = 1000

    /// nil where keyd is to be asked.
    func keys(of domain: String, at now: NIODeadline) -> [ActiveKey]? {
        kept[domain].flatMap { now < $0.end ? $0.keys : nil }
    }

    mutating func keep(_ keys: [ActiveKey], of domain: String, at now: NIODeadline) {
        // What is asked again costs a question.
        if kept.count >= Self.capacity { kept.removeAll(keepingCapacity: true) }
        kept[domain] = Kept(keys: keys, end: now + Self.lifetime)
    }
}
