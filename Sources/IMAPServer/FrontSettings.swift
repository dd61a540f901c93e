import IMAP
import NIOCore

/// What the front was told: checked values, made from the configuration.
package struct FrontSettings: Sendable {
    /// The name in the greeting.
    package var hostname: String
    package var authoritySocket = "run/auth.sock"
    package var mailboxSocket = "run/imap.sock"
    /// How long authd and the mailbox process may take for an answer.
    package var authorityTimeout = TimeAmount.seconds(30)
    package var loginTimeout = TimeAmount.minutes(3)
    package var maximumErrors = 20
    package var allowsPlaintextOnLoopback = false
    /// Octets of a command before login.
    package var maximumCommand = 8192

    package init(hostname: String) { self.hostname = hostname }
}

/// How clients come.
package enum IMAPListenerKind: Sendable {
    /// With STARTTLS.
    case imap
    /// With TLS from the first octet (RFC 8314).
    case imaps
}

/// What is offered (RFC 3501 §7.2.1).
enum Capabilities {
    static let common = ["IMAP4rev1", "LITERAL+", "ID", "ENABLE"]

    static func beforeLogin(mayLogIn: Bool, mayStartTLS: Bool) -> [String] {
        common + ["SASL-IR"] + (mayStartTLS ? ["STARTTLS"] : [])
            + (mayLogIn ? ["AUTH=PLAIN", "AUTH=LOGIN"] : ["LOGINDISABLED"])
    }

    static let afterLogin =
        common + [
            "IDLE", "NAMESPACE", "UNSELECT", "UIDPLUS", "CHILDREN", "MOVE", "ESEARCH", "SPECIAL-USE", "STATUS=SIZE",
        ]

    /// The answer to ID (RFC 2971).
    static let identity = [IDField(name: Array("name".utf8), value: Array("Martlet".utf8))]
}
