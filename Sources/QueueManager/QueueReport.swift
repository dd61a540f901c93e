import MIME
import NIOCore
import SMTP
import Spool

/// A delivery report (RFC 3462, RFC 3464): tells a sender what became of a message.
struct QueueReport {
    enum Kind {
        case failed
        case delayed
    }

    struct Recipient {
        var recipient: EnvelopeRecipient
        var result: RecipientResult
    }

    let kind: Kind
    let recipients: [Recipient]
    /// The finished queue file.
    private(set) var file: (head: QueueFileHead, file: ByteBuffer)?

    /// How much of the original's header is shown. Octets.
    static let headerLimit = 32 * 1024

    init(kind: Kind, recipients: [Recipient]) {
        self.kind = kind
        self.recipients = recipients
    }

    /// Makes the queue file; none where the sender is nobody.
    ///
    /// - Parameters:
    ///   - header: the begin of the original message.
    ///   - expiry: when a late message is given up. Seconds since 1970.
    mutating func write(
        id: MessageID,
        about original: MessageEnvelope,
        header: ByteBuffer,
        settings: QueueSettings,
        expiry: Int64,
        now: Int64
    ) {
        guard let sender = try? EnvelopeSender(parsing: original.sender.utf8), let address = sender.path.address else {
            return
        }
        let lines = Self.headerLines(header)
        let isEightBit = lines.readableBytesView.contains { $0 > 0x7f } || address.needsUTF8
        let body = body(
            id,
            to: address,
            sender.parameters.envelopeID,
            original,
            lines,
            isEightBit: isEightBit,
            settings: settings,
            expiry: expiry,
            now: now
        )
        var parameters = MailParameters()
        parameters.body = isEightBit ? .eightBitMIME : nil
        parameters.isUTF8 = address.needsUTF8
        var envelope = MessageEnvelope(
            id: id,
            arrived: now,
            sender: EnvelopeSender(.null, parameters: parameters).description,
            recipients: ["<\(address)> NOTIFY=NEVER"]
        )
        envelope.client = "local"
        let (file, offset) = QueueFile.encode(envelope, message: body)
        let head = QueueFileHead(envelope, offset: offset, octets: body.readableBytes)
        self.file = (head, file)
    }

    // MARK: The message

    private func body(
        _ id: MessageID,
        to address: MailAddress,
        _ envelopeID: String?,
        _ original: MessageEnvelope,
        _ header: ByteBuffer,
        isEightBit: Bool,
        settings: QueueSettings,
        expiry: Int64,
        now: Int64
    ) -> ByteBuffer {
        let boundary = "=_\(id)"
        let encoding = isEightBit ? "8bit" : "7bit"
        let subject = kind == .failed ? "Undelivered mail returned to sender" : "Delayed mail (still being tried)"
        var text = ByteBuffer()
        func add(_ line: String) { text.writeString(line + "\r\n") }
        add("From: Mail delivery system <MAILER-DAEMON@\(settings.hostname)>")
        add("To: <\(address)>")
        add("Subject: \(subject)")
        add("Date: \(DateTime(secondsSince1970: Int(now)))")
        add("Message-ID: <\(id)@\(settings.hostname)>")
        add("Auto-Submitted: auto-replied")
        add("MIME-Version: 1.0")
        add("Content-Type: multipart/report; report-type=delivery-status;")
        add("\tboundary=\"\(boundary)\"")
        add("Content-Transfer-Encoding: \(encoding)")
        add("")
        add("This is a delivery report in MIME format.")
        add("")
        add("--\(boundary)")
        add("Content-Type: text/plain; charset=utf-8")
        add("Content-Transfer-Encoding: \(isEightBit ? "8bit" : "7bit")")
        add("")
        for line in explanation(settings, expiry: expiry) { add(Self.clean(line, isEightBit: isEightBit)) }
        add("")
        add("--\(boundary)")
        add("Content-Type: message/delivery-status")
        add("")
        for line in status(settings, envelopeID, original, expiry: expiry) { add(Self.clean(line, isEightBit: false)) }
        add("--\(boundary)")
        add("Content-Type: text/rfc822-headers")
        add("Content-Transfer-Encoding: \(encoding)")
        add("")
        text.writeImmutableBuffer(header)
        add("")
        add("--\(boundary)--")
        return text
    }

    private func explanation(_ settings: QueueSettings, expiry: Int64) -> [String] {
        var lines = ["This is the mail system at \(settings.hostname).", ""]
        switch kind {
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
    ) -> [String] {
        var lines: [String] = []
        if let envelopeID { lines.append("Original-Envelope-Id: \(envelopeID)") }
        lines.append("Reporting-MTA: dns; \(settings.hostname)")
        lines.append("X-Martlet-Queue-ID: \(original.id)")
        lines.append("Arrival-Date: \(DateTime(secondsSince1970: Int(original.arrived)))")
        for recipient in recipients {
            lines.append("")
            if let first = recipient.recipient.parameters.originalRecipient {
                lines.append("Original-Recipient: \(first.type);\(first.address)")
            }
            let type = recipient.recipient.address.needsUTF8 ? "utf-8" : "rfc822"
            lines.append("Final-Recipient: \(type); \(recipient.recipient.address)")
            lines.append("Action: \(kind == .failed ? "failed" : "delayed")")
            lines.append("Status: \(recipient.result.status)")
            if let remote = recipient.result.remote {
                let name = remote.utf8.prefix { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "[") }
                if !name.isEmpty { lines.append("Remote-MTA: dns; \(String(decoding: name, as: UTF8.self))") }
            }
            if let words = recipient.result.diagnostic {
                lines.append("Diagnostic-Code: smtp; \(words)")
            } else if !recipient.result.text.isEmpty {
                lines.append("Diagnostic-Code: x-martlet; \(recipient.result.text)")
            }
            if kind == .delayed { lines.append("Will-Retry-Until: \(DateTime(secondsSince1970: Int(expiry)))") }
        }
        lines.append("")
        return lines
    }

    // MARK: What comes from outside

    /// One line of at most 900 octets, without what could end it or confuse a reader.
    private static func clean(_ line: String, isEightBit: Bool) -> String {
        let isClean = line.utf8.count <= 900 && line.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f }
        if isClean { return line }
        let octets = line.utf8.prefix(900).map { octet in
            octet < 0x20 || octet == 0x7f ? UInt8(ascii: " ") : octet > 0x7f && !isEightBit ? UInt8(ascii: "?") : octet
        }
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
