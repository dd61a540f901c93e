import Accounts
import Login
import NIOCore
import Network
import SASL

/// Gets a ticket from authd and opens a session at the mailbox process with it (docs/protocols.md, auth.sock and
/// imap.sock).
struct LoginHandoff {
    enum Outcome {
        /// The connection carries the session from here on.
        case accepted(Connection, address: String)
        case refused
        case unavailable(String)
    }

    let settings: FrontSettings
    let accounts: AccountsClient

    func start(
        _ credentials: PasswordCredentials,
        client: String,
        isEncrypted: Bool,
        on loop: any EventLoop
    ) async -> Outcome {
        let login: VerifiedLogin
        do throws(AccountsError) {
            login = try await accounts.verify(
                service: .imap,
                user: credentials.user,
                password: credentials.password,
                client: client
            )
        } catch {
            if case .refused = error { return .refused }
            return .unavailable("\(error)")
        }
        guard let ticket = login.ticket else { return .unavailable("authd gave no ticket") }
        let handover = LoginHandover(path: settings.mailboxSocket, timeout: settings.authorityTimeout)
        switch await handover.begin(ticket: ticket, client: client, isEncrypted: isEncrypted, on: loop) {
        case .accepted(let session, _): return .accepted(session, address: login.address)
        case .refused(_, let text): return .unavailable(text)
        case .unavailable(let reason): return .unavailable(reason)
        }
    }
}
