import Cryptography
import NIOCore
import NIOPosix
import Network
import SASL

/// Verifies passwords on threads of their own, a bounded number at a time, and slows down who guesses. Belongs to one event
/// loop.
final class PasswordVerifier: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    enum Verdict: Equatable {
        case verified
        case refused
        /// Too many logins wait already, or nobody can say now.
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

    /// What a login by password came to.
    struct Login: Sendable {
        let verdict: Verdict
        /// The app password that it was; nil for the account's own.
        var appPassword: AppPassword?
        /// What SCRAM recognises the account's own password by, where it was asked for and the password is right.
        var verifier: ScramVerifier?
    }

    /// How a verifier is made.
    struct ScramMaking: Sendable {
        let salt: [UInt8]
        let iterations: Int
    }

    /// - Parameters:
    ///   - user: what failures are counted by where there is no account.
    ///   - account: nil for an unknown user, which takes as long.
    ///   - typicalHash: of the kind that most accounts have.
    ///   - client: what counts as one client (`SocketAddress.clientKey`).
    ///   - appPasswords: of the account, for the service.
    ///   - making: how to make a verifier of the account's own password; nil where none is wanted.
    func verify(
        _ password: String,
        user: String,
        _ account: Account?,
        typicalHash: String?,
        client: [UInt8],
        appPasswords: [AppPassword] = [],
        making: ScramMaking? = nil
    ) async -> Login {
        loop.assertInEventLoop()
        let known = account.flatMap { PasswordHash.isKnown($0.hash) ? $0.hash : nil }
        let hash = known ?? typicalHash ?? dummyHash
        let isLocked = account?.isLocked ?? true
        let secret = secrets.hash(Array(password.utf8))
        var login = Login(verdict: .refused)
        let attempt = attempt(client, user, account)
        let verdict = await judge(attempt, secret: secret) { [self] in
            if !isLocked, let appPassword = appPasswords.first(where: { $0.isRight(password) }) {
                login.appPassword = appPassword
                return .verified
            }
            guard await places.enter(client, isFriend: throttle.isFriend(attempt)) else { return .busy }
            defer { places.leave() }
            let matches = matches
            let making = known == nil ? nil : making
            let result = try? await pool.runIfActive(eventLoop: loop) { () -> (Bool, ScramVerifier?) in
                guard matches(password, hash) else { return (false, nil) }
                return (
                    true,
                    making.flatMap { ScramVerifier(password: password, salt: $0.salt, iterations: $0.iterations) }
                )
            }.get()
            loop.assertInEventLoop()
            guard let (isRight, verifier) = result else { return .busy }
            login.verifier = verifier
            return known != nil && isRight ? .verified : .refused
        }
        return Login(
            verdict: verdict,
            appPassword: login.appPassword,
            verifier: verdict == .verified ? login.verifier : nil
        )
    }

    /// Has a login judged by something else than a password's hash, which costs little: it takes nobody's place.
    ///
    /// - Parameters:
    ///   - secret: by what the same guess is recognised when it comes again.
    ///   - isRight: is asked after the wait.
    func verify(
        secret: some Sequence<UInt8>,
        user: String,
        _ account: Account?,
        client: [UInt8],
        isRight: () -> Verdict
    ) async -> Verdict {
        await judge(attempt(client, user, account), secret: secrets.hash(Array(secret)), isRight)
    }

    private func attempt(_ client: [UInt8], _ user: String, _ account: Account?) -> LoginThrottle.Attempt {
        LoginThrottle.Attempt(client: client, account: account.map { AddressKey($0.address).text } ?? user)
    }

    /// Slows a login down as its like before it deserve, has it judged, and remembers what came of it.
    private func judge(
        _ attempt: LoginThrottle.Attempt,
        secret: UInt64,
        _ judgement: () async -> Verdict
    ) async -> Verdict {
        loop.assertInEventLoop()
        let pause = throttle.pause(for: attempt, secret: secret, now: loop.now)
        if pause > .zero {
            guard await slowed.wait(pause, attempt, isFriend: throttle.isFriend(attempt)) else { return .busy }
        }
        let verdict = await judgement()
        loop.assertInEventLoop()
        switch verdict {
        case .verified: throttle.succeeded(attempt, secret: secret, now: loop.now)
        case .refused: throttle.failed(attempt, secret: secret, now: loop.now)
        case .busy: break
        }
        return verdict
    }
}
