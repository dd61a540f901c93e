import Bus
import SMTP

extension DeliveryResult {
    /// A deliverer's answer about one recipient, without its tag (docs/protocols.md, "deliver.sock and relay.sock").
    ///
    /// - Parameter recipient: whom it is about; nil for all recipients that are not answered yet.
    package func frame(recipient: EnvelopeRecipient?) -> Frame {
        var fields: [Frame.Field] = []
        fields.reserveCapacity(8)
        if let recipient { fields.append(.init("recipient", recipient.description)) }
        fields.append(.init("status", status.description))
        fields.append(.init("action", action.rawValue))
        if scope != .recipient { fields.append(.init("scope", scope.rawValue)) }
        if isReportedElsewhere { fields.append(.init("dsn", "yes")) }
        if isUntimed { fields.append(.init("untimed", "yes")) }
        if isUncertain { fields.append(.init("uncertain", "yes")) }
        if let remote { fields.append(.init("remote", remote.description)) }
        if let diagnostic { fields.append(.init("diagnostic", diagnostic)) }
        if let expanded { fields.append(.init("expanded", String(expanded))) }
        if !text.isEmpty { fields.append(.init("text", text)) }
        return Frame(replyKind.rawValue, fields)
    }

    private var replyKind: ReplyKind {
        switch action {
        case .delivered, .relayed, .expanded: .ok
        case .delayed: .defer
        case .failed: .reject
        }
    }

    /// Reads a deliverer's answer. What isn't understood is a delay: nothing is lost by trying again.
    ///
    /// - Parameter success: what `OK` means where the answer doesn't say.
    package init(_ reply: Frame, success: Action) {
        let action: Action
        switch reply.replyKind {
        case .ok:
            let said = reply["action"].flatMap { Action(rawValue: $0) }
            action = said.flatMap { $0.statusClass == 2 ? $0 : nil } ?? (reply["expanded"] == nil ? success : .expanded)
        case .reject: action = .failed
        case .defer, nil: action = .delayed
        }
        let status = reply.status.flatMap { $0.statusClass == action.statusClass ? $0 : nil }
        self.init(
            action,
            status ?? EnhancedStatusCode(action.statusClass, 0, 0),
            reply["text"] ?? reply["diagnostic"] ?? "",
            remote: reply["remote"].map { RemoteHost($0) },
            diagnostic: reply["diagnostic"],
            expanded: reply.integer("expanded"),
            scope: reply["scope"].flatMap { Scope(rawValue: $0) } ?? .recipient
        )
        isUncertain = action == .delayed && reply["uncertain"] == "yes"
        isUntimed = action == .relayed && reply["untimed"] == "yes"
        isReportedElsewhere = action == .relayed && reply["dsn"] == "yes"
    }
}
