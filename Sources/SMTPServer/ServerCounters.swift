import CoreMetrics

/// What smtpd counts, beside what every front does.
package struct ServerCounters: Sendable {
    let earlyTalkers = Counter(label: "early-talkers")
    let connectionsTooFast = Counter(label: "connections-too-fast")
    let messages = Counter(label: "messages")
    let messageOctets = Counter(label: "message-octets")
    let messagesDeferred = Counter(label: "messages-deferred")
    let messagesDiscarded = Counter(label: "messages-discarded")
    let messagesRefused = Counter(label: "messages-refused")
    let milterFailures = Counter(label: "milter-failures")
    let recipientsRefused = Counter(label: "recipients-refused")
    let recipientsDeferred = Counter(label: "recipients-deferred")

    /// Counters at zero, in the metrics system that the process has.
    package init() {}
}
