import ArgumentParser
import MIME

/// `martlet mime report`: what the reports in a message say.
struct MIMEReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Shows the reports in a message: of delivery, of reading, and complaints.",
        discussion: "RFC 3464, RFC 8098 and RFC 5965. Exits with 1 when there is none."
    )

    struct Field: Encodable {
        let name: String
        let value: String
    }

    /// Fields about the message, then those about each recipient.
    struct Document: Encodable {
        let kind: String
        var message: [Field] = []
        var recipients: [[Field]] = []
        /// Whether there may be recipients that weren't read.
        var hasMoreRecipients = false
    }

    @OptionGroup var input: MIMEInput
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() throws {
        let contents = try MIMEContents.read(input)
        let places = contents.found.keys.sorted()
        let documents = places.compactMap { contents.found[$0]?.report }.map { Self.document($0) }
        if json {
            try JSONOutput.print(documents)
        } else {
            for document in documents {
                print(document.kind)
                for field in document.message { print("  \(field.name): \(field.value)") }
                for recipient in document.recipients {
                    print("  recipient")
                    for field in recipient { print("    \(field.name): \(field.value)") }
                }
                if document.hasMoreRecipients { print("  there may be more recipients: not all of the report is read") }
            }
        }
        if documents.isEmpty { throw ExitCode(1) }
    }

    private static func document(_ report: MessageReport) -> Document {
        switch report {
        case .delivery(let status): delivery(status)
        case .disposition(let notification): disposition(notification)
        case .feedback(let feedback): self.feedback(feedback)
        }
    }

    private static func delivery(_ status: DeliveryReport) -> Document {
        var document = Document(kind: "delivery", hasMoreRecipients: status.hasMoreRecipients)
        document.message = fields(
            [
                ("envelope id", status.envelopeID), ("reporting MTA", status.reportingMTA?.value),
                ("gateway", status.gateway?.value), ("received from", status.receivedFrom?.value),
                ("arrival", status.arrival?.description),
            ],
            status.extensions
        )
        document.recipients = status.recipients.map { recipient in
            fields(
                [
                    ("original recipient", recipient.original?.value), ("final recipient", recipient.final?.value),
                    ("action", recipient.action?.rawValue ?? recipient.otherAction), ("status", recipient.status),
                    ("remote MTA", recipient.remoteMTA?.value), ("diagnostic", recipient.diagnostic?.value),
                    ("last attempt", recipient.lastAttempt?.description), ("log id", recipient.finalLogID),
                    ("will retry until", recipient.willRetryUntil?.description),
                ],
                recipient.extensions
            )
        }
        return document
    }

    private static func disposition(_ notification: DispositionReport) -> Document {
        var document = Document(kind: "disposition")
        let action = notification.isManualAction ? "by the recipient" : "automatic"
        document.message = fields(
            [
                ("reporting UA", notification.reportingUA), ("gateway", notification.gateway?.value),
                ("original recipient", notification.originalRecipient?.value),
                ("final recipient", notification.finalRecipient?.value), ("message id", notification.originalMessageID),
                ("disposition", notification.kind?.rawValue), ("action", notification.kind == nil ? nil : action),
                ("modifiers", notification.modifiers.isEmpty ? nil : notification.modifiers.joined(separator: ", ")),
            ] + notification.errors.map { ("error", $0) },
            notification.extensions
        )
        return document
    }

    private static func feedback(_ feedback: FeedbackReport) -> Document {
        var document = Document(kind: "feedback")
        document.message = fields(
            [
                ("type", feedback.kind), ("user agent", feedback.userAgent), ("version", feedback.version),
                ("envelope id", feedback.envelopeID), ("mail from", feedback.mailFrom),
                ("arrival", feedback.arrival?.description), ("reporting MTA", feedback.reportingMTA?.value),
                ("source IP", feedback.sourceIP), ("auth failure", feedback.authFailure),
            ] + feedback.recipients.map { ("recipient", $0) } + feedback.domains.map { ("domain", $0) }
                + feedback.authenticationResults.map { ("authentication results", $0) },
            feedback.extensions
        )
        return document
    }

    private static func fields(_ known: [(String, String?)], _ others: [ReportField]) -> [Field] {
        (known.compactMap { name, value in value.map { (name, $0) } } + others.map { ($0.name, $0.value) }).map {
            name,
            value in
            Field(name: TerminalText.make(name.utf8), value: TerminalText.make(value.utf8))
        }
    }
}
