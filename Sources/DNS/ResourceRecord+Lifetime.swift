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
