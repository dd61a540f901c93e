import NIOCore
import NIOPosix
import Network

/// Verifies passwords on threads of their own, a bounded number at a time, and slows down clients that guess.
/// Belongs to one event loop.
final class PasswordVerifier: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    enum Outcome: Equatable {
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
    /// What an unknown user's password is compared with while there is no account.
    private let standIn: String

    init(pool: NIOThreadPool, loop: any EventLoop, maximumWaiting: Int, throttle: LoginThrottle, standIn: String) {
        self.pool = pool
        self.loop = loop
        self.maximumWaiting = maximumWaiting
        self.throttle = throttle
        self.standIn = standIn
    }

    /// - Parameters:
    ///   - account: nil for an unknown user, which takes as long.
    ///   - typicalHash: of the kind that most accounts have.
    ///   - client: what counts as one client (`SocketAddress.clientKey`).
    func verify(_ password: String, _ account: Account?, typicalHash: String?, client: [UInt8]) async -> Outcome {
        guard waiting < maximumWaiting else { return .busy }
        waiting += 1
        defer { waiting -= 1 }
        let pause = throttle.pause(for: client, now: .now())
        if pause > .zero { await loop.pause(pause) }
        let known = account.flatMap { PasswordHash.isKnown($0.hash) ? $0.hash : nil }
        let hash = known ?? typicalHash ?? standIn
        let matches = try? await pool.runIfActive(eventLoop: loop) { PasswordHash.verify(password, hash) }.get()
        guard let matches else { return .busy }
        if known != nil, matches {
            throttle.succeeded(client)
            return .verified
        }
        throttle.failed(client, now: .now())
        return .refused
    }
}
