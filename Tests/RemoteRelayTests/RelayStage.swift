import Daemon
import Logging
import NIOCore
import Network
import Resolution
import TLS
import Testing

@testable import RemoteRelay

/// A relay, and a route that leads to a scripted server; it has no DNS.
struct RelayStage {
    let relay: Relay
    let host: ScriptedServer
    /// Of mail for example.net.
    let route: RelayRoute
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    private let listener: Listener

    init(_ script: ScriptedServer.Script, on loop: any EventLoop) async throws {
        let host = ScriptedServer(script)
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        listener = Listener(group: loop)
        try await listener.accept(on: socket) { await host.serve($0) }
        route = .hosts(RelayHosts([RelayHost(host: "127.0.0.1", port: port)]))
        let settings = try testSettings()
        let lookup = HostLookup(settings: settings, logger: logger) { (_, _) async throws(ResolutionError) in
            throw .unavailable("no DNS here")
        }
        relay = Relay(
            settings: settings,
            lookup: lookup,
            security: try testSecurity(on: loop),
            loop: loop,
            logger: logger
        )
        self.host = host
    }

    func shutDown() async { await listener.shutDown(grace: .seconds(5)) }
}

/// TLS without authorities.
func testSecurity(on loop: any EventLoop) throws -> RelaySecurity {
    RelaySecurity(try TLSContext(clientVerifying: false), hasAuthorities: false, on: loop)
}
