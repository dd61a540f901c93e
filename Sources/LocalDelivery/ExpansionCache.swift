import Accounts
import NIOCore
import SMTP

/// Asks authd where the mail of an address goes; answers are cached for a moment, for mail often comes in bursts, and
/// forgotten when authd says that something changed. Belongs to one event loop.
final class ExpansionCache: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private struct Question: Hashable {
        let address: MailAddress
        let isExpanded: Bool
    }

    private let accounts: AccountsClient
    private let loop: any EventLoop
    private var cache: AnswerCache<Question, Expansion>

    init(accounts: AccountsClient, on loop: any EventLoop, lifetime: TimeAmount) {
        self.accounts = accounts
        self.loop = loop
        cache = AnswerCache(lifetime: lifetime)
    }

    /// Where the mail of an address goes.
    ///
    /// - Parameter isExpanded: whether an alias led to the address: its own mailbox is meant.
    func expand(_ address: MailAddress, isExpanded: Bool) async throws(AccountsError) -> Expansion {
        loop.assertInEventLoop()
        let question = Question(address: address, isExpanded: isExpanded)
        if let known = cache.answer(to: question) { return known }
        let asked = cache.generation
        let expansion = try await accounts.expand(address.description, isExpanded: isExpanded)
        loop.assertInEventLoop()
        cache.keep(expansion, to: question, askedIn: asked)
        return expansion
    }

    /// Any address may lead elsewhere now.
    func forget() {
        loop.assertInEventLoop()
        cache.forget()
    }
}
