import IMAP
import SASL

/// The capabilities that are announced (RFC 3501 §7.2.1).
enum Capabilities {
    static let common = ["IMAP4rev1", "LITERAL+", "ID", "ENABLE"]

    static func beforeLogin(mayLogIn: Bool, mayStartTLS: Bool) -> [String] {
        common + ["SASL-IR"] + (mayStartTLS ? ["STARTTLS"] : [])
            + (mayLogIn ? SASLMechanisms.names.map { "AUTH=\($0)" } : ["LOGINDISABLED"])
    }

    static let afterLogin =
        common + [
            "IDLE", "NAMESPACE", "UNSELECT", "UIDPLUS", "CHILDREN", "MOVE", "ESEARCH", "SPECIAL-USE", "STATUS=SIZE",
        ]

    /// The answer to ID (RFC 2971).
    static let identity = [IDField(name: Array("name".utf8), value: Array("Martlet".utf8))]
}
