import DNS
import Logging
import NIOCore
import Network
import TLS

/// A connection to one server that is kept. Several queries are under way on it at the same time, and their answers come
/// in any order (RFC 7766 §6.2.1.1, RFC 7858 §3.3). With TLS there is never a way around it. On one event loop.
final class UpstreamLink: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// How a query ended.
    enum Result: Sendable {
        case answer(DNSMessage)
        case malformed
        case timedOut
        /// The connection ended before the answer came; another one is worth an attempt.
        case lost
        /// No connection is to be had; why.
        case unreachable(String)
    }

    /// How it's known who is at the other end.
    enum Security: Sendable {
        /// It isn't: plain TCP.
        case none
        /// By TLS, with a certificate for that name, or address.
        case verified(TLSContext, name: String)
        /// TLS is wanted, but there is nothing to verify certificates with.
        case missing
    }

    private struct Waiter {
        let query: UpstreamQuery
        let continuation: CheckedContinuation<Result, Never>
        let timer: Scheduled<Void>
        let began: NIODeadline
    }

    private let server: SocketAddress
    private let security: Security
    private let loop: any EventLoop
    /// What the server is called in the log.
    private let label: String
    private let logger: Logger
    /// How many queries may be under way; by their IDs they must be told apart.
    private let maximumWaiters: Int
    /// Shared with other servers' links; nil where there are few of those.
    private let places: StreamPlaces?

    private var connection: Connection?
    private var waiters: [UInt16: Waiter] = [:]
    private var arrivals: [CheckedContinuation<Void, Never>] = []
    private var isConnecting = false
    private var isFlushing = false
    private var isClosed = false
    private var lastReceived = NIODeadline.now()
    /// How many times in a row no connection was to be had, why, and until when none is tried again.
    private var failures = 0
    private var reason = ""
    /// How many connections in a row ended with queries under way and without any answer.
    private var losses = 0
    private var pausedUntil = NIODeadline.uptimeNanoseconds(0)
    private var nextReport = NIODeadline.uptimeNanoseconds(0)
    private var isReported = false

    /// How long the server may take to accept a connection, and again for the handshake.
    private static let connectTimeout = TimeAmount.seconds(3)
    /// How long a connection may be silent; and how long after a query before it counts as dead.
    private static let idleTimeout = TimeAmount.seconds(10)
    private static let deadAfter = TimeAmount.seconds(2)
    /// The pause after the first failure; each further one doubles it, up to the longest.
    private static let firstPause = TimeAmount.milliseconds(250)
    private static let doublings = 7
    /// How often a server may close a connection on which it has answered nothing, before that counts as a failure.
    private static let patience = 3
    /// How often a failure is logged.
    private static let reportInterval = TimeAmount.minutes(1)

    /// - Parameters:
    ///   - maximumWaiters: how many queries may be under way.
    ///   - places: what connections there may be of all links that share it.
    init(
        _ server: SocketAddress,
        label: String,
        _ security: Security,
        on loop: any EventLoop,
        logger: Logger,
        maximumWaiters: Int = 8192,
        places: StreamPlaces? = nil
    ) {
        self.server = server
        self.label = label
        self.security = security
        self.loop = loop
        self.logger = logger
        self.maximumWaiters = maximumWaiters
        self.places = places
    }

    var isEncrypted: Bool {
        if case .none = security { false } else { true }
    }

    /// Whether another query would go out at once, on the connection that there is or on a new one.
    var hasRoom: Bool {
        guard waiters.count < maximumWaiters else { return false }
        return connection != nil || isConnecting || (pausedUntil <= .now() && places?.isFree ?? true)
    }

    /// Asks, and waits for the answer.
    ///
    /// - Parameter make: makes the query, again where its ID is under way already.
    func exchange(timeout: TimeAmount, _ make: () -> UpstreamQuery) async -> Result {
        loop.assertInEventLoop()
        let deadline = NIODeadline.now() + timeout
        if connection == nil { await connect(until: deadline) }
        guard let connection else { return isConnecting ? .timedOut : .unreachable(reason) }
        guard waiters.count < maximumWaiters else { return .unreachable("too many queries are under way") }
        var query = make()
        while waiters[query.id] != nil { query = make() }
        let id = query.id
        return await withCheckedContinuation { continuation in
            let timer = loop.scheduleTask(deadline: deadline) { [self] in timeIsUp(id) }
            waiters[id] = Waiter(query: query, continuation: continuation, timer: timer, began: .now())
            connection.write { $0.writeInteger(UInt16(truncatingIfNeeded: query.octets.count)) }
            connection.write(query.octets)
            flush(connection)
        }
    }

    /// Sends what was written, the queries of one moment together.
    private func flush(_ connection: Connection) {
        guard !isFlushing else { return }
        isFlushing = true
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            repeat {
                // Where it fails, reading does as well.
                try? await connection.flush()
            } while connection.hasOutput && !connection.hasEnded
            isFlushing = false
        }
    }

    private func timeIsUp(_ id: UInt16) {
        guard let waiter = waiters.removeValue(forKey: id) else { return }
        waiter.continuation.resume(returning: .timedOut)
        // Nothing at all came since the query: perhaps nobody is there any more, and only a new connection would tell.
        if lastReceived < waiter.began, waiter.began + Self.deadAfter <= .now() { connection?.abort() }
    }

    // MARK: The connection

    /// Returns when a connection is there or isn't to be had, or at the deadline.
    private func connect(until deadline: NIODeadline) async {
        guard !isClosed, isConnecting || pausedUntil <= .now() else { return }
        if !isConnecting {
            guard places?.take() ?? true else {
                reason = "too many connections are open"
                return
            }
            isConnecting = true
            Task(executorPreference: LoopExecutor.of(loop)) { await self.open() }
        }
        let timer = loop.scheduleTask(deadline: deadline) { [self] in wakeArrivals() }
        defer { timer.cancel() }
        // Everybody is woken at anybody's deadline.
        while isConnecting, .now() < deadline { await withCheckedContinuation { arrivals.append($0) } }
    }

    private func wakeArrivals() {
        let waiting = arrivals
        arrivals = []
        for continuation in waiting { continuation.resume() }
    }

    private func open() async {
        do throws(ConnectionError) {
            let connection = try await Connection.connect(to: server, on: loop, timeout: Self.connectTimeout)
            connection.idleTimeout = Self.connectTimeout
            switch security {
            case .none: break
            case .verified(let context, let name): try await connection.startTLS(client: context, serverName: name)
            case .missing: throw ConnectionError.tls("there are no certificates of authorities")
            }
            connection.idleTimeout = Self.idleTimeout
            succeeded(connection)
        } catch {
            places?.give()
            failed(error)
        }
        isConnecting = false
        wakeArrivals()
    }

    private func succeeded(_ connection: Connection) {
        guard !isClosed else {
            places?.give()
            return connection.abort()
        }
        if losses == 0 { failures = 0 }
        self.connection = connection
        if isReported { logger.info("a forwarder is reachable again", metadata: ["server": "\(label)"]) }
        isReported = false
        Task(executorPreference: LoopExecutor.of(loop)) { await self.read(connection) }
    }

    /// A server that takes queries and closes isn't asked without end.
    private func lostAnswers() {
        losses += 1
        if losses >= Self.patience { failed(.closed) }
    }

    private func failed(_ error: ConnectionError) {
        reason = error.reason
        pausedUntil = .now() + .nanoseconds(Self.firstPause.nanoseconds << Int64(min(failures, Self.doublings)))
        failures += 1
        guard nextReport <= .now() else { return }
        nextReport = .now() + Self.reportInterval
        isReported = true
        logger.warning("a forwarder is not reachable", metadata: ["server": "\(label)", "reason": "\(reason)"])
    }

    /// Hands out answers until the connection ends.
    private func read(_ connection: Connection) async {
        do {
            while true {
                var length = try await connection.readExactly(2)
                receive(try await connection.readExactly(Int(length.readInteger(as: UInt16.self) ?? 0)))
            }
        } catch {
            connection.abort()
            places?.give()
            if self.connection === connection { self.connection = nil }
            if !waiters.isEmpty { lostAnswers() }
            let lost = waiters
            waiters = [:]
            for waiter in lost.values { finish(waiter, .lost) }
        }
    }

    private func receive(_ reply: ByteBuffer) {
        lastReceived = .now()
        losses = 0
        guard let id = reply.getInteger(at: reply.readerIndex, as: UInt16.self), let waiter = waiters[id] else {
            return
        }
        let result: Result
        switch waiter.query.judge(reply) {
        case .answer(let message): result = .answer(message)
        // On a stream nobody forges blindly: a server that spoils the case is believed here.
        case .doubtful: result = (try? DNSMessage(decoding: reply)).map { .answer($0) } ?? .malformed
        case .foreign: return
        case .malformed: result = .malformed
        }
        waiters[id] = nil
        finish(waiter, result)
    }

    private func finish(_ waiter: Waiter, _ result: Result) {
        waiter.timer.cancel()
        waiter.continuation.resume(returning: result)
    }

    func close() {
        isClosed = true
        connection?.abort()
    }
}
