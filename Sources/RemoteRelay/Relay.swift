import Bus
import CoreMetrics
import Logging
import Daemon
import NIOCore
import NIOPosix
import Network
import SMTP
import TLS

/// Takes a message to one of the hosts of its destination. Belongs to one event loop.
final class Relay: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private let settings: RelaySettings
    private let lookup: HostLookup
    private let idle: IdleConnections
    private var unreachable: UnreachableHosts
    private let tls: TLSContext?
    private let pool: NIOThreadPool
    private let loop: any EventLoop
    private let connections = Counter(label: "connections")
    private let reused = Counter(label: "connections-reused")

    init(settings: RelaySettings, lookup: HostLookup, tls: TLSContext?, pool: NIOThreadPool, loop: any EventLoop) {
        self.settings = settings
        self.lookup = lookup
        self.tls = settings.tls == .off ? nil : tls
        self.pool = pool
        self.loop = loop
        idle = IdleConnections(time: settings.reuseTime, on: loop)
        unreachable = UnreachableHosts()
    }

    /// Tries the hosts of the destination in their order until every recipient has an outcome.
    ///
    /// - Returns: an outcome for each recipient, in the order of the request.
    func deliver(_ request: DeliveryRequest) async -> [Outcome] {
        switch await lookup.targets(of: request.destination) {
        case .success(let targets): return await deliver(request, to: unreachable.order(targets))
        case .failure(let failure): return request.recipients.map { _ in failure.outcome }
        }
    }

    /// Tries the targets in the order given.
    func deliver(_ request: DeliveryRequest, to targets: [Target]) async -> [Outcome] {
        let everybody = Array(request.recipients.indices)
        var outcomes: [Int: Outcome] = [:]
        var last = Outcome.later(.noAnswer, "no host of \(request.destination) could be reached")
        for target in targets {
            let open = everybody.filter { outcomes[$0] == nil }
            if open.isEmpty { break }
            if request.isAbandoned() {
                last = .interrupted
                break
            }
            let (found, trouble) = await attempt(request, open, target)
            outcomes.merge(found) { $1 }
            if let trouble { last = Self.outcome(of: trouble, target) }
        }
        return everybody.map { outcomes[$0] ?? last }
    }

    /// One host. A session that waited may have ended unseen: then the same host is tried again on a new one.
    private func attempt(
        _ request: DeliveryRequest,
        _ places: [Int],
        _ target: Target
    ) async -> ([Int: Outcome], SMTPClient.Trouble?) {
        while let client = idle.take(target.address) {
            reused.increment()
            switch await transaction(client, request, places) {
            case .complete(let outcomes): return (outcomes, nil)
            case .broken(let outcomes, let trouble) where outcomes.isEmpty && trouble.mayBeOver: continue
            case .broken(let outcomes, let trouble): return (outcomes, trouble)
            }
        }
        do {
            let client = try await connect(target)
            switch await transaction(client, request, places) {
            case .complete(let outcomes): return (outcomes, nil)
            case .broken(let outcomes, let trouble): return (outcomes, trouble)
            }
        } catch {
            return ([:], error)
        }
    }

    private func transaction(_ client: SMTPClient, _ request: DeliveryRequest, _ places: [Int]) async -> Transaction.End
    {
        let end = await Transaction(client: client, request: request, settings: settings, pool: pool).run(for: places)
        switch end {
        case .complete: idle.put(client)
        case .broken: client.connection.abort()
        }
        return end
    }

    private func connect(_ target: Target) async throws(SMTPClient.Trouble) -> SMTPClient {
        do {
            return try await connect(target, tls: tls)
        } catch .tls(let reason) where settings.tls == .opportunistic {
            _ = reason
            return try await connect(target, tls: nil)
        }
    }

    private func connect(_ target: Target, tls context: TLSContext?) async throws(SMTPClient.Trouble) -> SMTPClient {
        connections.increment()
        let connection: Connection
        do {
            connection = try await Connection.connect(
                to: target.address,
                from: settings.source(for: target.address),
                on: loop,
                timeout: settings.times.connect
            )
        } catch {
            unreachable.note(target.address)
            throw .connection(SMTPClient.words(error))
        }
        unreachable.forget(target.address)
        let client = SMTPClient(target, connection, settings: settings)
        do {
            try await client.greet(tls: context)
            return client
        } catch {
            if case .refused = error { client.quit() } else { connection.abort() }
            throw error
        }
    }

    private static func outcome(of trouble: SMTPClient.Trouble, _ target: Target) -> Outcome {
        let remote = target.description
        switch trouble {
        case .connection(let reason): return .later(.noAnswer, "\(remote): \(reason)", remote: remote)
        case .tls(let reason): return .later(.encryptionNeeded, "\(remote): \(reason)", remote: remote)
        case .notEncrypted: return .later(.encryptionNeeded, "\(remote) does not offer TLS", remote: remote)
        case .refused(let reply):
            var outcome = Outcome(reply, from: remote, after: "the session")
            // One host's no is not the destination's: others may say yes, or this one later.
            if outcome.kind == .reject {
                outcome.kind = .defer
                outcome.status = EnhancedStatusCode(4, outcome.status.subject, outcome.status.detail)
            }
            return outcome
        }
    }

    func close() { idle.close() }
}
