import CoreMetrics

/// What the front reports on its status socket.
struct FrontCounters: Sendable {
    let connections = Counter(label: "connections")
    let connectionsRefused = Counter(label: "connections-refused")
    let tlsHandshakes = Counter(label: "tls-handshakes")
    let logins = Counter(label: "logins")
    let loginsFailed = Counter(label: "logins-failed")
    let badCommands = Counter(label: "bad-commands")
}

/// What the mailbox process reports on its status socket.
struct MailboxCounters: Sendable {
    let sessions = Counter(label: "sessions")
    let sessionsRefused = Counter(label: "sessions-refused")
    let commands = Counter(label: "commands")
    let badCommands = Counter(label: "bad-commands")
    let messagesAppended = Counter(label: "messages-appended")
}
