import MIME
import NIOCore
import SMTP
import Spool

/// A delivery report (RFC 3462, RFC 3464): tells a sender what became of a message.
struct QueueReport {
    enum Kind: Sendable {
        case failed
        case delayed
        /// Not delivered by the time that the sender had set (RFC 2852).
        case late
        /// Delivered, with another host, or in the queue again for other addresses.
        case succeeded
    }

    struct Recipient: Sendable {
        var recipient: EnvelopeRecipient
        var result: DeliveryResult
    }

    /// What a report shows of the message that it's about.
    struct Original: Sendable {
        /// Its beginning, with what was added in front.
        var octets: ByteBuffer
        /// Whether that's all of it.
        var isWhole: Bool

        /// Its header alone is to be shown.
        var withoutBody: Original { Original(octets: octets, isWhole: false) }
    }

    let kind: Kind
    /// Those who were asked about.
    let recipients: [Recipient]
    /// The original is a report itself, which goes to postmaster now.
    private let isAboutReport: Bool
    /// The finished queue file; nil where nobody wants to know.
    private(set) var file: (head: QueueFileHead, octets: ByteBuffer)?

    /// How much of the original's header is shown. Octets.
    static let headerLimit = 32 * 1024
    /// Messages up to this size come back whole where the sender wants it. Octets.
    static let wholeLimit = 256 * 1024

    /// Makes the report. Recipients whose `NOTIFY` says that the sender doesn't want to know are left out.
    ///
    /// - Parameters:
    ///   - address: who is told.
    ///   - header: the beginning of the original message, or all of it.
    ///   - expiry: when a late message is given up. Seconds since 1970.
    /// - Throws: `BuildError`.
    init(
        _ kind: Kind,
        _ all: [Recipient],
        id: MessageID,
        to address: MailAddress,
        about original: MessageEnvelope,
        header: Original,
        settings: QueueSettings,
        expiry: Int64,
        now: Int64
    ) throws(BuildError) {
        self.kind = kind
        isAboutReport = original.sender.path.address == nil
        // What reports themselves ask for is meant for the sender, who has none.
        let isWanted = { (recipient: Recipient) in Self.isWanted(kind, recipient.recipient.parameters.notify) }
        recipients = isAboutReport ? all : all.filter(isWanted)
        guard !recipients.isEmpty else { return }
        let status = status(settings, original.sender.parameters.envelopeID, original, expiry: expiry)
        let lines = header.isWhole ? header.octets : Self.headerLines(header.octets)
        // Only who has sent with SMTPUTF8 can be expected to take it (RFC 6533 §3).
        let needsUTF8 = original.sender.parameters.isUTF8 && Self.isBeyondASCII(status, lines)
        let built = try message(
            id,
            to: address,
            status,
            lines,
            (header.isWhole, needsUTF8),
            settings,
            expiry: expiry,
            now: now
        )
        let body = ByteBuffer(bytes: built.octets)
        var parameters = MailParameters()
        parameters.isUTF8 = address.needsUTF8 || needsUTF8
        parameters.body = built.needsEightBit || parameters.isUTF8 ? .eightBitMIME : nil
        // As the message was not to be seen on its way, so its report (RFC 8689 §5).
        parameters.requiresTLS = original.sender.parameters.requiresTLS
        let envelope = Self.envelope(id, to: address, parameters: parameters, now: now)
        let (octets, head) = QueueFile.encode(envelope, message: body)
        file = (head, octets)
    }

    /// The envelope of what we say ourselves, which nobody is to be told of.
    static func envelope(
        _ id: MessageID,
        to address: MailAddress,
        parameters: MailParameters,
        now: Int64
    ) -> MessageEnvelope {
        var recipient = RecipientParameters()
        recipient.notify = []
        var envelope = MessageEnvelope(
            id: id,
            arrived: now,
            sender: EnvelopeSender(.null, parameters: parameters),
            recipients: [EnvelopeRecipient(address, parameters: recipient)]
        )
        envelope.client = "local"
        envelope.givenSubmitter = .system
        return envelope
    }

