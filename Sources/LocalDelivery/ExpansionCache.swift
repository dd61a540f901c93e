import Accounts
import NIOCore
import SMTP

/// Asks authd where the mail of an address goes; answers are cached for a moment, for mail often comes in bursts. Belongs
/// to one event loop.
final class ExpansionCache: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private static let maximumCount = 4096

    private let accounts: AccountsClient
    private let lifetime: TimeAmount
    private var known: [MailAddress: (expansion: Expansion, until: NIODeadline)] = [:]

    init(accounts: AccountsClient, lifetime: TimeAmount) {
        self.accounts = accounts
        self.lifetime = lifetime
    }

    /// Where the mail of an address goes.
    func expand(_ address: MailAddress) async throws(AccountsError) -> Expansion {
        if let entry = known[address], entry.until > .now() { return entry.expansion }
        let expansion = try await accounts.expand(address.description)
        guard lifetime > .zero else { return expansion }
        if known.count >= Self.maximumCount { known.removeAll(keepingCapacity: true) }
        known[address] = (expansion, .now() + lifetime)
        return expansion
    }
}
