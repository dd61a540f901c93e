import Accounts
import NIOCore
import SMTP

/// What authd says about a recipient.
enum RecipientKind: Equatable {
    /// A local mailbox or alias.
    case local
    /// An address of ours that takes reports alone (`<>`).
    case returnPath
    /// A domain that is not ours.
    case foreign
    /// One of our domains has no such mailbox.
    case unknown(status: EnhancedStatusCode, text: String)
    /// Its mailbox takes nothing more for now.
    case full
    /// authd has no answer for now; the reason.
    case deferred(String)

    init(_ error: AccountsError) {
        switch error {
        case .refused(let status, let text): self = .unknown(status: status, text: text)
        case .deferred(.mailboxFull, _): self = .full
        case .deferred(_, let text): self = .deferred(text)
        case .unavailable(let reason): self = .deferred(reason)
        }
    }
}

/// Asks authd about recipients, for the sessions of one event loop. Positive answers are cached for a short time, as mail
/// for one recipient tends to come in bursts, and forgotten when authd says that something changed.
final class RecipientDirectory: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let accounts: AccountsClient
    private let loop: any EventLoop
    private var cache: AnswerCache<MailAddress, RecipientKind>

    init(accounts: AccountsClient, on loop: any EventLoop, lifetime: TimeAmount) {
        self.accounts = accounts
        self.loop = loop
        cache = AnswerCache(lifetime: lifetime)
    }

    /// What kind of recipient an address is.
    func kind(of address: MailAddress) async -> RecipientKind {
        loop.assertInEventLoop()
        if let known = cache.answer(to: address) { return known }
        let asked = cache.generation
        let kind = await ask(address)
        loop.assertInEventLoop()
        if [.local, .returnPath, .foreign].contains(kind) { cache.keep(kind, to: address, askedIn: asked) }
        return kind
    }

    /// What an address leads to.
    func expansion(of address: MailAddress) async throws(AccountsError) -> Expansion {
        try await accounts.expand(address.description)
    }

    /// The address that `<Postmaster>` stands for, or why there is none now.
    func postmaster() async -> (address: MailAddress?, kind: RecipientKind) {
        do throws(AccountsError) {
            let text = try await accounts.postmaster()
            guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else {
                return (nil, .deferred("authd: \(text) is no address"))
            }
            return (address, .local)
        } catch {
            return (nil, RecipientKind(error))
        }
    }

    /// The address that a local part has in Postmaster's domain, which mail for this host by its IP address is for.
    func homeAddress(localPart: String) async -> (address: MailAddress?, kind: RecipientKind) {
        let (postmaster, kind) = await postmaster()
        guard let postmaster else { return (nil, kind) }
        guard let address = try? MailAddress(localPart: localPart, domain: postmaster.domain) else {
            return (nil, .unknown(status: .badRecipientSyntax, text: "malformed address"))
        }
        return (address, await self.kind(of: address))
    }

    /// Anything may have changed.
    func forget() {
        loop.assertInEventLoop()
        cache.forget()
    }

    private func ask(_ address: MailAddress) async -> RecipientKind {
        do throws(AccountsError) {
            switch try await accounts.recipient(address.description) {
            case .local: return .local
            case .returnPath: return .returnPath
            case .foreign: return .foreign
            }
        } catch {
            return RecipientKind(error)
        }
    }
}
