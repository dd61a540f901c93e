import CoreMetrics
import Front
import Logging
import MIME
import MailRules
import MilterClient
import NIOCore
import Network
import Policy
import SMTP
import Submission
import TLS

extension Session {
    /// DATA (RFC 5321 §4.1.1.4): the message goes to queue-manager as it comes.
    func data() async throws(ConnectionError) -> Next {
        if let refusal = try await refuseMessage() { return refusal }
        guard let transaction, chunked == nil, transaction.sender.parameters.body != .binaryMIME else {
            // What DATA carries are lines (RFC 3030 §2, §3).
            return try await fault(.badSequence, .invalidCommand, "go on with BDAT")
        }
        // The message must not come before 354.
        if let refusal = try await refuseEarlyPipelining() { return refusal }
        self.transaction = nil
        let (begun, next) = try await beginMessage(transaction)
        guard let submission = begun else { return next }
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

    /// A message that can't begin.
    func refuseMessage() async throws(ConnectionError) -> Next? {
        guard let transaction else { return try await fault(.badSequence, .invalidCommand, "send MAIL first") }
        guard transaction.recipients.isEmpty else { return nil }
        // RFC 2033 §4.2 for LMTP.
        let code = kind == .lmtp ? ReplyCode.badSequence : .transactionFailed
        return try await fault(code, .invalidCommand, "no valid recipients")
    }

    private func receive(
        _ transaction: Transaction,
        _ submission: MessageSubmission
    ) async throws(ConnectionError) -> Next {
        let date = DateTime.now()
        var intake = intake(of: transaction, submission, date)
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
            return await commit(transaction, intake, submission, date: date)
        }
        return .command
    }

    /// Where a message goes through on its way to queue-manager.
    func intake(
        of transaction: Transaction,
        _ submission: MessageSubmission,
        _ date: DateTime,
        isBinary: Bool = false
    ) -> MessageIntake {
        MessageIntake(
            submission,
            authentication(of: transaction, date),
            filter: forgedResultsFilter,
            held: heldMessage,
            excerpt: settings.policy.needsContent ? MessageExcerpt(bodyLimit: settings.policyBody) : nil,
            limits: settings.limits,
            isBinary: isBinary
        )
    }

    /// Ends the message: once queue-manager has it, the client hears that it's safe.
    func commit(
        _ transaction: Transaction,
        _ intake: MessageIntake,
        _ submission: MessageSubmission,
        date: DateTime
    ) async -> Next {
        if let refusal = await refusalOfAuthor(intake.submittedHeader) {
            submission.abort()
            conclude(transaction, intake, refusal)
            return .command
        }
        let verdict = await intake.authentication?.verdict(sample: .random(in: 0..<100))
        let (outcome, hasComeBack) = await outcome(of: transaction, intake, verdict)
        await tarpit(outcome.delay)
        // A rule that decides has the last word; where none does, it's the author's domain's.
        let refusal = outcome.action.map { Verdict($0) } ?? verdict.flatMap { Verdict($0.action) }
        if let end = refusal ?? (outcome.action == .discard ? .discarded : nil) {
            submission.abort()
            conclude(transaction, intake, end, verdict, rule: outcome.rule)
            return .command
        }
        let added = added(to: intake.header, transaction, id: submission.id, date: date, verdict, outcome.fields)
        let isJunk = outcome.action == .junk || outcome.action == nil && verdict?.action == .quarantine
        let isHeld = outcome.action == .hold
        let (end, next) =
            if let held = intake.held {
                await judge(
                    held,
                    transaction,
                    intake,
                    submission,
                    added: added,
                    isJunk: isJunk,
                    isHeld: isHeld,
                    outcome.route
                )
            } else {
                (
                    Verdict(
                        await submission.finish(
                            added: added,
                            isQuarantined: isJunk,
                            isHeld: isHeld,
                            route: outcome.route
                        )
                    ),
                    Next.command
                )
            }
        // It may have it, and the limits are there for what goes out.
        if submission.isUncertain { counted = nil }
        if end.id != nil, hasComeBack {
            resources.greylist.accepted(identities: identities(of: transaction, verdict))
        }
        conclude(transaction, intake, end, verdict, rule: outcome.rule)
        return next
    }

    /// Checks who a stranger's message is from; nil for those whom we know.
    func authentication(of transaction: Transaction, _ date: DateTime) -> MessageAuthentication? {
        guard let policy = settings.authentication, kind == .smtp, user == nil, !mayRelayByAddress,
            let address = front.remoteAddress?.addressOctets
        else { return nil }
        return MessageAuthentication(
            MessageAuthentication.Origin(address: address, helo: helo ?? "", sender: transaction.sender.path),
            policy: policy,
            now: date.secondsSince1970,
            on: connection.eventLoop,
            shared: resources.shared,
            query: resources.query
        )
    }

    /// What takes our own word out of mail whose author isn't checked; nil for hosts and programs that we trust with it.
    var forgedResultsFilter: ForgedResultsFilter? {
        guard kind != .lmtp, user != nil || !mayRelayByAddress else { return nil }
        return ForgedResultsFilter(authservID: settings.authservID ?? settings.hostname, removesBcc: user != nil)
    }

