/// What CAPA lists (RFC 2449 §6).
package struct Capabilities: Equatable, Sendable {
    /// Whether STLS would be taken now.
    package var startTLS: Bool
    /// Whether a password would be taken by USER now.
    package var login: Bool
    /// The SASL mechanisms that are offered now (RFC 5034 §3).
    package var mechanisms: [String]

    package init(startTLS: Bool, login: Bool, mechanisms: [String]) {
        self.startTLS = startTLS
        self.login = login
        self.mechanisms = mechanisms
    }

    /// One line each.
    package var lines: [String] {
        var lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        if login { lines.append("USER") }
        if !mechanisms.isEmpty { lines.append("SASL " + mechanisms.joined(separator: " ")) }
        if startTLS { lines.append("STLS") }
        lines.append("IMPLEMENTATION Martlet")
        return lines
    }
}
