/// What became of a message (message/delivery-status, RFC 3464): fields about the message and about each recipient.
package struct DeliveryReport: Sendable, Equatable {
    /// RFC 3464 §2.3.3.
    package enum Action: String, Sendable {
        case failed, delayed, delivered, relayed, expanded
    }

    /// RFC 3464 §2.3.
    package struct Recipient: Sendable, Equatable {
        package var original: ReportValue?
        package var final: ReportValue?
        /// nil where it's none that is known.
        package var action: Action?
        /// An action that is none of those, as it is written.
        package var otherAction: String?
        /// The code of RFC 3463, such as `5.1.1`, without the comment behind it; nil where it's none.
        package var status: String?
        package var remoteMTA: ReportValue?
        package var diagnostic: ReportValue?
        package var lastAttempt: DateTime?
        package var finalLogID: String?
        package var willRetryUntil: DateTime?
        /// All other fields.
        package var extensions: [ReportField] = []

        package init() {}
    }

    package var envelopeID: String?
    package var reportingMTA: ReportValue?
    package var gateway: ReportValue?
    package var receivedFrom: ReportValue?
    package var arrival: DateTime?
    /// All other fields about the message.
    package var extensions: [ReportField] = []
    package var recipients: [Recipient] = []
    /// Whether there are more recipients than are kept, or may be: not all was looked at.
    package internal(set) var hasMoreRecipients = false

    /// The most recipients that are kept.
    private static let maximum = 10_000
    /// The most fields of a block that are looked at: without empty lines it may hold all recipients.
    private static let maximumFields = 100_000

    package init() {}

    /// Reads the decoded body of the part; nil for one without fields. Lenient: fields that make no sense count as missing.
    package init?(reading body: [UInt8]) {
        let fields = ReportFields(body, maximum: Self.maximum + 1, maximumFields: Self.maximumFields)
        guard let first = fields.blocks.first else { return nil }
        var sorting = DeliveryReportSorting(first)
        hasMoreRecipients = fields.hasMore || first.hasMoreFields
        for block in fields.blocks.dropFirst() where sorting.recipients.count <= Self.maximum {
            sorting.take(block)
            hasMoreRecipients = hasMoreRecipients || block.hasMoreFields
        }
        let message = sorting.message.block
        envelopeID = message.text("original-envelope-id")
        reportingMTA = message.reportValue("reporting-mta")
        gateway = message.reportValue("dsn-gateway")
        receivedFrom = message.reportValue("received-from-mta")
        arrival = message.date("arrival-date")
        extensions = message.others(than: DeliveryReportSorting.messageFields)
        recipients = sorting.recipients.prefix(Self.maximum).map { Recipient($0.block) }
        hasMoreRecipients = hasMoreRecipients || sorting.recipients.count > Self.maximum
    }

    /// The part's body. Throws for line breaks in a value, and where there is nothing about the message or a recipient: the
    /// first block would then be taken for the message's (RFC 3464 §2.1).
    ///
    /// - Parameter isUTF8: whether it may have more than ASCII, as message/global-delivery-status may (RFC 6533 §3).
    package func written(isUTF8: Bool = false) throws(BuildError) -> [UInt8] {
        var block = HeaderBuilder()
        try block.add("Original-Envelope-Id", report: envelopeID)
        try block.add("Reporting-MTA", report: reportingMTA?.field)
        try block.add("DSN-Gateway", report: gateway?.field)
        try block.add("Received-From-MTA", report: receivedFrom?.field)
        try block.add("Arrival-Date", report: arrival)
        for field in extensions { try block.add(field.name, report: field.value) }
        guard !block.octets.isEmpty else { throw .badStructure }
        var octets = block.octets
        for recipient in recipients {
            let fields = try recipient.written(isUTF8: isUTF8)
            guard !fields.isEmpty else { throw .badStructure }
            octets += [ASCII.carriageReturn, ASCII.lineFeed] + fields
        }
        return octets
    }
}

extension DeliveryReport.Recipient {
    init(_ block: HeaderBlock) {
        original = block.reportValue("original-recipient")
        final = block.reportValue("final-recipient")
        action = block.first("action").flatMap { Self.action($0) }
        if action == nil { otherAction = block.text("action") }
        status = block.first("status").flatMap { Self.status($0) }
        remoteMTA = block.reportValue("remote-mta")
        diagnostic = block.reportValue("diagnostic-code")
        lastAttempt = block.date("last-attempt-date")
        finalLogID = block.text("final-log-id")
        willRetryUntil = block.date("will-retry-until")
        extensions = block.others(than: [
            "original-recipient", "final-recipient", "action", "status", "remote-mta", "diagnostic-code",
            "last-attempt-date", "final-log-id", "will-retry-until",
        ])
    }

    /// The first word: a comment may stand behind it (RFC 3464 §2.3).
    private static func word(_ value: [UInt8]) -> String {
        String(
            decoding: value.prefix { !ASCII.isWhitespace($0) && $0 != UInt8(ascii: "(") }.map(ASCII.lower),
            as: UTF8.self
        )
    }

    private static func action(_ value: [UInt8]) -> DeliveryReport.Action? { .init(rawValue: word(value)) }

    private static func status(_ value: [UInt8]) -> String? {
        let code = word(value)
        let parts = code.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3,
            parts[0].elementsEqual([0x32]) || parts[0].elementsEqual([0x34]) || parts[0].elementsEqual([0x35]),
            parts.dropFirst().allSatisfy({ (1...3).contains($0.count) && $0.allSatisfy(ASCII.isDigit) })
        else { return nil }
        return code
    }

    func written(isUTF8: Bool = false) throws(BuildError) -> [UInt8] {
        var block = HeaderBuilder()
        try block.add("Original-Recipient", report: original?.field(keepsUTF8: isUTF8), isUTF8: isUTF8)
        try block.add("Final-Recipient", report: final?.field(keepsUTF8: isUTF8), isUTF8: isUTF8)
        try block.add("Action", report: action?.rawValue ?? otherAction)
        try block.add("Status", report: status)
        try block.add("Remote-MTA", report: remoteMTA?.field)
        try block.add("Diagnostic-Code", report: diagnostic?.field)
        try block.add("Last-Attempt-Date", report: lastAttempt)
        try block.add("Final-Log-ID", report: finalLogID)
        try block.add("Will-Retry-Until", report: willRetryUntil)
        for field in extensions { try block.add(field.name, report: field.value) }
        return block.octets
    }
}
