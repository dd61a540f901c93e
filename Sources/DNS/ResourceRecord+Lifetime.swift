extension [ResourceRecord] {
    /// The shortest time to live among the records; nil where there are none. Seconds.
    ///
    /// - Parameter other: the shortest one of others that count too.
    package func shortestLife(with other: UInt32? = nil) -> UInt32? {
        reduce(other) { shortest, record in Swift.min(shortest ?? .max, record.timeToLive) }
    }
}

extension ResourceRecord {
    package mutating func age(by elapsed: UInt32) {
        timeToLive = timeToLive > elapsed ? timeToLive - elapsed : 0
    }
}

extension DNSMessage {
    /// How long a client may keep the answer, in seconds: the smallest time to live of the answer section, or for a denial
    /// what its SOA record allows (RFC 2308 §5); 0 for failures.
    package var lifetime: UInt32 {
        guard responseCode == .noError || responseCode == .nameError else { return 0 }
        let denial = authorities.first { $0.type == .soa }.map { Swift.min($0.timeToLive, $0.denialLifetime) }
        return answers.shortestLife(with: denial) ?? 0
    }
}

extension ResourceRecord {
    /// How long an SOA record lets it be kept that there is nothing: its last field.
    fileprivate var denialLifetime: UInt32 { data.suffix(4).reduce(0) { $0 << 8 | UInt32($1) } }
}
