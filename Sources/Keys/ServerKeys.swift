import Bus
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Network
import TLS

/// keyd as those see it that show certificates: knows them, follows their changes, and has handshakes signed. While keyd is away,
/// handshakes wait a moment and then fail, each with a line in the log; and so do those that are too many.
package final class ServerKeys: TLSKeys {
    private struct State {
        var certificates: [(served: ServedCertificate, shown: ShownCertificate)] = []
        var waiting: [(id: Int, promise: EventLoopPromise<Void>)] = []
        var lastWaiting = 0
        /// Handshakes that wait for a signature.
        var paused = 0
        var clients: PerLoop<KeysClient>?
        var logger: Logger?
        var follower: BusFollower?
        /// Counts the news: who asks again stops when a later one asks.
        var news = 0
        /// When the log last heard of a handshake that failed, and how many it hasn't heard of.
        var lastFailure: NIODeadline?
        var unlogged = 0
    }

    package let tickets = TLSTickets()
    private let hostname: String
    private let state = NIOLockedValueBox(State())
    private let patience: TimeAmount
    private let maximumPaused: Int

    /// Milliseconds between two attempts.
    private static let pause: Int64 = 50
    /// Milliseconds before certificates are asked for again; twice as many each time.
    private static let pauses: ClosedRange<Int64> = 100...10_000

    /// - Parameters:
    ///   - hostname: the server's own name.
    ///   - patience: how long a handshake waits for keyd.
    ///   - maximumPaused: how many handshakes wait for certificates, and how many for signatures. Each of the latter has a stack of
    ///     OpenSSL's of its own, which is kept for those that come later.
    package init(hostname: String, patience: TimeAmount = .seconds(3), maximumPaused: Int = 1000) {
        self.hostname = hostname
        self.maximumPaused = maximumPaused
        self.patience = patience
    }

    /// Begins to ask keyd.
    ///
    /// - Parameters:
    ///   - path: of keyd's socket, as this process sees it.
    ///   - service: whose tickets these are; nil for one that makes none.
    package func start(path: String, service: String?, on loop: any EventLoop, logger: Logger) {
        let patience = patience
        let clients = PerLoop { KeysClient(path: path, on: $0, timeout: patience) }
        let follower = BusFollower(
            KeyRequest.watch.frame,
            of: "keyd",
            path: path,
            on: loop,
            logger: logger
        ) { [weak self] _ in
            Task(executorPreference: LoopExecutor.of(loop)) {
                let news = self?.state.withLockedValue { state in
                    state.news += 1
                    return state.news
                }
                var pause = Self.pauses.lowerBound
                while let self, await !self.fetch(clients[loop], service) {
                    await loop.pause(.milliseconds(pause))
                    pause = min(2 * pause, Self.pauses.upperBound)
                    guard news == self.state.withLockedValue({ $0.news }) else { return }
                }
            }
        }
        state.withLockedValue { state in
            state.clients = clients
            state.logger = logger
            state.follower = follower
        }
        follower.start()
    }

    /// The certificates that are known now.
    package var known: [ServedCertificate] { state.withLockedValue { $0.certificates.map(\.served) } }

    /// - Returns: whether all is there.
    private func fetch(_ client: KeysClient, _ service: String?) async -> Bool {
        do throws(KeysError) {
            take(try await client.certificates())
            guard let service else { return true }
            tickets.use(try await client.ticketKeys(of: service).keys.map { $0.name + $0.secret })
            return true
        } catch {
            logger?.warning("certificates can't be had now", metadata: ["reason": "\(error)"])
            return false
        }
    }

    private var logger: Logger? { state.withLockedValue { $0.logger } }

    private func take(_ certificates: [ServedCertificate]) {
        let before = state.withLockedValue { $0.certificates }
        var loaded: [(ServedCertificate, ShownCertificate)] = []
        for served in certificates {
            if let known = before.first(where: { $0.served == served }) {
                loaded.append(known)
                continue
            }
            do throws(TLSError) {
                let shown = try ShownCertificate(served.chain, key: served.key.description, ocsp: served.ocsp)
                loaded.append((served, shown))
            } catch {
                logger?.error("a certificate can't be used", metadata: ["reason": "\(error)"])
            }
        }
        let ready = state.withLockedValue { state in
            // Those that were good stay, where there are none any more.
            if !loaded.isEmpty { state.certificates = loaded }
            guard !state.certificates.isEmpty else { return [EventLoopPromise<Void>]() }
            defer { state.waiting = [] }
            return state.waiting.map(\.promise)
        }
        for promise in ready { promise.succeed() }
    }

    // MARK: Handshakes

    package func certificates(for serverName: String?, on loop: any EventLoop) -> EventLoopFuture<[ShownCertificate]> {
        let now = shown(to: serverName)
        if !now.isEmpty { return loop.makeSucceededFuture(now) }
        let promise = loop.makePromise(of: Void.self)
        let place: Int? = state.withLockedValue { state in
            guard state.waiting.count < maximumPaused else { return nil }
            state.lastWaiting += 1
            state.waiting.append((state.lastWaiting, promise))
            return state.lastWaiting
        }
        guard let id = place else {
            promise.fail(failure("\(maximumPaused) handshakes wait for certificates already"))
            return promise.futureResult.map { [] }
        }
        let timer = loop.scheduleTask(in: patience) { [self] in
            let isWaiting = state.withLockedValue { state in
                let count = state.waiting.count
                state.waiting.removeAll { $0.id == id }
                return state.waiting.count < count
            }
            guard isWaiting else { return }
            promise.fail(failure("there is no certificate: keyd has said none"))
        }
        return promise.futureResult.map { [self] in
            timer.cancel()
            return shown(to: serverName)
        }
    }

    /// The certificate of a pair, where keyd has named one.
    package func certificate(ofPair name: String) -> ShownCertificate? {
        state.withLockedValue { state in state.certificates.first { $0.served.pair == name }?.shown }
    }

    private func shown(to client: String?) -> [ShownCertificate] {
        let certificates = state.withLockedValue { $0.certificates }
        let chosen = ServedCertificate.shown(to: client, of: certificates.map(\.served), hostname: hostname)
        return chosen.compactMap { one in certificates.first { $0.served.key == one.key && $0.served == one }?.shown }
    }

    package func sign(_ request: TLSSignatureRequest, on loop: any EventLoop) -> EventLoopFuture<[UInt8]> {
        let promise = loop.makePromise(of: [UInt8].self)
        guard let key = KeyName(request.key), let algorithm = SigningAlgorithm(scheme: request.scheme),
            let client = state.withLockedValue({ $0.clients })?[loop]
        else {
            promise.fail(failure("nothing signs by scheme \(request.scheme)"))
            return promise.futureResult
        }
        let hasPlace = state.withLockedValue { state in
            guard state.paused < maximumPaused else { return false }
            state.paused += 1
            return true
        }
        guard hasPlace else {
            promise.fail(failure("\(maximumPaused) handshakes wait for keyd already"))
            return promise.futureResult
        }
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            defer { state.withLockedValue { $0.paused -= 1 } }
            let end = NIODeadline.now() + patience
            while true {
                do throws(KeysError) {
                    return promise.succeed(try await client.sign(request.octets, with: key, algorithm))
                } catch {
                    // A keyd that was killed is back in a moment; one that has no such key won't have it then.
                    guard case .unavailable = error, .now() + .milliseconds(Self.pause) < end else {
                        return promise.fail(failure("\(error)"))
                    }
                }
                await loop.pause(.milliseconds(Self.pause))
            }
        }
        return promise.futureResult
    }

    /// Says in the log why a handshake fails, of many once in a second.
    private func failure(_ reason: String) -> TLSError {
        let now = NIODeadline.now()
        let unlogged: Int? = state.withLockedValue { state in
            if let last = state.lastFailure, now - last < .seconds(1) {
                state.unlogged += 1
                return nil
            }
            defer { (state.lastFailure, state.unlogged) = (now, 0) }
            return state.unlogged
        }
        guard let unlogged else { return .keys(reason) }
        var metadata: Logger.Metadata = ["reason": "\(reason)"]
        if unlogged > 0 { metadata["others"] = "\(unlogged)" }
        logger?.error("a TLS handshake fails for want of a signature", metadata: metadata)
        return .keys(reason)
    }
}
