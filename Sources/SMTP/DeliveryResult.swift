/// What became of a message for one recipient in one attempt, in the terms of delivery reports (RFC 3464 §2.3.3).
package struct DeliveryResult: Hashable, Sendable {
    /// The action field of a report.
    package enum Action: String, Hashable, Sendable {
        /// The message is in the recipient's mailbox.
        case delivered
        /// Another host accepted it, which may not support delivery reports.
        case relayed
        /// It was forwarded to the addresses that the recipient is an alias for.
        case expanded
        /// Not delivered yet: it's tried again.
        case delayed
        /// It will not be delivered.
        case failed
    }

    /// What a delay is about.
    package enum Scope: String, Hashable, Sendable {
        /// This recipient: others at the same destination may be tried.
        case recipient
        /// The destination as a whole: it could not be reached, so nothing else needs to be tried there now.
        case destination
        /// The session: the hosts that answered let none begin, as they do where they have too many, or don't want us. Fewer at a
        /// time, a little later, may do better.
        case session
        /// The moment: nothing was tried, because others had their turn. It's no attempt.
        case turn
    }

    /// What the queue does next.
    package enum NextStep: Hashable, Sendable {
        /// Nothing: the recipient is done.
        case forget
        /// Tell the sender, then forget.
        case report
        /// Try this recipient again later.
        case retry
        /// Try nothing at the destination for a while.
        case retryDestination
        /// Try again in a moment, as if nothing had been.
        case waitForTurn
    }

    package var action: Action
    /// Its class agrees with the action: 2 for success, 4 for a delay, 5 for a failure, or 4 for one that was a delay until
    /// the message's time was over.
    package private(set) var status: EnhancedStatusCode
    /// For people: our own words.
    package var text: String
    /// The host that answered.
    package var remote: RemoteHost?
    /// That host's own words.
    package var diagnostic: String?
    /// How many addresses an alias led to.
    package var expanded: Int?
    /// Only a delay can be about more than the recipient.
    package var scope: Scope
    /// The message may have been delivered, but that isn't certain, such as where a disk failed at the last step: the next
    /// attempt checks first.
    package var isUncertain = false
    /// The host that has the message tells the sender itself what comes of it, as it was asked to (RFC 3461 §5.2.2).
    package var isReportedElsewhere = false
    /// The host that has the message doesn't know by when it should be delivered (RFC 2852 §4.1.4).
    package var isUntimed = false
    /// How the way to the host was protected; nil where there was none.
    package var security: SessionSecurity?

    /// A result. A status of a class that contradicts the action is replaced by the action's `x.0.0`.
    package init(
        _ action: Action,
        _ status: EnhancedStatusCode,
        _ text: String,
        remote: RemoteHost? = nil,
        diagnostic: String? = nil,
        expanded: Int? = nil,
        scope: Scope = .recipient
    ) {
        self.action = action
        self.status = action.admits(status) ? status : EnhancedStatusCode(action.statusClass, 0, 0)
        self.text = text
        self.remote = remote
        self.diagnostic = diagnostic
        self.expanded = expanded
        self.scope = action == .delayed ? scope : .recipient
    }

    package var nextStep: NextStep {
        switch (action, scope) {
        case (.delivered, _), (.relayed, _), (.expanded, _): .forget
        case (.delayed, .recipient), (.delayed, .session): .retry
        case (.delayed, .destination): .retryDestination
        case (.delayed, .turn): .waitForTurn
        case (.failed, _): .report
        }
    }

    /// The same refusal, to be tried again: one host's refusal is not the destination's.
    package func delayed() -> DeliveryResult {
        guard action == .failed else { return self }
        var result = self
        result.action = .delayed
        result.status = EnhancedStatusCode(4, status.subject, status.detail)
        return result
    }

    /// The message was tried for as long as it may be: what was a delay is final (RFC 3463 §3.5, 4.4.7).
    ///
    /// - Parameter status: 5.4.7 where it was the sender who set the time.
    package func expired(_ status: EnhancedStatusCode = .deliveryTimeExpired) -> DeliveryResult {
        guard action == .delayed else { return self }
        var result = DeliveryResult(
            .failed,
            status,
            "not delivered in time; the last attempt: \(text)",
            remote: remote,
            diagnostic: diagnostic
        )
        result.expanded = expanded
        return result
    }

    /// For the log and the state file: all that is known, in one line.
    package var summary: String {
        var words = text
        if let remote { words += words.isEmpty ? "\(remote)" : " (\(remote))" }
        if let diagnostic, diagnostic != text { words += words.isEmpty ? diagnostic : ": \(diagnostic)" }
        return words
    }
}

extension DeliveryResult.Action {
    /// The class of the statuses that go with it.
    package var statusClass: UInt8 {
        switch self {
        case .delivered, .relayed, .expanded: 2
        case .delayed: 4
        case .failed: 5
        }
    }

    func admits(_ status: EnhancedStatusCode) -> Bool {
        status.statusClass == statusClass || self == .failed && status.statusClass == 4
    }

    /// Whether nothing more is tried for the recipient.
    package var isFinal: Bool { self != .delayed }
}
