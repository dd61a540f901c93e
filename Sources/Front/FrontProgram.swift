import Daemon
import Keys
import NIOCore
import NIOPosix
import Network
import TLS

/// A daemon that strangers connect to: it binds its ports, then serves without access to any file.
package protocol FrontProgram: DaemonProgram where Prepared == PreparedFront<Service.Role> {
    associatedtype Service: FrontService

    /// Where to listen, and what for.
    func addresses(_ configuration: Configuration) -> [(role: Service.Role, addresses: [SocketAddress])]

    /// The same, paths of Unix-domain sockets below the instance directory.
    func sockets(_ configuration: Configuration) -> [(role: Service.Role, paths: [String])]

    /// Whether users are asked for a TLS certificate.
    func asksForCertificate(_ configuration: Configuration) -> Bool

    /// What clients may negotiate by ALPN; another offer ends the handshake (RFC 7301 §3.2).
    var applicationProtocols: [String] { get }

    /// How long sessions may go on when the daemon is asked to end.
    func shutdownGrace(_ configuration: Configuration) -> TimeAmount

    /// What the strangers are served.
    func service(_ context: DaemonContext) -> Service
}

/// What a front opens with rights.
package struct PreparedFront<Role: ListenerRole>: Sendable {
    let endpoints: [FrontEndpoint<Role>]
    let tlsContexts: TLSContexts
    let keys: ServerKeys
}

extension FrontProgram {
    package func sockets(_ configuration: Configuration) -> [(role: Service.Role, paths: [String])] { [] }

    package func prepare(_ setup: Setup) throws -> Prepared { try prepareFront(setup) }

    /// What `prepare` does, for a daemon that needs more than that.
    package func prepareFront(_ setup: Setup) throws -> Prepared {
        var endpoints: [FrontEndpoint<Service.Role>] = []
        for (role, addresses) in addresses(setup.configuration) {
            endpoints += try setup.listen(addresses).map { FrontEndpoint(role, socket: $0) }
        }
        for (role, paths) in sockets(setup.configuration) {
            endpoints += try paths.map { FrontEndpoint(role, socket: try setup.listen(unix: $0)) }
        }
        // It sees nothing but the sockets of other daemons.
        setup.rights.root = "run"
        let keys = ServerKeys(hostname: setup.configuration.hostname)
        let context = try setup.serverTLS(keys, protocols: applicationProtocols)
        let asks = asksForCertificate(setup.configuration)
        let contexts = TLSContexts(
            forAll: context,
            forUsers: asks
                ? try setup.serverTLS(keys, protocols: applicationProtocols, asksForCertificate: true) : context
        )
        return PreparedFront(endpoints: endpoints, tlsContexts: contexts, keys: keys)
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        prepared.keys.start(
            path: context.socket("key.sock"),
            service: name.rawValue,
            on: context.group.next(),
            logger: context.logger
        )
        let server = FrontServer(
            service(context),
            tlsContexts: prepared.tlsContexts,
            group: context.group,
            logger: context.logger
        )
        try await server.start(prepared.endpoints)
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: shutdownGrace(context.configuration))
    }
}
