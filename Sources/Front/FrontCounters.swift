import CoreMetrics

/// What every front reports on its status socket.
package struct FrontCounters: Sendable {
    let connections = Counter(label: "connections")
    let connectionsRefused = Counter(label: "connections-refused")
    let tlsHandshakes = Counter(label: "tls-handshakes")
    let logins = Counter(label: "logins")
    let loginsFailed = Counter(label: "logins-failed")
    let loginsDeferred = Counter(label: "logins-deferred")
    let faults = Counter(label: "bad-commands")
}
