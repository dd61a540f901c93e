import ArgumentParser

/// A column of `martlet queue list --columns`.
enum QueueColumn: String, CaseIterable {
    case id, state, age, arrived, octets, sender, user, client, recipient, reason, next, attempts, priority, paused

    /// Reads a list of names with commas between them.
    static func parse(_ text: String) throws -> [QueueColumn] {
        try text.split(separator: ",").map { name in
            guard let column = QueueColumn(rawValue: String(name)) else {
                let names = allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("There is no column \(name); there are \(names).")
            }
            return column
        }
    }

    /// Whether each recipient has one of its own.
    var isOfRecipient: Bool { self == .recipient || self == .reason }

    /// What it shows of a message, for one of its recipients.
    func text(_ entry: QueueEntry, _ recipient: QueueEntry.Recipient?, now: Int) -> String {
        switch self {
        case .id: entry.id
        case .state: entry.state
        case .age: QueueEntry.age(now - entry.arrived)
        case .arrived: String(entry.arrived)
        case .octets: String(entry.octets)
        case .sender: entry.sender
        case .user: entry.user ?? "-"
        case .client: entry.client ?? "-"
        case .recipient: recipient?.recipient ?? "-"
        case .reason: recipient?.reason ?? "-"
        case .next: entry.next.map { QueueEntry.age(max(0, $0 - now)) } ?? "-"
        case .attempts: String(entry.attempts)
        case .priority: String(entry.priority ?? 0)
        case .paused: entry.paused ?? "-"
        }
    }

    /// Lines of a message with a tab between columns: one, or where columns are of recipients, one for each of these.
    static func lines(_ columns: [QueueColumn], _ entry: QueueEntry) -> [String] {
        let recipients: [QueueEntry.Recipient?] =
            columns.contains(where: \.isOfRecipient) && !entry.recipients.isEmpty ? entry.recipients : [nil]
        let now = QueueEntry.now
        return recipients.map { recipient in
            columns.map { QueueEntry.printable($0.text(entry, recipient, now: now)) }.joined(separator: "\t")
        }
    }
}
