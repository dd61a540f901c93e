import NIOCore
import SMTP

/// Mailboxes into which mail did not fit a moment ago, as local-deliver says.
struct FullMailboxes {
    private var known: [AddressKey: NIODeadline] = [:]
    private let lifetime: TimeAmount
    private let capacity: Int

    /// - Parameters:
    ///   - lifetime: how long a word counts: mail for a mailbox in which there is room again waits no longer than that.
    ///   - capacity: mailboxes that are remembered.
    init(lifetime: TimeAmount = .minutes(1), capacity: Int = 10_000) {
        self.lifetime = lifetime
        self.capacity = capacity
    }

    mutating func add(_ address: MailAddress, now: NIODeadline) {
        if known.count >= capacity { known = known.filter { $0.value > now } }
        // One that isn't remembered costs its senders a delay, not a message.
        if known.count < capacity { known[AddressKey(address)] = now + lifetime }
    }

    func contains(_ address: MailAddress, now: NIODeadline) -> Bool {
        guard !known.isEmpty, let until = known[AddressKey(address)] else { return false }
        return until > now
    }
}
