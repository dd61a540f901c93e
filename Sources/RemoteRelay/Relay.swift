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
    private let tls: TLSContext?
    /// For mail that must go over verified TLS; nil where the system has no authorities.
    private let verifyingTLS: TLSContext?
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
        tls: TLSContext?,
        verifyingTLS: TLSContext? = nil,
        reports: TLSReports? = nil,
        signing keys: SigningKeys? = nil,
        loop: any EventLoop,
        logger: Logger
    ) {
        self.verifyingTLS = verifyingTLS
        self.reports = reports
        signer = keys.map { MessageSigner($0, settings: settings, on: loop, logger: logger) }
        self.settings = settings
        self.lookup = lookup
        self.tls = settings.tls == .off ? nil : tls
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
        switch await lookup.targets(of: destination) {
        case .success(let targets): await deliver(job, to: unreachable.order(targets))
        case .failure(let failure): job.report(failure.result)
        }
    }

    /// Tries the targets in the order given.
    func deliver(_ job: DeliveryJob, to targets: [Target]) async {
        loop.assertInEventLoop()
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
        for target in targets where !job.open.isEmpty {
            // Recipients without a result are told to wait by the server.
            if job.isAbandoned { return }
            // Worse hosts are for when a better one is down, not for when it's busy.
            guard await turns.enter(target.address) else {
                // A host that was tried has said more.
                if hasTried { break }
                return job.report(.busy(target.remote))
            }
            hasTried = true
            defer { turns.leave(target.address) }
            if job.isAbandoned { return }
            do throws(Fault) {
                try await attempt(job, message, target)
            } catch {
                if case .interrupted = error.failure { return }
                if error.wasReached { scope = .recipient }
                last = DeliveryResult(error.failure, with: target.remote, scope: scope)
                if !last.action.isFinal { otherFailure = last }
                guard error.failure.otherHostMayHelp else { break }
            }
        }
        job.report(otherFailure ?? last)
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
    }

    /// Tries one host; once more where the message turned out to need other lines.
    private func attempt(_ job: DeliveryJob, _ message: OutgoingMessage, _ target: Target) async throws(Fault) {
        do throws(Fault) {
            try await attemptForAll(job, message, target)
        } catch {
            guard case .longLine = error.failure else { throw error }
            try await attemptForAll(job, message, target)
        }
    }

    /// Tries one host, over as many sessions as its limits ask for.
    private func attemptForAll(_ job: DeliveryJob, _ message: OutgoingMessage, _ target: Target) async throws(Fault) {
        var before: Int
        repeat {
            before = job.open.count
            try await attemptOnce(job, message, target)
        } while !job.open.isEmpty && job.open.count < before && !job.isAbandoned
    }

    /// Tries one host. An idle session may have ended unnoticed: then the same host is tried again on a new one.
    private func attemptOnce(_ job: DeliveryJob, _ message: OutgoingMessage, _ target: Target) async throws(Fault) {
        let places = job.open
        let isVerifying = Self.requiresTLS(job.request)
        while !isVerifying, let client = idle.acquire(target.address) {
            reused.increment()
            do throws(SMTPClient.Failure) {
                return try await transaction(client, job, message, places)
            } catch {
                guard job.open == places, error.newSessionMayHelp else { throw Fault(failure: error, wasReached: true) }
            }
        }
        let client: SMTPClient
        do throws(SMTPClient.Failure) {
            client = isVerifying ? try await connectVerified(target) : try await connect(target, for: job)
        } catch {
            if case .connection = error { throw Fault(failure: error, wasReached: false) }
            throw Fault(failure: error, wasReached: true)
        }
        do throws(SMTPClient.Failure) {
            try await transaction(client, job, message, places)
        } catch {
            throw Fault(failure: error, wasReached: true)
        }
    }

    /// Sends the message over a session. Recipients that it can't be used for any more are left without a result.
    private func transaction(
        _ client: SMTPClient,
        _ job: DeliveryJob,
        _ message: OutgoingMessage,
        _ places: [Int]
    ) async throws(SMTPClient.Failure) {
        do throws(SMTPClient.Failure) {
            // As many recipients at a time as the host takes (RFC 9422).
            let most = client.extensions.limit("RCPTMAX") ?? .max
            var rest = places[...]
            while !rest.isEmpty {
                let part = Array(rest.prefix(most))
                rest = rest.dropFirst(part.count)
                let transaction = Transaction(client: client, job: job, message: message, settings: settings)
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

    private func connect(_ target: Target, for job: DeliveryJob) async throws(SMTPClient.Failure) -> SMTPClient {
        do {
            let client = try await connect(target, tls: tls)
            reports?.note(client, target, job)
            return client
        } catch {
            reports?.note(error, target, job)
            guard case .tls = error, settings.tls == .opportunistic else { throw error }
            return try await connect(target, tls: nil)
        }
    }

    /// A session over TLS that is verified with a host that keeps to REQUIRETLS (RFC 8689 §4.2.1).
    private func connectVerified(_ target: Target) async throws(SMTPClient.Failure) -> SMTPClient {
        guard target.isAssured else { throw .notAssured("the domain's MX records are not signed") }
        guard let verifyingTLS else { throw .notAssured("there are no authorities to verify certificates by") }
        let client = try await connect(target, tls: verifyingTLS, isVerifying: true)
        guard client.extensions.has("REQUIRETLS") else {
            client.quit()
            throw .notAssured("the host does not offer REQUIRETLS")
        }
        return client
    }

    private func connect(
        _ target: Target,
        tls context: TLSContext?,
        isVerifying: Bool = false,
        within time: TimeAmount? = nil
    ) async throws(SMTPClient.Failure) -> SMTPClient {
        connections.increment()
        let connection: Connection
        do {
            connection = try await Connection.connect(
                to: target.address,
                from: settings.source(for: target.address),
                on: loop,
                timeout: time.map { min($0, settings.times.connect) } ?? settings.times.connect
            )
        } catch {
            unreachable.note(target.address)
            throw .connection(SMTPClient.connecting(error))
        }
        unreachable.forget(target.address)
        let client = SMTPClient(target, connection, settings: settings)
        do {
            try await client.greet(tls: context, isVerifying: isVerifying, within: time)
            return client
        } catch {
            if case .refused = error { client.quit() } else { connection.abort() }
            throw error
        }
    }

    /// A session for a short question: an idle one, or a new one that has its turn and is greeted within the time.
    func session(with target: Target, within time: TimeAmount) async throws(SMTPClient.Failure) -> SMTPClient {
        if let client = idle.acquire(target.address) { return client }
        guard !turns.isTaken(target.address) else { throw .connection("all sessions that it may have are in use") }
        do {
            return try await connect(target, tls: tls, within: time)
        } catch {
            guard case .tls = error, settings.tls == .opportunistic else { throw error }
            return try await connect(target, tls: nil, within: time)
        }
    }

    /// Takes a session back for the next message or question.
    func release(_ client: SMTPClient) { idle.release(client) }

    /// Ends the idle sessions.
    func close() {
        loop.assertInEventLoop()
        idle.close()
    }
}
