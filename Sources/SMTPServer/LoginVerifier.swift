import Bus
import NIOCore

/// What authd says about a login.
enum LoginOutcome: Equatable {
    /// The address that the user is known by.
    case accepted(address: String)
    case refused
    /// authd cannot say now; the reason.
    case deferred(String)
}

/// Asks authd about user names and passwords, for the sessions of one event loop.
final class LoginVerifier: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private let authority: BusClient

    init(authority: BusClient) {
        self.authority = authority
    }

    func verify(user: String, password: String, client: String) async -> LoginOutcome {
        let reply: Frame
        do {
            reply = try await authority.request(
                Frame("VERIFY", ["service": "smtp", "user": user, "password": password, "client": client])
            )
        } catch {
            return .deferred("\(error)")
        }
        switch reply.replyKind {
        case .ok: return .accepted(address: reply["address"] ?? user)
        case .reject: return .refused
        default: return .deferred(reply["text"] ?? "authd defers")
        }
    }
}
