import Accounts
import NIOCore
import SMTP

/// Asks authd where the mail of an address goes; answers are cached for a moment, for mail often comes in bursts. Belongs
/// to one event loop.
final class ExpansionCache: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private static let maximumCount = 4096

    private let accounts: AccountsClient
    private let loop: any EventLoop
    private let lifetime: TimeAmount
    private var known: [MailAddress: (expansion: Expansion, until: NIODeadline)] = [:]

    init(accounts: AccountsClient, on loop: any EventLoop, lifetime: TimeAmount) {
        self.accounts = accounts
        self.loop = loop
        self.lifetime = lifetime
    }

    /// Where the mail of an address goes.
    func expand(_ address: MailAddress) async throws(AccountsError) -> Expansion {
        loop.assertInEventLoop()
        if let entry = known[address], entry.until > .now() { return entry.expansion }
        let expansion = try await accounts.expand(address.description)
        guard lifetime > .zero else { return expansion }
        loop.assertInEventLoop()
        if known.count >= Self.maximumCount { known.removeAll(keepingCapacity: true) }
        known[address] = (expansion, .now() + lifetime)
        return expansion
    }
}
