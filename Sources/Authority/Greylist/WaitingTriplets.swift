/// The triplets of one site that have not come back, and who has sent them.
struct WaitingTriplets: Sendable {
    /// In the order in which they came. What was read from disk has no host, and counts as one's.
    private var keys: [[UInt8]: [Greylist.Key]] = [:]
    private var hosts: [Greylist.Key: [UInt8]] = [:]

    var count: Int { hosts.count }

    /// The oldest one of the host that has most.
    var oldestOfBusiest: Greylist.Key? { keys.values.max { $0.count < $1.count }?.first }

    mutating func add(_ key: Greylist.Key, from host: [UInt8]) {
        guard hosts.updateValue(host, forKey: key) == nil else { return }
        keys[host, default: []].append(key)
    }

    mutating func remove(_ key: Greylist.Key) {
        guard let host = hosts.removeValue(forKey: key), let place = keys[host]?.firstIndex(of: key) else { return }
        keys[host]?.remove(at: place)
        if keys[host]?.isEmpty == true { keys[host] = nil }
    }
}
