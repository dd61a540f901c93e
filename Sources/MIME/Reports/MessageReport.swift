/// What the part of a report says that is made for programs.
package enum MessageReport: Sendable, Equatable {
    case delivery(DeliveryReport)
    case disposition(DispositionReport)
    case feedback(FeedbackReport)

    /// Octets of such a part that are looked at. Who gives one more tells that there are more.
    package static let limit = 1024 * 1024

    /// Whether a part of this type holds a report.
    package static func isReport(_ content: ContentFields) -> Bool { reader(content) != nil }

    /// Reads a part's decoded body; nil for parts of other types and for bodies that hold none.
    package init?(_ content: ContentFields, body: [UInt8]) {
        guard let report = Self.reader(content)?(Array(body.prefix(Self.limit))) else { return nil }
        self = report
        guard body.count > Self.limit, case .delivery(var delivery) = report else { return }
        delivery.hasMoreRecipients = true
        self = .delivery(delivery)
    }

    /// The part's body. Throws for line breaks in a value.
    package func written() throws(BuildError) -> [UInt8] {
        switch self {
        case .delivery(let report): try report.written()
        case .disposition(let report): try report.written()
        case .feedback(let report): try report.written()
        }
    }

    private static func reader(_ content: ContentFields) -> (([UInt8]) -> MessageReport?)? {
        let type = content.type.value
        // The global ones are those of RFC 6533, in UTF-8.
        if ASCII.equal(type, "message/delivery-status") || ASCII.equal(type, "message/global-delivery-status") {
            return { DeliveryReport(reading: $0).map { .delivery($0) } }
        }
        if ASCII.equal(type, "message/disposition-notification")
            || ASCII.equal(type, "message/global-disposition-notification")
        {
            return { DispositionReport(reading: $0).map { .disposition($0) } }
        }
        if ASCII.equal(type, "message/feedback-report") {
            return { FeedbackReport(reading: $0).map { .feedback($0) } }
        }
        return nil
    }
}

extension MIMEEntity {
    /// A multipart/report with words for people (RFC 6522).
    ///
    /// - Parameter original: the header of the message that it's about, or of a feedback report the whole message.
    package static func report(_ report: MessageReport, text: String, original: [UInt8]?) throws(BuildError)
        -> MIMEEntity
    {
        switch report {
        case .delivery(let status):
            .report(type: "delivery-status", text: text, fields: try status.written(), original: original)
        case .disposition(let notification):
            .report(
                type: "disposition-notification",
                text: text,
                fields: try notification.written(),
                original: original
            )
        case .feedback(let feedback):
            .multipart(
                subtype: "report",
                parameters: ["report-type": "feedback-report"],
                [.text(subtype: "plain", text), .fields(type: "message/feedback-report", try feedback.written())]
                    + (original.map { [.message($0)] } ?? [])
            )
        }
    }
}
