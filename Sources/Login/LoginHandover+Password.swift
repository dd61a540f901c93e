import Accounts
import Network
import NIOCore

/// What became of a user name and a password.
package enum LoginOutcome {
    /// The connection carries the session from now on; `text` is for people.
    case accepted(Connection, address: String, text: String?)
    /// The user or the password is wrong.
    case wrong
    /// They are right, but the mailbox can't be had: now (a 4.x.x status) or at all. The text is for the client.
    case refused(status: String, text: String)
    /// Nobody can say now; the reason, for the log.
    case unavailable(String)
}

extension LoginHandover {
    /// Asks authd about a password and hands the login over with the ticket that it gives. Call on the client
    /// connection's loop.
    ///
    /// - Parameters:
    ///   - client: the client's address.
    ///   - accounts: authd, for the loop.
    package func logIn(
        _ service: LoginService,
        user: String,
        password: String,
        client: String,
        isEncrypted: Bool,
        accounts: AccountsClient,
        on loop: any EventLoop
    ) async -> LoginOutcome {
        let login: VerifiedLogin
        do throws(AccountsError) {
            login = try await accounts.verify(service: service, user: user, password: password, client: client)
        } catch {
            switch error {
            case .refused: return .wrong
            case .deferred(_, let text): return .unavailable("authd: \(text)")
            case .unavailable(let reason): return .unavailable(reason)
            }
        }
        guard let ticket = login.ticket else { return .unavailable("authd gave no ticket") }
        switch await begin(ticket: ticket, client: client, isEncrypted: isEncrypted, on: loop) {
        case .accepted(let session, let text): return .accepted(session, address: login.address, text: text)
        // The password was right: that the ticket isn't, or that the mailbox process can't ask, is our own trouble.
        case .refused(let status, let text)
        where status == "4.3.0" || !status.hasPrefix("4.") && !status.hasPrefix("5.2."):
            return .unavailable("mailbox process: \(text)")
        case .refused(let status, let text): return .refused(status: status, text: text)
        case .unavailable(let reason): return .unavailable(reason)
        }
    }
}
