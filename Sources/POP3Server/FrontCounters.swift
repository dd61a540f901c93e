import CoreMetrics

/// What the front counts.
struct FrontCounters: Sendable {
    let connections = Counter(label: "connections")
    let connectionsRefused = Counter(label: "connections-refused")
    let logins = Counter(label: "logins")
    let loginsFailed = Counter(label: "logins-failed")
    let loginsDeferred = Counter(label: "logins-deferred")
}
