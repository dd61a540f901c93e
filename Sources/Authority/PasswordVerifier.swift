import NIOCore
import NIOPosix
import Network

/// Verifies passwords on threads of their own, a bounded number at a time, and slows down clients that guess.
/// Belongs to one event loop.
final class PasswordVerifier: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    enum Verdict: Equatable {
        case verified
        case refused
        /// Too many logins wait already.
        case busy
    }

    private let pool: NIOThreadPool
    private let loop: any EventLoop
    private let maximumWaiting: Int
    private var waiting = 0
    private var throttle: LoginThrottle
    /// Logins of one client that are being slowed down.
    private var paused: [[UInt8]: Int] = [:]
    /// What an unknown user's password is compared with while there is no account.
    private let dummyHash: String
    /// Whether a password has a hash.
    private let matches: @Sendable (_ password: String, _ hash: String) -> Bool

    /// One client that guesses must not take all the waiting slots.
    private static let maximumPaused = 8

    init(
        pool: NIOThreadPool,
        loop: any EventLoop,
        maximumWaiting: Int,
        throttle: LoginThrottle,
        dummyHash: String,
        matches: @escaping @Sendable (_ password: String, _ hash: String) -> Bool = { PasswordHash.verify($0, $1) }
    ) {
        self.pool = pool
        self.loop = loop
        self.maximumWaiting = maximumWaiting
        self.throttle = throttle
        self.dummyHash = dummyHash
        self.matches = matches
    }

    /// - Parameters:
    ///   - account: nil for an unknown user, which takes as long.
    ///   - typicalHash: of the kind that most accounts have.
    ///   - client: what counts as one client (`SocketAddress.clientKey`).
    func verify(_ password: String, _ account: Account?, typicalHash: String?, client: [UInt8]) async -> Verdict {
        loop.assertInEventLoop()
        guard waiting < maximumWaiting else { return .busy }
        waiting += 1
        defer { waiting -= 1 }
        guard await pause(client) else { return .busy }
        let known = account.flatMap { PasswordHash.isKnown($0.hash) ? $0.hash : nil }
        let hash = known ?? typicalHash ?? dummyHash
        let matches = matches
        let isRight = try? await pool.runIfActive(eventLoop: loop) { matches(password, hash) }.get()
        loop.assertInEventLoop()
        guard let isRight else { return .busy }
        if known != nil, isRight {
            throttle.succeeded(client)
            return .verified
        }
        throttle.failed(client, now: .now())
        return .refused
    }

    /// Delays a client that guessed before; false when too many of its logins wait already.
    private func pause(_ client: [UInt8]) async -> Bool {
        let pause = throttle.pause(for: client, now: .now())
        guard pause > .zero else { return true }
        let count = paused[client] ?? 0
        guard count < Self.maximumPaused else { return false }
        paused[client] = count + 1
        await loop.pause(pause)
        let left = (paused[client] ?? 1) - 1
        paused[client] = left > 0 ? left : nil
        return true
    }
}