    func envelope(of transaction: Transaction) -> SubmissionEnvelope {
        var envelope = SubmissionEnvelope(sender: transaction.sender, recipients: transaction.recipients)
        envelope.client = client
        envelope.helo = helo ?? ""
        envelope.protocolName = protocolName(of: transaction)
        envelope.terms = transaction.terms
        envelope.user = user
        return envelope
    }

    /// RFC 3848; for SMTPUTF8 RFC 6531 §4.3.
    private func protocolName(of transaction: Transaction) -> String {
        guard isExtended else { return "SMTP" }
        let base =
            switch (kind == .lmtp, transaction.sender.parameters.isUTF8) {
            case (false, false): "ESMTP"
            case (false, true): "UTF8SMTP"
            case (true, false): "LMTP"
            case (true, true): "UTF8LMTP"
            }
        return base + (connection.tls != nil ? "S" : "") + (user != nil ? "A" : "")
    }

    /// What is put in front of the message: the trace field, and on submission what the header lacks (RFC 6409 §8).
    ///
    /// - Parameter header: of the whole message.
    private func added(
        to header: HeaderScanner,
        _ transaction: Transaction,
        id: String,
        date: DateTime,
        _ verdict: AuthenticationVerdict?,
        _ fields: [String]
    ) -> ByteBuffer {
        // Above the trace field of the hop that found it (RFC 8601 §4.1, RFC 7208 §9.1).
        var buffer = verdict?.fields ?? ByteBuffer()
        buffer.reserveCapacity(buffer.readableBytes + 512)
        for field in fields { buffer.writeString(field + "\r\n") }
        let recipients = transaction.recipients
        TraceField(
            helo: helo ?? "unknown",
            client: client,
            clientName: verifiedName(verdict),
            hostname: settings.hostname,
            protocolName: protocolName(of: transaction),
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
        if !header.hasFrom, let address = transaction.sender.path.address?.description ?? user {
            buffer.writeString("From: \(address)\r\n")
        }
        if !header.hasMessageID {
            buffer.writeString("Message-ID: <\(id)@\(settings.hostname)>\r\n")
        }
    }

    // MARK: The end of the message

    /// Replies to the end of the message, counts it and logs it.
    ///
    /// - Parameter isLast: false for a chunk that others were to follow: LMTP has one reply to it, too.
    func conclude(
        _ transaction: Transaction,
        _ intake: MessageIntake,
        _ verdict: Verdict,
        _ authentication: AuthenticationVerdict? = nil,
        rule: PolicyRule? = nil,
        isLast: Bool = true
    ) {
        var metadata: Logger.Metadata = [
            "client": .string(client), "helo": .string(helo ?? ""), "protocol": .string(protocolName(of: transaction)),
            "sender": .string(transaction.sender.path.description),
            "recipients": .string(String(transaction.recipients.count)), "octets": .string(String(intake.octets)),
        ]
        // What a rule throws away was taken.
        if verdict.id != nil || verdict.isDiscarded { counted = nil } else { takeBackCount() }
        if let user { metadata["user"] = .string(user) }
        if let name = intake.header.messageID { metadata["message-id"] = .string(name) }
        if let name = verifiedName(authentication) { metadata["client-name"] = .string(name) }
        for (method, result) in authentication?.results ?? [] { metadata[method] = .string(result) }
        for (method, reason) in authentication?.reasons ?? [] { metadata[method + "-reason"] = .string(reason) }
        if let authentication { report(authentication, verdict, rule: rule) }
        if let rule { metadata["rule"] = .stringConvertible(rule.line) }
        if let id = verdict.id {
            metadata["id"] = .string(id)
            counters.messages.increment()
            counters.messageOctets.increment(by: intake.octets)
            logger.info("message accepted", metadata: metadata)
        } else if verdict.isDiscarded {
            metadata["reason"] = "\(verdict.reason)"
            counters.messagesDiscarded.increment()
            logger.notice("message discarded", metadata: metadata)
        } else {
            metadata["status"] = "\(verdict.status)"
            metadata["reason"] = "\(verdict.reason)"
            (verdict.code.isTransient ? counters.messagesDeferred : counters.messagesRefused).increment()
            logger.notice(verdict.code.isTransient ? "message deferred" : "message refused", metadata: metadata)
        }
        answer(verdict.reply, isLast ? transaction : nil)
    }

    /// Writes a reply; where a message has come to its end over LMTP, one for each RCPT that was accepted (RFC 2033 §4.2).
    ///
    /// - Parameter ended: the message's transaction; nil where it isn't at its end.
    func answer(_ reply: Reply, _ ended: Transaction?) {
        guard kind == .lmtp, let ended else { return write(reply) }
        for address in ended.accepted {
            let name = address.needsUTF8 ? "recipient" : address.description
            write(Reply(reply.code, reply.status, lines: reply.lines.map { "<\(name)> \($0)" }))
        }
    }
}
