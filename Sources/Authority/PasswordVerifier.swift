import Cryptography
import NIOCore
import NIOPosix
import Network

/// Verifies passwords on threads of their own, a bounded number at a time, and slows down who guesses. Belongs to one event
/// loop.
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
    private var throttle: LoginThrottle
    /// By what passwords are remembered that were wrong: the key dies with the process.
    private let secrets = SipHash()
    private let slowed: SlowedLogins
    private let places: LoginPlaces
    /// What an unknown user's password is compared with while there is no account.
    private let dummyHash: String
    /// Whether a password has a hash.
    private let matches: @Sendable (_ password: String, _ hash: String) -> Bool

    /// - Parameters:
    ///   - threads: passwords that are verified at the same time.
    ///   - maximumWaiting: logins that may wait for that. Those that are slowed down don't count yet.
    init(
        pool: NIOThreadPool,
        threads: Int = 1,
        loop: any EventLoop,
        maximumWaiting: Int,
        throttle: LoginThrottle,
        dummyHash: String,
        matches: @escaping @Sendable (_ password: String, _ hash: String) -> Bool = { PasswordHash.verify($0, $1) }
    ) {
        self.pool = pool
        self.loop = loop
        self.throttle = throttle
        slowed = SlowedLogins(on: loop)
        places = LoginPlaces(on: loop, places: threads, maximumWaiting: maximumWaiting)
        self.dummyHash = dummyHash
        self.matches = matches
    }

    /// Logins that are being slowed down.
    var slowedLogins: Int { slowed.count }

    /// - Parameters:
    ///   - user: what failures are counted by where there is no account.
    ///   - account: nil for an unknown user, which takes as long.
    ///   - typicalHash: of the kind that most accounts have.
    ///   - client: what counts as one client (`SocketAddress.clientKey`).
    func verify(
        _ password: String,
        user: String,
        _ account: Account?,
        typicalHash: String?,
        client: [UInt8]
    ) async -> Verdict {
        loop.assertInEventLoop()
        let name = account.map { AddressKey($0.address).text } ?? user
        let attempt = LoginThrottle.Attempt(client: client, account: name)
        let isFriend = throttle.isFriend(attempt)
        let secret = secrets.hash(Array(password.utf8))
        let pause = throttle.pause(for: attempt, secret: secret, now: loop.now)
        if pause > .zero {
            guard await slowed.wait(pause, attempt, isFriend: isFriend) else { return .busy }
        }
        guard await places.enter(client, isFriend: isFriend) else { return .busy }
        defer { places.leave() }
        let known = account.flatMap { PasswordHash.isKnown($0.hash) ? $0.hash : nil }
        let hash = known ?? typicalHash ?? dummyHash
        let matches = matches
        let isRight = try? await pool.runIfActive(eventLoop: loop) { matches(password, hash) }.get()
        loop.assertInEventLoop()
        guard let isRight else { return .busy }
        if known != nil, isRight {
            throttle.succeeded(attempt, secret: secret, now: loop.now)
            return .verified
        }
        throttle.failed(attempt, secret: secret, now: loop.now)
        return .refused
    }
}
