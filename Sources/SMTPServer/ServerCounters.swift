import CoreMetrics

/// What smtpd counts.
package struct ServerCounters: Sendable {
    let connections = Counter(label: "connections")
    let connectionsRefused = Counter(label: "connections-refused")
    let tlsHandshakes = Counter(label: "tls-handshakes")
    let messages = Counter(label: "messages")
    let messageOctets = Counter(label: "message-octets")
    let messagesDeferred = Counter(label: "messages-deferred")
    let messagesRefused = Counter(label: "messages-refused")
    let recipientsRefused = Counter(label: "recipients-refused")
    let recipientsDeferred = Counter(label: "recipients-deferred")
    let logins = Counter(label: "logins")
    let loginsFailed = Counter(label: "logins-failed")

    /// Counters at zero, in the metrics system that the process has.
    package init() {}
}
