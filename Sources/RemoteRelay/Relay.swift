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
    /// Addresses that could not be connected to within the last minute: they are tried last.
    private var unreachable = RestTimes<SocketAddress>(first: .minutes(1), longest: .minutes(1))
    /// Those where that took long: they aren't tried until they have rested.
    private var silent: RestTimes<SocketAddress>
    /// Logins that a host didn't take: an account that is tried with each message is soon locked.
    private var refusedLogins = RestTimes<Login>(first: .minutes(1), longest: .minutes(15))
    /// Addresses where a session with commands that had gone together ended among their answers: there they go one by one.
    private var pipelineBreakers = RestTimes<SocketAddress>(first: .hours(24), longest: .hours(24))
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
        silent = RestTimes(first: .minutes(1), longest: .hours(1), probe: settings.times.connect + .seconds(5))
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
            await deliver(job, to: order(targets), finding)
        case .failure(let failure): job.report(failure.result)
        }
    }

    /// The targets in their order, those that could not be connected to a moment ago behind the others.
    private func order(_ targets: [Target]) -> [Target] {
        let now = NIODeadline.now()
        let isBad = { [unreachable] (target: Target) in unreachable.isResting(target.address, at: now) }
        return targets.filter { !isBad($0) } + targets.filter(isBad)
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
        // How far the best of them has gone.
        var stage = Fault.Stage.unreached
        var hasTried = false
        // That one host can't keep to REQUIRETLS says nothing about those that can't be reached now.
        var otherFailure: DeliveryResult?
        // A race has tried two.
        var tried: Set<Place> = []
        for (index, one) in targets.enumerated() where !job.open.isEmpty && !tried.contains(Place(one)) {
            var target = one
            if targets.indices.contains(index + 1) { target.rival = rival(of: one, targets[index + 1], tried) }
            // Recipients without a result are told to wait by the server.
            if job.isAbandoned { return }
            if isSilent(target.address, job) {
                if !hasTried { last = .silent(target.remote) }
                continue
            }
            // Worse hosts are for when a better one is down, not for when it's busy.
            guard await turns.enter(target.address, every: settings.interval(of: target)) else {
                // A host that was tried has said more, but for what it can't do and this one may.
                if hasTried {
                    if otherFailure == nil, last.action.isFinal { otherFailure = .busy(target.remote) }
                    break
                }
                return job.report(.busy(target.remote))
            }
            defer { turns.leave(target.address) }
            if job.isAbandoned { return }
            // Others have found out meanwhile; if nobody does, this one.
            guard silent.admits(target.address) || !isSilent(target.address, job) else {
                if !hasTried { last = .silent(target.remote) }
                continue
            }
            hasTried = true
            tried.insert(Place(target))
            do throws(Fault) {
                try await attempt(way, message, target)
            } catch {
                if case .interrupted = error.failure { return }
                tried.formUnion(error.tried)
                let wasReached = error.stage > .unreached
                let isFirst = stage == .unreached
                stage = max(stage, error.stage)
                var result = DeliveryResult(error.failure, with: error.target.remote)
                result.security = error.policy?.security(nil)
                // A host that was reached has said more than one that wasn't, but what it can't do, the other may.
                if wasReached || isFirst { last = result }
                if !result.action.isFinal, wasReached || otherFailure == nil { otherFailure = result }
                guard error.failure.otherHostMayHelp else { break }
            }
        }
        var result = otherFailure ?? last
        if !result.action.isFinal, result.scope != .turn { result.scope = stage.scope }
        job.report(result)
    }

    /// The next target as one to be connected to beside this one.
    private func rival(of target: Target, _ next: Target, _ tried: Set<Place>) -> SocketAddress? {
        guard !tried.contains(Place(next)), !silent.isResting(next.address) else { return nil }
        return next.rival(of: target)
    }

    /// Whether an address didn't answer lately, and nobody is to find out how it is now. What the administrator wants tried finds out,
    /// unless somebody has just done so.
    private func isSilent(_ address: SocketAddress, _ job: DeliveryJob) -> Bool {
        silent.isResting(address) && !(job.request.isFlushed && !silent.hasFailed(address, within: Self.flushPause))
    }

    /// Flushed mail for many domains of one dead host doesn't try it with each message.
    private static let flushPause = TimeAmount.seconds(5)

    /// An address under the name of one host: as another's it may have to show something else.
    private struct Place: Hashable {
        let host: String
        let address: SocketAddress

        init(_ target: Target) {
            host = target.host
            address = target.address
        }
    }

    /// What is logged in with, and where.
    private struct Login: Hashable {
        let host: String
        let credentials: String
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
        /// How far it went.
        enum Stage: Int, Comparable {
            /// The host didn't answer.
            case unreached
            /// There is no session with it.
            case refused
            /// There was one, or what's wrong isn't the host.
            case begun

            static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }

            /// What a delay is about when nothing went further than this.
            var scope: DeliveryResult.Scope {
                switch self {
                case .unreached: .destination
                case .refused: .session
                case .begun: .recipient
                }
            }
        }

        let failure: SMTPClient.Failure
        var stage: Stage
        /// The host that failed, with the address that was connected to.
        let target: Target
        /// What was asked of the session; nil where that's what failed.
        var policy: SessionPolicy?
        /// The other address, where that was tried in vain beside it.
        var rival: SocketAddress?

        init(
            _ failure: SMTPClient.Failure,
            _ target: Target,
            _ stage: Stage,
            policy: SessionPolicy? = nil,
            rival: SocketAddress? = nil
        ) {
            self.failure = failure
            self.target = target
            self.policy = policy
            self.rival = rival
            self.stage =
                switch failure {
                // The administrator's mistake, or this message: others' mail has no part in it.
                case .source, .unreadable, .longLine: .begun
                // The host has said so itself, wherever.
                case .refused: .refused
                default: stage
                }
        }

        var tried: [Place] {
            [Place(target)] + (rival.map { [Place(target.moved(to: $0))] } ?? [])
        }
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
            throw Fault(error, target, way.requiresTLS ? .begun : .refused)
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
                    throw Fault(error, client.target, .begun, policy: policy)
                }
            }
        }
        let client: SMTPClient
        do throws(Fault) {
            client = try await connect(target, policy, terms, for: way)
        } catch {
            var fault = error
            fault.policy = policy
            // Other mail may go without.
            if way.requiresTLS, fault.stage == .refused, fault.failure.isAboutTLS { fault.stage = .begun }
            throw fault
        }
        defer { leaveRival(client, of: target) }
        do throws(SMTPClient.Failure) {
            try await transaction(client, policy, job, message, places)
        } catch {
            throw Fault(error, client.target, .begun, policy: policy)
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
                    security: protection,
                    mayPipeline: !pipelineBreakers.isResting(client.target.address)
                )
                try await transaction.run(for: part)
                // It may have taken all messages that it takes.
                guard client.isReusable else { break }
            }
        } catch {
            // Never end a message that is not whole.
            client.connection.abort()
            if case .connection = error, client.isPipelining { pipelineBreakers.note(client.target.address) }
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
    ) async throws(Fault) -> SMTPClient {
        do throws(Fault) {
            let client = try await connect(target, policy, terms)
            reports?.note(client, client.target, way)
            guard !way.requiresTLS || client.extensions.has("REQUIRETLS") else {
                client.quit()
                leaveRival(client, of: target)
                throw Fault(.notAssured("the host does not offer REQUIRETLS"), client.target, .begun)
            }
            return client
        } catch {
            reports?.note(error.failure, error.target, way)
            if way.requiresTLS {
                switch error.failure {
                // Without a finding about the certificate it may be anything that passes.
                case .tls(let reason, .some): throw Fault(.notAssured(reason), error.target, .begun)
                case .notEncrypted: throw Fault(.notAssured("TLS is not offered"), error.target, .begun)
                default: throw error
                }
            }
            guard case .tls(let reason, _) = error.failure, case .opportunistic = policy.demand else { throw error }
            logger.notice(
                "TLS failed, trying without",
                metadata: ["id": "\(way.job.request.id)", "remote": "\(error.target.remote)", "reason": "\(reason)"]
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
    ) async throws(Fault) -> SMTPClient {
        let isClear = inClearText || policy.demand == .clearText
        let login = terms.credentials.map { Login(host: target.host, credentials: $0) }
        let tls: SMTPClient.TLSUse?
        do throws(SMTPClient.Failure) {
            if let login, !refusedLogins.admits(login) {
                throw .login("the host didn't take our credentials a moment ago", nil)
            }
            tls =
                isClear
                ? nil : try security.use(serverName: policy.serverName, clientCertificate: terms.clientCertificate)
        } catch {
            throw Fault(error, target, .refused)
        }
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
                if let login { refusedLogins.forget(login) }
            }
            return client
        } catch {
            switch error {
            case .login(_, let reply):
                if reply != nil, let login { refusedLogins.note(login) }
                client.quit()
            case .refused: client.quit()
            default: connection.abort()
            }
            leaveRival(client, of: target)
            if case .connection = error { throw Fault(error, reached, .unreached) }
            throw Fault(error, reached, .refused)
        }
    }

    /// Connects to a host, or where it has an address of the other family and doesn't answer at once, to that (RFC 8305).
    ///
    /// - Returns: the connection, and the host with the address that it leads to. Where that is the other one, its turn has been taken.
    private func open(
        _ target: Target,
        _ terms: SessionTerms,
        within time: TimeAmount?
    ) async throws(Fault) -> (Connection, Target) {
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
        let begun = NIODeadline.now()
        guard let rival = target.rival, !turns.isTaken(rival),
            await turns.enter(rival, every: settings.interval(of: target))
        else {
            do throws(ConnectionError) {
                let connection = try await connect(target.address)
                noteAnswer(of: target.address)
                return (connection, target)
            } catch {
                note(error, target.address, since: begun)
                throw Fault(connecting(error, target, terms), target, .unreached)
            }
        }
        let race = ConnectionRace(on: loop, connect)
        do throws(ConnectionError) {
            let winner = try await race.run(target.address, rival)
            noteAnswer(of: winner.address)
            guard winner.address == rival else {
                turns.leave(rival)
                return (winner.connection, target)
            }
            // The other one is slow at best: it's tried last for a while.
            unreachable.note(target.address)
            return (winner.connection, target.moved(to: rival))
        } catch {
            turns.leave(rival)
            note(error, target.address, since: begun)
            if race.hasBegunSecond { note(error, rival, since: begun) }
            throw Fault(
                connecting(error, target, terms),
                target,
                .unreached,
                rival: race.hasBegunSecond ? rival : nil
            )
        }
    }

    private func connecting(_ error: ConnectionError, _ target: Target, _ terms: SessionTerms) -> SMTPClient.Failure {
        SMTPClient.connecting(error, from: terms.source.address(for: target.address))
    }

    /// A refused connection costs nothing; one that takes this long isn't tried with each message.
    private static let silence = TimeAmount.seconds(2)

    private func note(_ error: ConnectionError, _ address: SocketAddress, since begun: NIODeadline) {
        if case .badSource = error { return }
        unreachable.note(address)
        if error == .timedOut || .now() - begun >= Self.silence { silent.note(address) } else { silent.forget(address) }
    }

    private func noteAnswer(of address: SocketAddress) {
        unreachable.forget(address)
        silent.forget(address)
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
        if silent.isResting(target.address) { throw .connection("it didn't answer a moment ago") }
        do throws(Fault) {
            do throws(Fault) {
                return try await connect(target, policy, terms, within: time)
            } catch {
                guard case .tls = error.failure, case .opportunistic = policy.demand else { throw error }
                return try await connect(target, policy, terms, inClearText: true, within: time)
            }
        } catch {
            throw error.failure
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
