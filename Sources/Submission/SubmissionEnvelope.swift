import Bus
import SMTP

/// What a `SUBMIT` frame says about the message that follows (docs/protocols.md, "queue.sock").
package struct SubmissionEnvelope: Sendable, Equatable {
    package var sender: EnvelopeSender
    package var recipients: [EnvelopeRecipient]
    /// Where the message comes from: the client's address as text, or `local`.
    package var client: String?
    /// What the client called itself.
    package var helo: String?
    /// How it came (RFC 3848); nil for a local program.
    package var protocolName: String?
    /// The authenticated user.
    package var user: String?
    /// Whose mail it was before, of what is forwarded.
    package var submitter: Submitter?
    /// What makes the submission idempotent.
    package var origin: String?
    /// Whether the recipients are what an alias led to: their own mailboxes are meant.
    package var isExpanded = false
    /// The alias that led to them.
    package var expandedFrom: MailAddress?
    /// When the message should be delivered.
    package var terms = DeliveryTerms()

    package init(sender: EnvelopeSender, recipients: [EnvelopeRecipient]) {
        self.sender = sender
        self.recipients = recipients
    }

    /// Why a frame is no envelope.
    package enum Malformed: Error, Equatable {
        case sender
        case recipient
        case noRecipient

        package var text: String {
            switch self {
            case .sender: "malformed sender"
            case .recipient: "malformed recipient"
            case .noRecipient: "no recipient"
            }
        }
    }

    /// Reads the fields of a `SUBMIT` frame. A recipient that comes twice counts once.
    package init(_ frame: Frame) throws(Malformed) {
        guard let text = frame["sender"], let sender = try? EnvelopeSender(parsing: text.utf8) else { throw .sender }
        var recipients: [EnvelopeRecipient] = []
        var known: Set<EnvelopeRecipient> = []
        for field in frame.fields where field.name == "recipient" {
            guard let recipient = try? EnvelopeRecipient(parsing: field.value.utf8) else { throw .recipient }
            if known.insert(recipient).inserted { recipients.append(recipient) }
        }
        guard !recipients.isEmpty else { throw .noRecipient }
        self.init(sender: sender, recipients: recipients)
        client = frame["client"]
        helo = frame["helo"]
        protocolName = frame["protocol"]
        user = frame["user"]
        submitter = frame["submitter"].flatMap { Submitter(rawValue: $0) }
        origin = frame["origin"]
        isExpanded = frame["expanded"] == "yes"
        expandedFrom = frame["expanded-from"].flatMap { try? MailAddress(parsing: $0.utf8, options: .envelope) }
        terms = DeliveryTerms(
            deliverBy: frame["deliver-by"],
            holdUntil: frame["hold-until"],
            priority: frame["priority"]
        )
    }

    /// The frame, without the message.
    package var frame: Frame {
        var fields: [Frame.Field] = []
        fields.reserveCapacity(recipients.count + 10)
        fields.append(.init("sender", sender.description))
        for recipient in recipients { fields.append(.init("recipient", recipient.description)) }
        if let client { fields.append(.init("client", client)) }
        if let helo { fields.append(.init("helo", helo)) }
        if let protocolName { fields.append(.init("protocol", protocolName)) }
        if let user { fields.append(.init("user", user)) }
        if let submitter { fields.append(.init("submitter", submitter.rawValue)) }
        if let origin { fields.append(.init("origin", origin)) }
        if isExpanded { fields.append(.init("expanded", "yes")) }
        if let expandedFrom { fields.append(.init("expanded-from", expandedFrom.description)) }
        for field in terms.fields { fields.append(.init("\(field.name)", field.value)) }
        return Frame("SUBMIT", fields)
    }
}
