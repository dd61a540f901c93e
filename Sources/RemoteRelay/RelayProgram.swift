import Bus
import DNS
import Daemon
import Deliverer
import Keys
import Logging
import NIOCore
import NIOPosix
import Network
import Reporting
import Resolution
import TLS

/// remote-relay: sends mail to other hosts.
package struct RelayProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let allowed: Set<UInt32>
        /// Where smtpd asks for recipients.
        let recipientSocket: CInt
        let mayAsk: Set<UInt32>
        let tls: TLSContext
        let verifyingTLS: TLSContext?
        let interfaces: [SocketAddress]
    }

    package let name = DaemonName.remoteRelay

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        setup.rights.root = "run"
        return Prepared(
            socket: try setup.listen(unix: "run/relay.sock"),
            allowed: setup.uids(of: [.queueManager]),
            recipientSocket: try setup.listen(unix: "run/recipient.sock"),
            mayAsk: setup.uids(of: [.smtpd]),
            tls: try TLSContext(clientVerifying: false, minimum: setup.configuration.tls.minimumVersion),
            verifyingTLS: try verifyingTLS(setup.configuration),
            interfaces: RelaySettings.interfaces()
        )
    }

    /// Without authorities of the system, mail that needs them comes back; a file that was named must be there.
    private func verifyingTLS(_ configuration: Configuration) throws -> TLSContext? {
        let authorities = configuration.remoteRelay.authorities
        do throws(TLSError) {
            return try TLSContext(
                clientVerifying: true,
                authorities: authorities,
                minimum: configuration.tls.minimumVersion
            )
        } catch {
            if authorities != nil { throw error }
            return nil
        }
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let settings = RelaySettings(context.configuration, interfaces: prepared.interfaces)
        let loop = context.group.next()
        let resolver = StubResolver(path: context.socket("dns.sock"), on: loop)
        let lookup = HostLookup(settings: settings, logger: context.logger) {
            (name, type) async throws(ResolutionError) in try await resolver.query(name, type)
        }
        let reports =
            context.configuration.reports.isOnForTLS
            ? ReportClient(path: context.socket("report.sock"), on: loop) : nil
        let relay = Relay(
            settings: settings,
            lookup: lookup,
            tls: prepared.tls,
            verifyingTLS: prepared.verifyingTLS,
            reports: reports.flatMap { client in TLSReports(settings) { client.report($0) } },
            signing: SigningKeys(KeysClient(path: context.socket("key.sock"), on: loop)),
            loop: loop,
            logger: context.logger
        )
        let server = DeliveryServer(
            group: loop,
            allowed: prepared.allowed,
            settings: .init(event: "relay", successCounter: "relayed"),
            logger: context.logger
        ) { await relay.deliver($0) }
        try await server.accept(on: prepared.socket)
        let checks = RecipientCheckService(relay, on: loop, logger: context.logger)
        let questions = BusServer(group: loop, allowed: prepared.mayAsk, logger: context.logger)
        try await questions.answer(on: prepared.recipientSocket) { frame, connection in
            checks.answer(frame, connection)
        }
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: .seconds(5))
        await questions.shutDown(grace: .zero)
        loop.execute { relay.close() }
    }
}
