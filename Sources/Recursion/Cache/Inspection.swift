import DNS

/// One answer in the cache, as it's shown.
package struct CacheEntry: Sendable {
    package var name: DomainName
    /// nil for "the name doesn't exist".
    package var type: RecordType?
    package var code: ResponseCode
    package var security: Outcome.Security
    /// Seconds; negative for one that has run out and stays in case no new one comes.
    package var timeToLive: Int64
    package var records: [String]
    package var reason: String?
}

/// How full one shard is.
package struct ShardStatistics: Sendable {
    package var answers = 0
    /// What the cached answers take. Octets.
    package var octets = 0
    /// What delegations, and proofs that there is nothing, take. Octets.
    package var derivedOctets = 0
    /// What all that may take. Octets.
    package var limit = 0
    /// Questions under way.
    package var inFlight = 0
    /// Clients that wait for one that is under way for another.
    package var waiting = 0
    package var servers = 0

    package init() {}

    init(answers: Int, octets: Int, derivedOctets: Int, limit: Int, inFlight: Int, waiting: Int, servers: Int) {
        self.answers = answers
        self.octets = octets
        self.derivedOctets = derivedOctets
        self.limit = limit
        self.inFlight = inFlight
        self.waiting = waiting
        self.servers = servers
    }

    package mutating func add(_ other: ShardStatistics) {
        answers += other.answers
        octets += other.octets
        derivedOctets += other.derivedOctets
        limit += other.limit
        inFlight += other.inFlight
        waiting += other.waiting
        servers += other.servers
    }
}

/// One server that was asked.
package struct ServerDescription: Sendable {
    package var address: String
    /// `forwarder` or `zone server`.
    package var kind: String
    /// The smoothed round-trip time.
    package var milliseconds: Int
    /// `awake`, or `asleep` while it's left alone because it didn't answer.
    package var state: String
}
