import Caching
import DNS
import NIOCore
import Network

/// One server of zones, with what is known of it. Belongs to one event loop.
final class ZoneServer {
    let upstream: Upstream
    /// How many times in a row it didn't answer.
    private var failures = 0
    private var asleepUntil = NIODeadline.uptimeNanoseconds(0)

    /// After so many failures in a row a server is left alone for a while.
    private static let patience = 3
    /// The first such while; each further failure doubles it, up to the longest.
    private static let firstSleep = TimeAmount.seconds(10)
    private static let doublings = 6

    init(_ upstream: Upstream) {
        self.upstream = upstream
    }

    /// Whether it's left alone because it didn't answer.
    var isAsleep: Bool { .now() < asleepUntil }

    func succeeded() {
        failures = 0
        asleepUntil = .uptimeNanoseconds(0)
    }

    func failed() {
        failures += 1
        upstream.punish()
        guard failures >= Self.patience else { return }
        let doubled = Self.firstSleep.nanoseconds << Int64(min(failures - Self.patience, Self.doublings))
        asleepUntil = .now() + .nanoseconds(doubled)
    }
}

/// The servers that one event loop has asked, those that were unused longest forgotten first.
final class ServerTable {
    private let loop: any EventLoop
    private let minimumPatience: TimeAmount
    private let idle = IdleSockets()
    private let streams = StreamPlaces()
    private let random = RandomReserve()
    private var servers: BoundedCache<SocketAddress, ZoneServer>

    /// How many servers are remembered.
    private static let maximumServers = 8192
    private static let cost = 1024

    init(on loop: any EventLoop, minimumPatience: TimeAmount) {
        self.loop = loop
        self.minimumPatience = minimumPatience
        servers = BoundedCache(
            limit: Self.maximumServers * (Self.cost + BoundedCache<SocketAddress, ZoneServer>.overhead)
        )
    }

    func server(_ address: SocketAddress) -> ZoneServer {
        if let known = servers.value(for: address) { return known }
        let server = ZoneServer(
            Upstream(
                address,
                on: loop,
                minimumPatience: minimumPatience,
                maximumIdle: 256,
                shared: idle,
                streams: streams,
                random: random
            )
        )
        servers.insert(server, for: address, cost: Self.cost)
        return server
    }

    func forEach(_ body: (ZoneServer) -> Void) {
        servers.forEach { _, server in body(server) }
    }

    func close() {
        servers.removeAll()
    }
}
