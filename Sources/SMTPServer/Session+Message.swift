import CoreMetrics
import Bus
import Logging
import MIME
import NIOCore
import Network
import SMTP
import TLS

extension Session {
    /// DATA (RFC 5321 §4.1.1.4): the message goes to queue-manager as it comes.
    func data() async throws(ConnectionError) -> Next {
        guard let transaction else { return try await fault(.badSequence, .invalidCommand, "send MAIL first") }
        guard !transaction.recipients.isEmpty else {
            return try await fault(.transactionFailed, .invalidCommand, "no valid recipients")
        }
        let queue: QueueConnection
        do throws(QueueError) {
            queue = try await resources.queue.take()
        } catch {
            logger.error("queue-manager is not available", metadata: ["reason": "\(error)"])
            counters.messagesDeferred.increment()
            self.transaction = nil
            reply(.localError, .systemTrouble, "queue not available, try again later")
            return .command
        }
        reply(.startMailInput, nil, "end with a dot on a line of its own")
        self.transaction = nil
        do throws(ConnectionError) {
            return try await receive(transaction, queue)
        } catch {
            // The client is gone or too slow: nothing of the message is kept.
            queue.abort()
            throw error
        }
    }

    private func receive(_ transaction: Transaction, _ queue: QueueConnection) async throws(ConnectionError) -> Next {
        let id = queue.nextID
        let date = DateTime.now()
        var intake = MessageIntake(queue: queue, envelope: envelope(transaction), limits: settings.limits) { header in
            self.prefix(transaction, id: id, date: date, header: header)
        }
        while await !intake.take(from: connection) {
            if intake.isHopeless {
                queue.abort()
                return conclude(transaction, intake, reply: nil, .close)
            }
            try checkTime()
            try await flush()
            guard try await connection.receive() else { throw .closed }
        }
        let reply = intake.fault == nil ? await intake.reply() : nil
        if reply == nil { queue.abort() }
        resources.queue.put(queue)
        return conclude(transaction, intake, reply: reply ?? intake.earlyReply, .command)
    }

    private func envelope(_ transaction: Transaction) -> Frame {
        var fields: [Frame.Field] = []
        fields.reserveCapacity(transaction.recipients.count + 5)
        fields.append(.init("sender", transaction.sender.description))
        for recipient in transaction.recipients {
            fields.append(.init("recipient", "<\(recipient)>"))
        }
        fields.append(.init("client", client))
        fields.append(.init("helo", helo ?? ""))
        fields.append(.init("protocol", protocolName))
        if let user { fields.append(.init("user", user)) }
        return Frame("SUBMIT", fields)
    }

    /// RFC 3848.
    private var protocolName: String {
        guard isExtended else { return "SMTP" }
        return switch (connection.tls != nil, user != nil) {
        case (false, false): "ESMTP"
        case (true, false): "ESMTPS"
        case (false, true): "ESMTPA"
        case (true, true): "ESMTPSA"
        }
    }

    /// What is put before the message: the trace field, and on submission what the header lacks (RFC 6409 §8).
    private func prefix(_ transaction: Transaction, id: String, date: DateTime, header: HeaderScanner) -> ByteBuffer {
        var buffer = ByteBuffer()
        let recipients = transaction.recipients
        TraceField(
            helo: helo ?? "unknown",
            client: client,
            hostname: settings.hostname,
            protocolName: protocolName,
            tls: connection.tls.map { "\($0.version) with cipher \($0.cipher)" },
            id: id,
            recipient: recipients.count == 1 ? recipients.first : nil
        ).write(date: date, to: &buffer)
        // Only where the whole header was seen is it known what is missing.
        if kind.isSubmission, header.isComplete {
            complete(transaction, id: id, date: date, header: header, &buffer)
        }
        if header.lacksHeader { buffer.writeStaticString("\r\n") }
        return buffer
    }

    private func complete(
        _ transaction: Transaction,
        id: String,
        date: DateTime,
        header: HeaderScanner,
        _ buffer: inout ByteBuffer
    ) {
        if !header.hasDate {
            buffer.writeStaticString("Date: ")
            buffer.writeString(date.description)
            buffer.writeStaticString("\r\n")
        }
        if !header.hasFrom, let address = transaction.sender.path.address {
            buffer.writeString("From: \(address)\r\n")
        }
        if !header.hasMessageID {
            buffer.writeString("Message-ID: <\(id)@\(settings.hostname)>\r\n")
        }
    }

    // MARK: The end of the message

    /// Replies to the end of the message, counts it and logs it.
    private func conclude(_ transaction: Transaction, _ intake: MessageIntake, reply frame: Frame?, _ next: Next)
        -> Next
    {
        let verdict = frame.map { Verdict($0) } ?? Verdict(intake.fault)
        var metadata: Logger.Metadata = [
            "client": "\(client)", "helo": "\(helo ?? "")", "protocol": "\(protocolName)",
            "sender": "\(transaction.sender.path)", "recipients": "\(transaction.recipients.count)",
            "octets": "\(intake.octets)",
        ]
        if let user { metadata["user"] = "\(user)" }
        if let id = frame?["id"] { metadata["id"] = "\(id)" }
        if verdict.code.isPositive {
            counters.messages.increment()
            counters.messageOctets.increment(by: intake.octets)
            logger.info("message accepted", metadata: metadata)
        } else {
            metadata["status"] = "\(verdict.status)"
            metadata["reason"] = "\(verdict.reason)"
            (verdict.code.isTransient ? counters.messagesDeferred : counters.messagesRefused).increment()
            logger.notice(verdict.code.isTransient ? "message deferred" : "message refused", metadata: metadata)
        }
        reply(verdict.code, verdict.status, verdict.text)
        return next
    }
}
