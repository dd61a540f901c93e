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

#if canImport(Glibc)
import Glibc
#endif

/// remote-relay: sends mail to other hosts.
package struct RelayProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let allowed: Set<UInt32>
        /// Where smtpd asks for recipients.
        let recipientSocket: CInt
        let mayAsk: Set<UInt32>
        let tls: TLSContext
        /// Whether certificates can be verified.
        let hasAuthorities: Bool
        let credentials: [String: RelayCredentials]
        /// Whether some domain may have keys of DKIM.
        let mayHaveKeys: Bool
        /// The directory of what is kept; nil for nothing.
        let directory: CInt?
        let interfaces: [SocketAddress]
    }

    package let name = DaemonName.remoteRelay

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        setup.rights.root = "run"
        let relay = setup.configuration.remoteRelay
        let directory = relay.usesMTASTS ? try setup.directory(RemoteRelayConfiguration.directory) : nil
        if let directory { setup.rights.allowWriting(beneath: directory) }
        let minimum = setup.configuration.tls.minimumVersion
        let verifying = try verifyingTLS(setup.configuration)
        return Prepared(
            socket: try setup.listen(unix: "run/relay.sock"),
            allowed: setup.uids(of: [.queueManager]),
            recipientSocket: try setup.listen(unix: "run/recipient.sock"),
            mayAsk: setup.uids(of: [.smtpd]),
            tls: try verifying ?? TLSContext(clientVerifying: false, minimum: minimum),
            hasAuthorities: verifying != nil,
            credentials: try credentials(setup),
            mayHaveKeys: Self.mayHaveKeys(in: TLSConfiguration.dkimDirectory),
            directory: directory,
            interfaces: RelaySettings.interfaces()
        )
    }

    /// Whether there is something in the directory of the domains' keys, or nobody can tell.
    private static func mayHaveKeys(in path: String) -> Bool {
        guard let directory = opendir(path) else { return true }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { return true }
        }
        return false
    }

    /// What routes log in with, from the file that nobody reads after start.
    private func credentials(_ setup: Setup) throws -> [String: RelayCredentials] {
        let relay = setup.configuration.remoteRelay
        // Routes may come to name some later.
        guard !relay.namedCredentials.isEmpty || access(relay.credentials, F_OK) == 0 else { return [:] }
        let text = try setup.secret(relay.credentials, key: "remote-relay.credentials", maximum: 1 << 20)
        let all: [String: RelayCredentials]
        do {
            all = try RelayCredentials.parse(text, file: relay.credentials)
        } catch {
            throw SetupError(reason: "\(error)", code: .configuration)
        }
        for name in relay.namedCredentials.sorted() where all[name] == nil {
            throw SetupError(
                reason: "a route logs in with \"\(name)\", which is not in \(relay.credentials)",
                code: .configuration
            )
        }
        return all
    }

    /// Without authorities of the system, mail that needs them waits or comes back; a file that was named must be there.
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
        let settings = RelaySettings(
            context.configuration,
            interfaces: prepared.interfaces,
            runDirectory: context.socket("")
        )
        let loop = context.group.next()
        let resolver = StubResolver(path: context.socket("dns.sock"), on: loop)
        let answers = RecentAnswers(on: loop) { (name, type) throws(ResolutionError) in
            try await resolver.query(name, type)
        }
        let lookup = HostLookup(settings: settings, logger: context.logger) {
            (name, type) async throws(ResolutionError) in try await answers.query(name, type)
        }
        let reports =
            context.configuration.reports.isOnForTLS
            ? ReportClient(path: context.socket("report.sock"), on: loop) : nil
        // Without authorities those that were kept still count: mail for their domains waits.
        let policies = self.policies(prepared, lookup, on: loop, logger: context.logger)
        if !prepared.hasAuthorities {
            context.logger.error("no authorities to verify certificates by: mail that needs them waits")
        }
        await Task(executorPreference: LoopExecutor.of(loop)) { await policies?.load() }.value
        let renewal = Task(executorPreference: LoopExecutor.of(loop)) { await policies?.renewAll() }
        defer { renewal.cancel() }
        let certificates = certificates(context, on: loop)
        let relay = Relay(
            settings: settings,
            lookup: lookup,
            security: RelaySecurity(
                prepared.tls,
                hasAuthorities: prepared.hasAuthorities,
                credentials: prepared.credentials,
                policies: policies,
                certificates: certificates,
                on: loop
            ),
            reports: reports.flatMap { client in TLSReports(settings) { client.report($0) } },
            signing: SigningKeys(
                KeysClient(path: context.socket("key.sock"), on: loop),
                mayHaveKeys: prepared.mayHaveKeys
            ),
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

    /// What other hosts are shown that ask for a certificate; nil where nothing is.
    private func certificates(_ context: DaemonContext, on loop: any EventLoop) -> ServerKeys? {
        guard !context.configuration.remoteRelay.clientCertificates.isEmpty else { return nil }
        let keys = ServerKeys(hostname: context.configuration.hostname)
        keys.start(path: context.socket("key.sock"), service: nil, on: loop, logger: context.logger)
        return keys
    }

    /// The MTA-STS policies of other domains; nil where they aren't looked at.
    private func policies(
        _ prepared: Prepared,
        _ lookup: HostLookup,
        on loop: any EventLoop,
        logger: Logger
    ) -> MTASTSPolicies? {
        guard let directory = prepared.directory else { return nil }
        let fetch = PolicyFetch(
            lookup: { host in
                do throws(HostLookup.Failure) {
                    return .success(try await lookup.addresses(ofPolicyHost: host))
                } catch {
                    return .failure(error)
                }
            },
            context: prepared.tls,
            loop: loop
        )
        return MTASTSPolicies(
            .init(
                texts: { await lookup.texts(of: $0) },
                fetch: { (domain) async throws(MTASTSFault) in try await fetch.policy(of: domain) },
                now: { Int64(time(nil)) }
            ),
            file: StateFile(directory: directory, name: "mta-sts"),
            on: loop,
            logger: logger
        )
    }
}
