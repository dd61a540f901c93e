import SMTP

extension DeliveryResult {
    /// How much of a host's reply is kept. Octets.
    private static let maximumDiagnostic = 1000

    /// What a host's reply means for a recipient. Its enhanced code counts where it has one of the reply's class
    /// (RFC 2034).
    init(_ reply: Reply, from remote: RemoteHost, after command: String) {
        let action: Action
        let verb: String
        switch reply.code.value {
        case 200..<300: (action, verb) = (.relayed, "accepted")
        case 500..<600: (action, verb) = (.failed, "refused")
        default: (action, verb) = (.delayed, "deferred")
        }
        let status = reply.status.flatMap { $0.statusClass == action.statusClass ? $0 : nil }
        self.init(
            action,
            action == .relayed ? .success : status ?? EnhancedStatusCode(action.statusClass, 0, 0),
            "\(verb) \(command)",
            remote: remote,
            // A reply may have 64 KiB, for each of a thousand recipients.
            diagnostic: Self.diagnostic(reply)
        )
    }

    private static func diagnostic(_ reply: Reply) -> String {
        String(decoding: reply.description.utf8.prefix(maximumDiagnostic), as: UTF8.self)
    }

    /// What it means for a recipient that the session with the last host failed.
    ///
    /// - Parameter scope: what it's about, where it's a delay.
    init(_ failure: SMTPClient.Failure, with remote: RemoteHost, scope: Scope = .recipient) {
        switch failure {
        case .connection(let reason): self.init(.delayed, .noAnswer, reason, remote: remote)
        case .source(let reason): self.init(.delayed, .misconfigured, reason)
        case .tls(let reason, _): self.init(.delayed, .encryptionNeeded, "TLS failed: \(reason)", remote: remote)
        case .policy(_, let reason): self.init(.delayed, .encryptionNeeded, reason, remote: remote)
        case .login(let reason, let reply):
            self.init(.delayed, .loginFailed, reason, remote: remote, diagnostic: reply.map(Self.diagnostic))
        case .notEncrypted: self.init(.delayed, .encryptionNeeded, "TLS is not offered", remote: remote)
        // One host's refusal of the session is not the destination's: others may accept, or this one later.
        case .refused(let reply): self = DeliveryResult(reply, from: remote, after: "the session").delayed()
        case .unreadable(let reason): self.init(.delayed, .systemTrouble, reason)
        case .longLine: self.init(.delayed, .systemTrouble, "the message has a line that is too long")
        case .notAssured(let reason):
            self.init(.failed, .tlsNotAssured, "TLS is required on the way, and not assured: \(reason)", remote: remote)
        case .interrupted: self.init(.delayed, .notAccepting, "interrupted")
        }
        if action == .delayed { self.scope = scope }
    }

    /// The host has all the sessions that it may have.
    static func busy(_ remote: RemoteHost) -> DeliveryResult {
        DeliveryResult(.delayed, .hostIsBusy, "the host is busy with other mail", remote: remote, scope: .turn)
    }

    /// The host didn't answer a short while ago, and isn't asked again yet.
    static func silent(_ remote: RemoteHost) -> DeliveryResult {
        DeliveryResult(
            .delayed,
            .noAnswer,
            "could not be connected to a short while ago",
            remote: remote,
            scope: .destination
        )
    }

    /// No host could be reached.
    static func unreachable(_ status: EnhancedStatusCode, _ text: String) -> DeliveryResult {
        DeliveryResult(.delayed, status, text, scope: .destination)
    }
}
