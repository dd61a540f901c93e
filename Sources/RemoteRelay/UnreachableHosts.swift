import NIOCore

/// Addresses that could not be connected to a moment ago: they are tried last.
struct UnreachableHosts {
    private var until: [SocketAddress: NIODeadline] = [:]
    private let memory: TimeAmount
    private let capacity: Int

    init(memory: TimeAmount = .minutes(1), capacity: Int = 10_000) {
        self.memory = memory
        self.capacity = capacity
    }

    mutating func note(_ address: SocketAddress) {
        if until.count >= capacity { until.removeAll() }
        until[address] = .now() + memory
    }

    mutating func forget(_ address: SocketAddress) { until[address] = nil }

    /// The targets in their order, those that did not answer behind the others.
    func order(_ targets: [Target]) -> [Target] {
        let now = NIODeadline.now()
        let isBad = { (target: Target) in until[target.address].map { $0 > now } ?? false }
        return targets.filter { !isBad($0) } + targets.filter(isBad)
    }
}
