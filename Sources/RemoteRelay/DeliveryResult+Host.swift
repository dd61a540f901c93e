import SMTP

extension DeliveryResult {
    /// What is kept of a host's words. Octets.
    private static let maximumWords = 1000

    /// What a host's reply means for a recipient. Its enhanced code counts where it has one of the reply's class
    /// (RFC 2034).
    init(_ reply: Reply, from remote: RemoteHost, after command: String) {
        let action: Action
        let verb: String
        switch reply.code.value {
        case 200..<300: (action, verb) = (.relayed, "accepted")
        case 500..<600: (action, verb) = (.failed, "refused")
        default: (action, verb) = (.delayed, "put off")
        }
        let status = reply.status.flatMap { $0.statusClass == action.statusClass ? $0 : nil }
        self.init(
            action,
            action == .relayed ? .success : status ?? EnhancedStatusCode(action.statusClass, 0, 0),
            "\(verb) \(command)",
            remote: remote,
            // A reply may have 64 KiB, for each of a thousand recipients.
            diagnostic: String(decoding: reply.description.utf8.prefix(Self.maximumWords), as: UTF8.self)
        )
    }

    /// What it means that there was no session with a host, or that it was of no use. For a host that was the last one.
    ///
    /// - Parameter scope: whether no host of the destination could be reached.
    init(_ trouble: SMTPClient.Trouble, with remote: RemoteHost, scope: Scope) {
        switch trouble {
        case .connection(let reason): self.init(.delayed, .noAnswer, reason, remote: remote, scope: scope)
        case .tls(let reason): self.init(.delayed, .encryptionNeeded, "TLS failed: \(reason)", remote: remote)
        case .notEncrypted: self.init(.delayed, .encryptionNeeded, "TLS is not offered", remote: remote)
        // One host's no is not the destination's: others may say yes, or this one later.
        case .refused(let reply): self = DeliveryResult(reply, from: remote, after: "the session").delayed()
        case .unreadable(let reason): self.init(.delayed, .systemTrouble, reason)
        case .interrupted: self.init(.delayed, .notAccepting, "interrupted")
        }
    }

    /// No host could be asked.
    static func unreachable(_ status: EnhancedStatusCode, _ text: String) -> DeliveryResult {
        DeliveryResult(.delayed, status, text, scope: .destination)
    }
}
