import NIOCore

/// Tickets for mailbox processes: 256 random bits, for one service, good once and for a short time.
struct TicketStore {
    private struct Ticket {
        let service: String
        let address: String
        let until: NIODeadline
    }

    private var tickets: [String: Ticket] = [:]
    private let lifetime: TimeAmount
    private let capacity: Int

    init(lifetime: TimeAmount = .seconds(30), capacity: Int = 100_000) {
        self.lifetime = lifetime
        self.capacity = capacity
    }

    /// A new ticket; nil when too many are out.
    mutating func issue(service: String, address: String, now: NIODeadline) -> String? {
        if tickets.count >= capacity { tickets = tickets.filter { $0.value.until > now } }
        guard tickets.count < capacity else { return nil }
        var generator = SystemRandomNumberGenerator()
        let text = (0..<4).map { _ in
            let part = String(UInt64.random(in: .min ... .max, using: &generator), radix: 16)
            return String(repeating: "0", count: 16 - part.utf8.count) + part
        }.joined()
        tickets[text] = Ticket(service: service, address: address, until: now + lifetime)
        return text
    }

    /// The address that a ticket was made for; the ticket is void afterwards, whatever the answer.
    mutating func redeem(_ text: String, service: String, now: NIODeadline) -> String? {
        guard let ticket = tickets.removeValue(forKey: text), ticket.until > now, ticket.service == service else {
            return nil
        }
        return ticket.address
    }
}