    /// The header of what we say ourselves.
    static func header(
        _ id: MessageID,
        to address: MailAddress,
        subject: String,
        settings: QueueSettings,
        now: Int64
    ) throws(BuildError) -> HeaderBuilder {
        var header = HeaderBuilder()
        try header.add("From", words: words("Mail delivery system <MAILER-DAEMON@\(clean(settings.hostname))>"))
        try header.add("To", words: [Array("<\(address)>".utf8)])
        try header.add("Subject", text: subject)
        try header.add("Date", words: words(DateTime(secondsSince1970: Int(now)).description))
        try header.add("Message-ID", words: [Array(name(of: id, settings).utf8)])
        try header.add("Auto-Submitted", text: "auto-replied")
        return header
    }

    // MARK: The message

    private func message(
        _ id: MessageID,
        to address: MailAddress,
        _ status: DeliveryReport,
        _ original: ByteBuffer,
        _ form: (isWhole: Bool, isUTF8: Bool),
        _ settings: QueueSettings,
        expiry: Int64,
        now: Int64
    ) throws(BuildError) -> BuiltMessage {
        let header = try Self.header(id, to: address, subject: subject, settings: settings, now: now)
        let isEightBit = original.readableBytesView.contains { $0 > 0x7f }
        let builder = MessageBuilder(allowsEightBit: isEightBit) { .random(in: .min ... .max) }
        let text = explanation(settings, expiry: expiry).map { Self.clean($0) }.joined(separator: "\n") + "\n"
        let octets = Array(original.readableBytesView)
        // RFC 6533 §3.
        let shown: MIMEEntity =
            switch (form.isWhole, form.isUTF8) {
            case (true, false): .message(octets)
            case (true, true): .fields(type: "message/global", octets)
            case (false, let isUTF8): .fields(type: isUTF8 ? "message/global-headers" : "text/rfc822-headers", octets)
            }
        let report = try MIMEEntity.deliveryReport(status, isUTF8: form.isUTF8, text: text, original: shown)
        return try builder.build(header, report)
    }

    /// Whether the report would have UTF-8 in its fields, or shows a header that has.
    private static func isBeyondASCII(_ status: DeliveryReport, _ header: ByteBuffer) -> Bool {
        let addresses = status.recipients.flatMap { [$0.original?.value, $0.final?.value] }
        return addresses.contains { $0?.utf8.contains { $0 > 0x7F } ?? false }
            || headerLines(header).readableBytesView.contains { $0 > 0x7F }
    }

    /// RFC 3461 §4.1; for a deadline RFC 2852 §4.1.4.
    private static func isWanted(_ kind: Kind, _ notify: RecipientParameters.Notify?) -> Bool {
        guard let notify else { return true }
        return switch kind {
        case .failed: notify.contains(.failure)
        case .delayed: notify.contains(.delay)
        case .late, .succeeded: notify != .never
        }
    }

    private var subject: String {
        switch kind {
        case .failed: isAboutReport ? "Undeliverable report" : "Undelivered mail returned to sender"
        case .delayed, .late: "Delayed mail (still being tried)"
        case .succeeded: "Mail delivered"
        }
    }

    /// A report's Message-ID.
    static func name(of id: MessageID, _ settings: QueueSettings) -> String { "<\(id)@\(clean(settings.hostname))>" }

    private static func words(_ text: String) -> [[UInt8]] {
        text.utf8.split(separator: UInt8(ascii: " ")).map { Array($0) }
    }

