import Daemon
import NIOCore

/// How the front treats its clients.
package struct FrontSettings: Sendable {
    package var hostname: String
    package var authoritySocket = "run/auth.sock"
    package var mailboxSocket = "run/pop3.sock"
    /// Faults of a client before it is dropped; a failed login is one.
    package var maximumErrors = 10
    /// The longest wait for a command. RFC 1939 §3 wants at least 10 minutes.
    package var idleTimeout = TimeAmount.minutes(10)
    /// A client must have logged in after so long.
    package var loginTimeout = TimeAmount.minutes(3)
    /// Whether clients on this machine may log in without TLS.
    package var plaintextOnLoopback = false

    package init(hostname: String) { self.hostname = hostname }

    init(_ configuration: Configuration) {
        hostname = configuration.hostname
        maximumErrors = configuration.pop3d.maximumErrors
        idleTimeout = configuration.pop3d.idleTimeout
        loginTimeout = configuration.pop3d.loginTimeout
        plaintextOnLoopback = configuration.pop3d.plaintextOnLoopback
    }
}

/// What the two processes take of a line.
enum LineLimit {
    /// A command without its end. Octets. RFC 2449 §4 allows 255.
    static let command = 1024
    /// A SASL response in base64. Octets.
    static let response = 8192
}
