import CoreMetrics
import Daemon
import Deliverer
import Logging
import NIOCore
import Network
import SMTP
import TLS

/// Sends a message to one of the hosts of its destination. Belongs to one event loop.
final class Relay: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let settings: RelaySettings
    let lookup: HostLookup
    private let idle: IdleConnections
    private let turns: HostTurns
    private var unreachable: UnreachableHosts
    private let security: RelaySecurity
    private let reports: TLSReports?
    /// nil where nothing is signed.
    private let signer: MessageSigner?
    private let loop: any EventLoop
    private let logger: Logger
    private let connections = Counter(label: "connections")
    private let reused = Counter(label: "connections-reused")

    init(
        settings: RelaySettings,
        lookup: HostLookup,
        security: RelaySecurity,
        reports: TLSReports? = nil,
        signing keys: SigningKeys? = nil,
        loop: any EventLoop,
        logger: Logger
    ) {
        self.security = security
        self.reports = reports
        signer = keys.map { MessageSigner($0, settings: settings, on: loop, logger: logger) }
        self.settings = settings
        self.lookup = lookup
        self.loop = loop
        self.logger = logger
        idle = IdleConnections(time: settings.reuseTime, on: loop)
        turns = HostTurns(limit: settings.hostConcurrency, on: loop)
        unreachable = UnreachableHosts()
    }

    /// Tries the hosts of the destination in their order until every recipient has a result.
    func deliver(_ job: DeliveryJob) async {
        loop.assertInEventLoop()
        guard let destination = job.request.destination else {
            return job.report(DeliveryResult(.delayed, .systemTrouble, "no destination"))
        }
        var hosts: RelayHosts?
        switch job.request.route {
        case .pipe:
            return job.report(DeliveryResult(.delayed, .systemTrouble, "a route to a program is pipe-deliver's"))
        case .discard: return job.report(DeliveryResult(.delivered, .success, "discarded by a route"))
        case .error(let status, let text):
            return job.report(DeliveryResult(status.statusClass == 5 ? .failed : .delayed, status, text))
        case .hosts(let route): hosts = route
        case nil: break
        }
        switch await lookup.targets(of: destination, route: hosts) {
        case .success(let targets):
            let finding =
                hosts == nil ? await security.mtaSTS(of: destination, cause: Self.cause(job.request)) : .init()
            await deliver(job, to: unreachable.order(targets), finding)
        case .failure(let failure): job.report(failure.result)
        }
    }

    /// Tries the targets in the order given.
    ///
    /// - Parameter sts: what the recipients' domain asks for by MTA-STS.
    func deliver(
        _ job: DeliveryJob,
        to targets: [Target],
        _ sts: MTASTSPolicies.Finding = .init()
    ) async {
        loop.assertInEventLoop()
        let way = Way(
            job: job,
            domain: job.request.destination,
            sts: sts,
            requiresTLS: Self.requiresTLS(job.request),
            source: settings.source(of: job.request.sender.path.address)
        )
        if let fault = sts.fault { reports?.note(fault, way) }
        let message = OutgoingMessage(job, hostname: settings.hostname, signer: signer, logger: logger)
        // No host is troubled for a message that can't go. In which form a binary one goes, the host decides.
        if !message.isBinary {
            do throws(MessageSourceError) {
                if let refusal = try await message.sign(.lines) { return job.report(refusal) }
            } catch {
                if error == .abandoned { return }
                return job.report(DeliveryResult(.delayed, .systemTrouble, "\(error)"))
            }
        }
        var last = DeliveryResult.unreachable(.noAnswer, "there is no host to try")
        var scope = DeliveryResult.Scope.destination
        var hasTried = false
        // That one host can't keep to REQUIRETLS says nothing about those that can't be reached now.
        var otherFailure: DeliveryResult?
        for (index, one) in targets.enumerated() where !job.open.isEmpty {
            var target = one
            if targets.indices.contains(index + 1) { target.rival = targets[index + 1].rival(of: one) }
            // Recipients without a result are told to wait by the server.
            if job.isAbandoned { return }
            // Worse hosts are for when a better one is down, not for when it's busy.
            guard await turns.enter(target.address) else {
                // A host that was tried has said more, but for what it can't do and this one may.
                if hasTried {
                    if otherFailure == nil, last.action.isFinal { otherFailure = .busy(target.remote) }
                    break
                }
                return job.report(.busy(target.remote))
            }
            hasTried = true
            defer { turns.leave(target.address) }
            if job.isAbandoned { return }
            do throws(Fault) {
                try await attempt(way, message, target)
            } catch {
                if case .interrupted = error.failure { return }
                let isFirst = scope == .destination
                if error.wasReached { scope = .recipient }
                var result = DeliveryResult(error.failure, with: target.remote, scope: scope)
                result.security = error.policy?.security(nil)
                // A host that was reached has said more than one that wasn't, but what it can't do, the other may.
                if error.wasReached || isFirst { last = result }
                if !result.action.isFinal, error.wasReached || otherFailure == nil { otherFailure = result }
                guard error.failure.otherHostMayHelp else { break }
            }
        }
        job.report(otherFailure ?? last)
    }

    private static func cause(_ request: DeliverRequest) -> KeptPolicy.Cause {
        if let account = request.account { return .account(account.lowercased()) }
        return request.sender.path.address == nil ? .report : .other
    }

    /// Whether a message may only go over verified TLS. A report never comes to nothing for it (RFC 8689 §5).
    private static func requiresTLS(_ request: DeliverRequest) -> Bool {
        request.sender.parameters.requiresTLS && request.sender.path.address != nil
    }

    /// Why a host did not take the message, or not for all.
    private struct Fault: Error {
        let failure: SMTPClient.Failure
        /// Whether the host answered; otherwise the destination may be unreachable.
        let wasReached: Bool
        /// What was asked of the session; nil where that's what failed.
        var policy: SessionPolicy?
    }

    /// Tries one host; once more where the message turned out to need other lines.
    private func attempt(_ way: Way, _ message: OutgoingMessage, _ target: Target) async throws(Fault) {
        do throws(Fault) {
            try await attemptForAll(way, message, target)
        } catch {
            guard case .longLine = error.failure else { throw error }
            try await attemptForAll(way, message, target)
        }
    }

    /// Tries one host, over as many sessions as its limits ask for.
    private func attemptForAll(_ way: Way, _ message: OutgoingMessage, _ target: Target) async throws(Fault) {
        let job = way.job
        var before: Int
        repeat {
            before = job.open.count
            try await attemptOnce(way, message, target)
        } while !job.open.isEmpty && job.open.count < before && !job.isAbandoned
    }

    /// Tries one host. An idle session may have ended unnoticed: then the same host is tried again on a new one.
    private func attemptOnce(_ way: Way, _ message: OutgoingMessage, _ target: Target) async throws(Fault) {
        let job = way.job
        let places = job.open
        let policy: SessionPolicy
        do throws(SMTPClient.Failure) {
            policy = try await self.policy(for: target, way, message)
        } catch {
            reports?.note(error, target, way)
            throw Fault(failure: error, wasReached: true)
        }
        let terms = SessionTerms(
            policy,
            target,
            way.source,
            clientCertificate: settings.clientCertificate(for: target, of: way.domain)
        )
        while let client = idle.acquire(target.address, terms) {
            // It was made for mail that may go to hosts without it.
            guard !way.requiresTLS || client.extensions.has("REQUIRETLS") else {
                client.quit()
                continue
            }
            reused.increment()
            do throws(SMTPClient.Failure) {
                return try await transaction(client, policy, job, message, places)
            } catch {
                guard job.open == places, error.newSessionMayHelp else {
                    throw Fault(failure: error, wasReached: true, policy: policy)
                }
            }
        }
        let client: SMTPClient
        do throws(SMTPClient.Failure) {
            client = try await connect(target, policy, terms, for: way)
        } catch {
            if case .connection = error { throw Fault(failure: error, wasReached: false, policy: policy) }
            throw Fault(failure: error, wasReached: true, policy: policy)
        }
        defer { leaveRival(client, of: target) }
        do throws(SMTPClient.Failure) {
            try await transaction(client, policy, job, message, places)
        } catch {
            throw Fault(failure: error, wasReached: true, policy: policy)
        }
    }

    /// Gives the turn of a host's other address back, where the session was with that.
    private func leaveRival(_ client: SMTPClient, of target: Target) {
        if client.target.address != target.address { turns.leave(client.target.address) }
    }

    /// What is asked of a session with the host for a message. Its header is looked at only where it could make a difference.
    private func policy(
        for target: Target,
        _ way: Way,
        _ message: OutgoingMessage
    ) async throws(SMTPClient.Failure) -> SessionPolicy {
        let strict: Result<SessionPolicy, SMTPClient.Failure>
        do throws(SMTPClient.Failure) {
            strict = .success(
                try policy(for: target, of: way.domain, way.sts, requiresTLS: way.requiresTLS)
            )
        } catch {
            strict = .failure(error)
        }
        // REQUIRETLS counts before the header (RFC 8689 §3).
        if way.requiresTLS { return try strict.get() }
        if case .success(let policy) = strict, policy.allowsClearText { return policy }
        let isOptional: Bool
        do throws(MessageSourceError) {
            isOptional = try await message.saysTLSIsOptional()
        } catch {
            if error == .abandoned { throw .interrupted }
            throw .unreadable("\(error)")
        }
        guard isOptional else { return try strict.get() }
        return try policy(for: target, of: way.domain, way.sts, ignoresPublished: true)
    }

    /// What is asked of a session with the host.
    private func policy(
        for target: Target,
        of domain: String?,
        _ sts: MTASTSPolicies.Finding,
        requiresTLS: Bool = false,
        ignoresPublished: Bool = false
    ) throws(SMTPClient.Failure) -> SessionPolicy {
        let (rule, isStandard) = settings.rule(for: target, of: domain)
        let decision = PolicyDecision(
            rule: rule,
            isStandardRule: isStandard,
            domain: domain?.lowercased(),
            sts: sts.policy,
            isSTSKnown: sts.isKnown,
            requiresTLS: requiresTLS,
            ignoresPublished: ignoresPublished,
            hasAuthorities: security.hasAuthorities
        )
        return try decision.policy(for: target)
    }

    /// Sends the message over a session. Recipients that it can't be used for any more are left without a result.
    private func transaction(
        _ client: SMTPClient,
        _ policy: SessionPolicy,
        _ job: DeliveryJob,
        _ message: OutgoingMessage,
        _ places: [Int]
    ) async throws(SMTPClient.Failure) {
        let protection = policy.security(client.connection.tls)
        do throws(SMTPClient.Failure) {
            // As many recipients at a time as the host takes (RFC 9422).
            let most = client.extensions.limit("RCPTMAX") ?? .max
            var rest = places[...]
            while !rest.isEmpty {
                let part = Array(rest.prefix(most))
                rest = rest.dropFirst(part.count)
                let transaction = Transaction(
                    client: client,
                    job: job,
                    message: message,
                    settings: settings,
                    security: protection
                )
                try await transaction.run(for: part)
                // It may have taken all messages that it takes.
                guard client.isReusable else { break }
            }
        } catch {
            // Never end a message that is not whole.
            client.connection.abort()
            throw error
        }
        idle.release(client)
    }

    /// A new session for a message; in clear text where TLS fails and that is allowed.
    private func connect(
        _ target: Target,
        _ policy: SessionPolicy,
        _ terms: SessionTerms,
        for way: Way
    ) async throws(SMTPClient.Failure) -> SMTPClient {
        do throws(SMTPClient.Failure) {
            let client = try await connect(target, policy, terms)
            reports?.note(client, target, way)
            guard !way.requiresTLS || client.extensions.has("REQUIRETLS") else {
                client.quit()
                leaveRival(client, of: target)
                throw SMTPClient.Failure.notAssured("the host does not offer REQUIRETLS")
            }
            return client
        } catch {
            reports?.note(error, target, way)
            if way.requiresTLS {
                switch error {
                // Without a finding about the certificate it may be anything that passes.
                case .tls(let reason, .some): throw .notAssured(reason)
                case .notEncrypted: throw .notAssured("TLS is not offered")
                default: throw error
                }
            }
            guard case .tls(let reason, _) = error, case .opportunistic = policy.demand else { throw error }
            logger.notice(
                "TLS failed, trying without",
                metadata: ["id": "\(way.job.request.id)", "remote": "\(target.remote)", "reason": "\(reason)"]
            )
            return try await connect(target, policy, terms, inClearText: true)
        }
    }

    private func connect(
        _ target: Target,
        _ policy: SessionPolicy,
        _ terms: SessionTerms,
        inClearText: Bool = false,
        within time: TimeAmount? = nil
    ) async throws(SMTPClient.Failure) -> SMTPClient {
        let isClear = inClearText || policy.demand == .clearText
        let tls =
            isClear ? nil : try security.use(serverName: policy.serverName, clientCertificate: terms.clientCertificate)
        connections.increment()
        let (connection, reached) = try await open(target, terms, within: time)
        let client = SMTPClient(reached, connection, terms: terms, settings: settings)
        do throws(SMTPClient.Failure) {
            try await client.greet(tls: tls, within: time)
            if let name = terms.credentials {
                guard let credentials = security.credentials[name] else {
                    throw SMTPClient.Failure.login("there are no credentials of the name \(name)", nil)
                }
                try await HostLogin(client: client, credentials: credentials).run()
            }
            return client
        } catch {
            switch error {
            case .refused, .login: client.quit()
            default: connection.abort()
            }
            leaveRival(client, of: target)
            throw error
        }
    }

    /// Connects to a host, or where it has an address of the other family and doesn't answer at once, to that (RFC 8305).
    ///
    /// - Returns: the connection, and the host with the address that it leads to. Where that is the other one, its turn has been taken.
    private func open(
        _ target: Target,
        _ terms: SessionTerms,
        within time: TimeAmount?
    ) async throws(SMTPClient.Failure) -> (Connection, Target) {
        let timeout = time.map { min($0, settings.times.connect) } ?? settings.times.connect
        let connect = { [loop] (address: SocketAddress) async throws(ConnectionError) -> Connection in
            if let path = address.pathname { return try await Connection.connect(unix: path, on: loop) }
            return try await Connection.connect(
                to: address,
                from: terms.source.address(for: address),
                on: loop,
                timeout: timeout
            )
        }
        guard let rival = target.rival, !turns.isTaken(rival), await turns.enter(rival) else {
            do throws(ConnectionError) {
                let connection = try await connect(target.address)
                unreachable.forget(target.address)
                return (connection, target)
            } catch {
                unreachable.note(target.address)
                throw .connection(SMTPClient.connecting(error))
            }
        }
        let race = ConnectionRace(on: loop, connect)
        do throws(ConnectionError) {
            let winner = try await race.run(target.address, rival)
            unreachable.forget(winner.address)
            guard winner.address == rival else {
                turns.leave(rival)
                return (winner.connection, target)
            }
            // The other one is slow at best: it's tried last for a while.
            unreachable.note(target.address)
            return (winner.connection, target.moved(to: rival))
        } catch {
            turns.leave(rival)
            unreachable.note(target.address)
            if race.hasBegunSecond { unreachable.note(rival) }
            throw .connection(SMTPClient.connecting(error))
        }
    }

    /// A session for a short question: an idle one, or a new one that has its turn and is greeted within the time.
    func session(
        with target: Target,
        of domain: String,
        _ sts: MTASTSPolicies.Finding,
        within time: TimeAmount
    ) async throws(SMTPClient.Failure) -> SMTPClient {
        let policy = try policy(for: target, of: domain, sts)
        let terms = SessionTerms(
            policy,
            target,
            settings.source(of: nil),
            clientCertificate: settings.clientCertificate(for: target, of: domain)
        )
        if let client = idle.acquire(target.address, terms) { return client }
        guard !turns.isTaken(target.address) else { throw .connection("all sessions that it may have are in use") }
        do throws(SMTPClient.Failure) {
            return try await connect(target, policy, terms, within: time)
        } catch {
            guard case .tls = error, case .opportunistic = policy.demand else { throw error }
            return try await connect(target, policy, terms, inClearText: true, within: time)
        }
    }

    /// What a domain asks for by MTA-STS.
    func mtaSTS(of domain: String) async -> MTASTSPolicies.Finding { await security.mtaSTS(of: domain, cause: .other) }

    /// Takes a session back for the next message or question.
    func release(_ client: SMTPClient) { idle.release(client) }

    /// Ends the idle sessions.
    func close() {
        loop.assertInEventLoop()
        idle.close()
    }
}
