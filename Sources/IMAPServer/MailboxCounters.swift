import CoreMetrics

/// What the mailbox process reports on its status socket, beside sessions.
struct MailboxCounters: Sendable {
    let commands = Counter(label: "commands")
    let badCommands = Counter(label: "bad-commands")
    let messagesAppended = Counter(label: "messages-appended")
}
