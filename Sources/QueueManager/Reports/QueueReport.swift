import MIME
import NIOCore
import SMTP
import Spool

/// A delivery report (RFC 3462, RFC 3464): tells a sender what became of a message.
struct QueueReport {
    enum Kind: Sendable {
        case failed
        case delayed
    }

    struct Recipient: Sendable {
        var recipient: EnvelopeRecipient
        var result: DeliveryResult
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

    /// Makes the report. Recipients whose `NOTIFY` says that the sender doesn't want to know are left out.
    ///
    /// - Parameters:
    ///   - address: who is told.
    ///   - header: the beginning of the original message.
    ///   - expiry: when a late message is given up. Seconds since 1970.
    /// - Throws: `BuildError`.
    init(
        _ kind: Kind,
        _ all: [Recipient],
        id: MessageID,
        to address: MailAddress,
        about original: MessageEnvelope,
        header: ByteBuffer,
        settings: QueueSettings,
        expiry: Int64,
        now: Int64
    ) throws(BuildError) {
        self.kind = kind
        isAboutReport = original.sender.path.address == nil
        let event = kind == .failed ? RecipientParameters.Notify.failure : .delay
        // What reports themselves ask for is meant for the sender, who has none.
        let isWanted = { (recipient: Recipient) in recipient.recipient.parameters.notify?.contains(event) ?? true }
        recipients = isAboutReport ? all : all.filter(isWanted)
        guard !recipients.isEmpty else { return }
        let status = status(settings, original.sender.parameters.envelopeID, original, expiry: expiry)
        let lines = Self.headerLines(header)
        let built = try message(id, to: address, status, lines, settings, expiry: expiry, now: now)
        let isEightBit = built.needsEightBit || address.needsUTF8
        let body = ByteBuffer(bytes: built.octets)
        var parameters = MailParameters()
        parameters.body = isEightBit ? .eightBitMIME : nil
        parameters.isUTF8 = address.needsUTF8
        var recipient = RecipientParameters()
        recipient.notify = []
        var envelope = MessageEnvelope(
            id: id,
            arrived: now,
            sender: EnvelopeSender(.null, parameters: parameters),
            recipients: [EnvelopeRecipient(address, parameters: recipient)]
        )
        envelope.client = "local"
        let (octets, head) = QueueFile.encode(envelope, message: body)
        file = (head, octets)
    }

    // MARK: The message

    private func message(
        _ id: MessageID,
        to address: MailAddress,
        _ status: DeliveryReport,
        _ original: ByteBuffer,
        _ settings: QueueSettings,
        expiry: Int64,
        now: Int64
    ) throws(BuildError) -> BuiltMessage {
        let host = Self.clean(settings.hostname)
        var header = HeaderBuilder()
        try header.add("From", words: Self.words("Mail delivery system <MAILER-DAEMON@\(host)>"))
        try header.add("To", words: [Array("<\(address)>".utf8)])
        try header.add(
            "Subject",
            text: subject
        )
        try header.add("Date", words: Self.words(DateTime(secondsSince1970: Int(now)).description))
        try header.add("Message-ID", words: [Array("<\(id)@\(host)>".utf8)])
        try header.add("Auto-Submitted", text: "auto-replied")
        let isEightBit = original.readableBytesView.contains { $0 > 0x7f }
        let builder = MessageBuilder(allowsEightBit: isEightBit) { .random(in: .min ... .max) }
        let text = explanation(settings, expiry: expiry).map { Self.clean($0) }.joined(separator: "\n") + "\n"
        let report = try MIMEEntity.report(.delivery(status), text: text, original: Array(original.readableBytesView))
        return try builder.build(header, report)
    }

    private var subject: String {
        switch kind {
        case .failed: isAboutReport ? "Undeliverable report" : "Undelivered mail returned to sender"
        case .delayed: "Delayed mail (still being tried)"
        }
    }

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
        case .delayed:
            lines += [
                "Your message could not be delivered yet. You need not send it again: it is", "tried until",
                "\(DateTime(secondsSince1970: Int(expiry))).",
            ]
        }
        for recipient in recipients {
            lines += ["", "<\(recipient.recipient.address)>:"]
            lines.append("    \(recipient.result.status) \(recipient.result.text)")
            if let remote = recipient.result.remote { lines.append("    The host was \(remote).") }
            if let words = recipient.result.diagnostic { lines.append("    It said: \(words)") }
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
        status.action = kind == .failed ? .failed : .delayed
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
        if kind == .delayed { status.willRetryUntil = DateTime(secondsSince1970: Int(expiry)) }
        return status
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