    private func explanation(_ settings: QueueSettings, expiry: Int64) -> [String] {
        var lines = ["This is the mail system at \(settings.hostname).", ""]
        switch kind {
        case .failed where isAboutReport:
            lines += ["A report about undelivered mail could not be delivered itself. Its sender cannot", "be told."]
        case .failed:
            lines += ["Your message could not be delivered to one or more recipients. It will not be", "tried again."]
        case .succeeded:
            lines += ["Your message has reached one or more recipients, as far as it says below."]
        case .delayed, .late:
            lines += [
                "Your message could not be delivered yet. You need not send it again: it is", "tried until",
                "\(DateTime(secondsSince1970: Int(expiry))).",
            ]
        }
        for recipient in recipients {
            lines += ["", "<\(recipient.recipient.address)>:"]
            let result = recipient.result
            // Readers first, then those who mend it.
            if kind != .succeeded, let sentence = result.status.sentence { lines.append("    \(sentence)") }
            if let remote = result.remote { lines.append("    The host was \(remote).") }
            if let words = result.diagnostic { lines.append("    It said: \(words)") }
            lines.append("    \(result.status) \(result.text)")
        }
        return lines
    }

    /// RFC 3464 §2.2, §2.3.
    private func status(
        _ settings: QueueSettings,
        _ envelopeID: String?,
        _ original: MessageEnvelope,
        expiry: Int64
    ) -> DeliveryReport {
        var report = DeliveryReport()
        report.envelopeID = envelopeID.map { Self.clean($0) }
        report.reportingMTA = ReportValue("dns", Self.clean(settings.hostname))
        report.extensions = [ReportField("X-Martlet-Queue-ID", "\(original.id)")]
        report.arrival = DateTime(secondsSince1970: Int(original.arrived))
        report.recipients = recipients.map { status($0, expiry: expiry) }
        return report
    }

    private func status(_ recipient: Recipient, expiry: Int64) -> DeliveryReport.Recipient {
        var status = DeliveryReport.Recipient()
        status.original = recipient.recipient.parameters.originalRecipient.map {
            ReportValue(Self.clean($0.type), Self.clean($0.address))
        }
        let address = recipient.recipient.address
        status.final = ReportValue(address.needsUTF8 ? "utf-8" : "rfc822", Self.clean("\(address)"))
        status.action = action(recipient.result)
        status.status = "\(recipient.result.status)"
        if let remote = recipient.result.remote {
            let host = Self.clean(remote.name ?? remote.address)
            if !host.isEmpty { status.remoteMTA = ReportValue("dns", host) }
        }
        if let words = recipient.result.diagnostic {
            status.diagnostic = ReportValue("smtp", Self.clean(words))
        } else if !recipient.result.text.isEmpty {
            status.diagnostic = ReportValue("x-martlet", Self.clean(recipient.result.text))
        }
        if kind == .delayed || kind == .late { status.willRetryUntil = DateTime(secondsSince1970: Int(expiry)) }
        return status
    }

    private func action(_ result: DeliveryResult) -> DeliveryReport.Action {
        switch kind {
        case .failed: .failed
        case .delayed, .late: .delayed
        case .succeeded:
            switch result.action {
            case .relayed: .relayed
            case .expanded: .expanded
            case .delivered, .delayed, .failed: .delivered
            }
        }
    }

    // MARK: What comes from outside

    /// One line of at most 900 octets, without what could end it.
    private static func clean(_ line: String) -> String {
        let isClean = line.utf8.count <= 900 && line.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
        if isClean { return line }
        let octets = line.utf8.prefix(900).map { $0 < 0x20 || $0 == 0x7f ? UInt8(ascii: " ") : $0 }
        return String(decoding: octets, as: UTF8.self)
    }

    /// The header's whole lines, without the empty line that ends it.
    static func headerLines(_ message: ByteBuffer) -> ByteBuffer {
        var lines = ByteBuffer()
        var rest = message.readableBytesView
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            var line = rest[rest.startIndex..<end]
            rest = rest[rest.index(after: end)...]
            if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
            if line.isEmpty { break }
            lines.writeBytes(line)
            lines.writeStaticString("\r\n")
        }
        return lines
    }
}
