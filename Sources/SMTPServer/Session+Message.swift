import CoreMetrics
import Logging
import MIME
import NIOCore
import Network
import Policy
import Resolution
import SMTP
import Submission
import TLS

extension Session {
    /// DATA (RFC 5321 §4.1.1.4): the message goes to queue-manager as it comes.
    func data() async throws(ConnectionError) -> Next {
        guard let transaction else { return try await fault(.badSequence, .invalidCommand, "send MAIL first") }
        guard !transaction.recipients.isEmpty else {
            return try await fault(.transactionFailed, .invalidCommand, "no valid recipients")
        }
        self.transaction = nil
        let submission: MessageSubmission
        do throws(SubmissionError) {
            submission = try await resources.submissions.begin(envelope(of: transaction))
        } catch {
            logger.error("queue-manager is not available", metadata: ["reason": "\(error)"])
            counters.messagesDeferred.increment()
            reply(.localError, .systemTrouble, "queue not available, try again later")
            return .command
        }
        reply(.startMailInput, nil, "end with a dot on a line of its own")
        if user == nil { connection.note(.atWork) }
        defer { if user == nil { connection.note(.stranger) } }
        do throws(ConnectionError) {
            return try await receive(transaction, submission)
        } catch {
            // The client is gone or timed out: nothing of the message is kept.
            submission.abort()
            throw error
        }
    }

    private func receive(
        _ transaction: Transaction,
        _ submission: MessageSubmission
    ) async throws(ConnectionError) -> Next {
        let date = DateTime.now()
        let authentication = authentication(of: transaction, date)
        defer { authentication?.cancel() }
        var intake = MessageIntake(submission, authentication, limits: settings.limits)
        while await !intake.advance(over: connection) {
            if let fault = intake.fault, intake.shouldDisconnect {
                conclude(transaction, intake, Verdict(fault))
                return .close
            }
            try checkTime()
            try await flush()
            guard try await connection.receive() else { throw .closed }
        }
        if let fault = intake.fault {
            conclude(transaction, intake, Verdict(fault))
            // Others may see more messages or commands in what follows than we do.
            if intake.isEndDoubtful { return .close }
        } else {
            let verdict = await authentication?.verdict(sample: .random(in: 0..<100))
            if let verdict, let refusal = Verdict(verdict.action) {
                submission.abort()
                conclude(transaction, intake, refusal, verdict)
                return .command
            }
            let added = added(to: intake.header, transaction, id: submission.id, date: date, verdict)
            let result = await submission.finish(added: added, isQuarantined: verdict?.action == .quarantine)
            conclude(transaction, intake, Verdict(result), verdict)
        }
        return .command
    }

    /// Checks who a stranger's message is from; nil for those whom we know.
    private func authentication(of transaction: Transaction, _ date: DateTime) -> MessageAuthentication? {
        guard let policy = settings.authentication, !kind.isSubmission, user == nil, !mayRelayByAddress,
            let address = connection.remoteAddress?.addressOctets
        else { return nil }
        let resolver = resources.resolver
        return MessageAuthentication(
            MessageAuthentication.Origin(address: address, helo: helo ?? "", sender: transaction.sender.path),
            policy: policy,
            now: date.secondsSince1970,
            on: connection.eventLoop
        ) { (name, type) throws(ResolutionError) in try await resolver.query(name, type) }
    }

    private func envelope(of transaction: Transaction) -> SubmissionEnvelope {
        var envelope = SubmissionEnvelope(sender: transaction.sender, recipients: transaction.recipients)
        envelope.client = client
        envelope.helo = helo ?? ""
        envelope.protocolName = protocolName
        envelope.user = user
        return envelope
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

    /// What is put in front of the message: the trace field, and on submission what the header lacks (RFC 6409 §8).
    ///
    /// - Parameter header: of the whole message.
    private func added(
        to header: HeaderScanner,
        _ transaction: Transaction,
        id: String,
        date: DateTime,
        _ verdict: AuthenticationVerdict?
    ) -> ByteBuffer {
        // Above the trace field of the hop that found it (RFC 8601 §4.1, RFC 7208 §9.1).
        var buffer = verdict?.fields ?? ByteBuffer()
        buffer.reserveCapacity(buffer.readableBytes + 512)
        let recipients = transaction.recipients
        TraceField(
            helo: helo ?? "unknown",
            client: client,
            clientName: verdict?.clientName,
            hostname: settings.hostname,
            protocolName: protocolName,
            tls: connection.tls.map { "\($0.version) with cipher \($0.cipher)" },
            id: id,
            recipient: recipients.count == 1 ? recipients.first?.address : nil
        ).write(date: date, to: &buffer)
        if kind.isSubmission { complete(transaction, id: id, date: date, header: header, &buffer) }
        if header.lacksHeader { buffer.writeStaticString("\r\n") }
        // The line becomes a field, so that the header doesn't end there.
        if header.startsWithMailboxLine { buffer.writeStaticString("X-Mailbox-Line: ") }
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
    private func conclude(
        _ transaction: Transaction,
        _ intake: MessageIntake,
        _ verdict: Verdict,
        _ authentication: AuthenticationVerdict? = nil
    ) {
        var metadata: Logger.Metadata = [
            "client": .string(client), "helo": .string(helo ?? ""), "protocol": .string(protocolName),
            "sender": .string(transaction.sender.path.description),
            "recipients": .string(String(transaction.recipients.count)), "octets": .string(String(intake.octets)),
        ]
        if let user { metadata["user"] = .string(user) }
        if let name = authentication?.clientName { metadata["client-name"] = .string(name) }
        for (method, result) in authentication?.summary ?? [] { metadata[method] = .string(result) }
        if let id = verdict.id {
            metadata["id"] = .string(id)
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
    }
}
