import Accounts
import NIOCore
import SMTP

/// What authd says about a recipient.
enum RecipientKind: Equatable {
    /// A local mailbox or alias.
    case local
    /// A domain that is not ours.
    case foreign
    /// One of our domains has no such mailbox.
    case unknown(status: EnhancedStatusCode, text: String)
    /// authd has no answer for now; the reason.
    case deferred(String)
}

/// Asks authd about recipients, for the sessions of one event loop. Positive answers are cached for a short time, as mail
/// for one recipient tends to come in bursts.
final class RecipientDirectory: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private static let maximumCached = 4096

    private let accounts: AccountsClient
    private let loop: any EventLoop
    private let lifetime: TimeAmount
    private var cache: [MailAddress: (kind: RecipientKind, until: NIODeadline)] = [:]

    init(accounts: AccountsClient, on loop: any EventLoop, lifetime: TimeAmount) {
        self.accounts = accounts
        self.loop = loop
        self.lifetime = lifetime
    }

    /// What kind of recipient an address is.
    func kind(of address: MailAddress) async -> RecipientKind {
        loop.assertInEventLoop()
        if let known = cache[address], known.until > .now() { return known.kind }
        let kind = await ask(address)
        guard lifetime > .zero, kind == .local || kind == .foreign else { return kind }
        if cache.count >= Self.maximumCached { cache.removeAll(keepingCapacity: true) }
        loop.assertInEventLoop()
        cache[address] = (kind, .now() + lifetime)
        return kind
    }

    private func ask(_ address: MailAddress) async -> RecipientKind {
        do throws(AccountsError) {
            switch try await accounts.recipient(address.description) {
            case .local: return .local
            case .foreign: return .foreign
            }
        } catch {
            switch error {
            case .refused(let status, let text): return .unknown(status: status, text: text)
            case .deferred(_, let text): return .deferred(text)
            case .unavailable(let reason): return .deferred(reason)
            }
        }
    }
}
