import Bus

/// What greylisting says of mail (RFC 6647).
package enum GreylistAnswer: Equatable, Sendable {
    /// Because it has come back, or because of who sends it.
    case passes(isReturn: Bool)
    /// For so many seconds.
    case wait(Int)
}

extension AccountsClient {
    /// Whether an account may send from an address: its own, one that leads to it, or one that the administrator gives it.
    ///
    /// - Parameters:
    ///   - sender: without brackets.
    ///   - user: the account's address.
    package func mayUse(_ sender: String, user: String) async throws(AccountsError) -> Bool {
        let reply = try await request(Frame("SENDER", ["user": user, "sender": sender]))
        switch reply["allowed"] {
        case "yes": return true
        case "no": return false
        default: throw .unavailable("authd: allowed: \(reply["allowed"] ?? "missing")")
        }
    }

    /// Counts a message that an account is about to send.
    ///
    /// - Throws: `deferred` with 4.7.1 when it's over a limit, `refused` with 5.5.3 when it has more recipients than the
    ///   limit.
    package func send(user: String, recipients: Int) async throws(AccountsError) {
        _ = try await request(Frame("SEND", ["user": user, "recipients": String(recipients)]))
    }

    /// Says that a message that was counted was not taken.
    package func takeBack(user: String, recipients: Int) async throws(AccountsError) {
        _ = try await request(
            Frame("SEND", ["user": user, "recipients": String(recipients), "taken-back": "yes"])
        )
    }

    /// Whether an account is disabled.
    ///
    /// - Parameter user: the account's address.
    package func isDisabled(user: String) async throws(AccountsError) -> Bool {
        let reply = try await request(Frame("ACCOUNT", ["user": user]))
        switch reply["disabled"] {
        case "yes": return true
        case "no": return false
        default: throw .unavailable("authd: disabled: \(reply["disabled"] ?? "missing")")
        }
    }

    /// Whether mail may pass that greylisting is asked about.
    ///
    /// - Parameters:
    ///   - client: its address as text.
    ///   - sender: empty for a report's.
    ///   - identities: domains that SPF or DKIM has shown, where that is known yet.
    package func greylist(
        client: String,
        sender: String,
        recipient: String,
        identities: [String]
    ) async throws(AccountsError) -> GreylistAnswer {
        var question = Frame("GREYLIST", ["client": client, "sender": sender, "recipient": recipient])
        question.fields += identities.map { Frame.Field("identity", $0) }
        let reply = try await request(question)
        if let by = reply["by"] { return .passes(isReturn: by == "triplet") }
        guard let seconds = reply.integer("wait"), seconds >= 0 else { throw .unavailable("authd: no wait") }
        return .wait(seconds)
    }

    /// Says that mail was taken that greylisting made wait: its domains are known by it.
    package func greylistAccepted(identities: [String]) async throws(AccountsError) {
        _ = try await request(Frame("GREYLIST", [.init("accepted", "yes")] + identities.map { .init("identity", $0) }))
    }
}
