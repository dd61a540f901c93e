import Accounts
import NIOCore
import Network

/// Tells authd which mailboxes are full, so that smtpd takes no more mail for them. Belongs to one event loop.
final class FullMailboxReports: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let accounts: AccountsClient
    private let loop: any EventLoop
    /// When authd was told of each.
    private var told: [String: NIODeadline] = [:]

    /// A mailbox in which a message of more octets doesn't fit may have room for others.
    private static let smallMessage = 64 * 1024
    /// authd remembers it for a minute, and a burst of failures says it once.
    private static let interval = TimeAmount.seconds(10)
    private static let maximumCount = 4096

    init(_ accounts: AccountsClient, on loop: any EventLoop) {
        self.accounts = accounts
        self.loop = loop
    }

    /// A message of this size didn't fit into the mailbox of an account.
    func report(_ address: String, octets: Int) {
        loop.assertInEventLoop()
        let now = NIODeadline.now()
        guard octets <= Self.smallMessage, told[address].map({ now - $0 >= Self.interval }) ?? true else { return }
        if told.count >= Self.maximumCount { told.removeAll(keepingCapacity: true) }
        told[address] = now
        // Nobody waits for it: where it doesn't get through, the next failure says it again.
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            do { try await accounts.isFull(address) } catch { told[address] = nil }
        }
    }
}
