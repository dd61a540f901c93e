import CoreMetrics
import Front
import Logging
import MIME
import MilterClient
import NIOCore
import Network
import SMTP
import Submission

extension Session {
    /// MAIL (RFC 5321 §4.1.1.2).
    func mail(_ sender: EnvelopeSender) async throws(ConnectionError) -> Next {
        guard helo != nil else { return try await fault(.badSequence, .invalidCommand, "send HELO or EHLO first") }
        guard transaction == nil else { return try await fault(.badSequence, .invalidCommand, "nested MAIL") }
        // RFC 3207 §4; a socket of this machine is as good.
        if settings.requiresTLS, connection.tls == nil, front.remoteAddress?.addressOctets != nil {
            return try await fault(.authenticationRequired, .securityRequired, "issue STARTTLS first")
        }
        if kind.isSubmission, user == nil {
            return try await fault(.authenticationRequired, .securityRequired, "log in first")
        }
        if let parameter = unoffered(sender.parameters.used) {
            return try await fault(.parameterNotRecognized, .invalidArguments, "unknown parameter \(parameter)")
        }
        guard sender.path.address?.needsUTF8 != true || sender.parameters.isUTF8 else {
            return try await fault(.mailboxNameNotAllowed, .noUTF8Addresses, "a UTF-8 address needs SMTPUTF8")
        }
        if let size = sender.parameters.size, size > settings.limits.message {
            counters.messagesRefused.increment()
            return try await fault(.tooLarge, .messageTooBig, "message too large")
        }
        let now = DateTime.secondsNow()
        if let refusal = try await refuseTerms(sender.parameters, now) { return refusal }
        if let refusal = try await refuseSender(sender.path) { return refusal }
        if let refusal = refuseTransaction(from: sender.path) { return refusal }
        do throws(SubmissionError) {
            try await resources.submissions.prepare()
        } catch {
            logger.error("queue-manager is not available", metadata: ["reason": "\(error)"])
            counters.messagesDeferred.increment()
            reply(.localError, .systemTrouble, "queue not available, try again later")
            return .command
        }
        if let next = try await askMilters(about: sender) { return next }
        transaction = Transaction(sender: kept(sender))
        transaction?.terms = Self.terms(sender.parameters, now)
        reply(.ok, .senderValid, "ok")
        return .command
    }

    /// What of a sender's parameters goes with the message: not its size, which is known at its end, nor what is relative to
    /// this moment.
    private func kept(_ sender: EnvelopeSender) -> EnvelopeSender {
        var kept = EnvelopeSender(sender.path)
        kept.parameters.body = sender.parameters.body
        // Many programs send octets beyond ASCII and say nothing; what has none may be declared so too (RFC 6152 §3).
        if user != nil, kept.parameters.body != .binaryMIME { kept.parameters.body = .eightBitMIME }
        kept.parameters.ret = sender.parameters.ret
        kept.parameters.envelopeID = sender.parameters.envelopeID
        kept.parameters.isUTF8 = sender.parameters.isUTF8
        kept.parameters.requiresTLS = sender.parameters.requiresTLS
        kept.parameters.variableSender = sender.parameters.variableSender
        return kept
    }

    private static func terms(_ parameters: MailParameters, _ now: Int64) -> DeliveryTerms {
        var terms = DeliveryTerms()
        terms.holdUntil = parameters.hold.map { $0.time(from: now) }
        // It's counted from the moment when the message is released (RFC 4865 §4.2).
        terms.deadline = parameters.deliverBy.map {
            DeliveryTerms.Deadline(
                time: terms.start(arrived: now) + Int64($0.seconds),
                mode: $0.mode,
                isTraced: $0.isTraced
            )
        }
        terms.priority = parameters.priority ?? 0
        return terms
    }

    /// Refuses times that can't be kept to.
    private func refuseTerms(_ parameters: MailParameters, _ now: Int64) async throws(ConnectionError) -> Next? {
        if let hold = parameters.hold, hold.time(from: now) > now + settings.limits.hold {
            let text = "a message is held for \(settings.limits.hold) seconds at most"
            return try await fault(.transactionFailed, .notAuthorized, text)
        }
        // A shorter one could only come back (RFC 2852 §4.1.2).
        if let by = parameters.deliverBy, by.mode == .return, by.seconds < settings.limits.deliverBy {
            let text = "delivery within less than \(settings.limits.deliverBy) seconds can't be promised"
            return try await fault(.transactionFailed, .deadlinePassed, text)
        }
        return nil
    }

    /// RCPT (RFC 5321 §4.1.1.3).
    func recipient(_ path: ForwardPath, _ parameters: RecipientParameters) async throws(ConnectionError) -> Next {
        guard let transaction else {
            return try await fault(.badSequence, .invalidCommand, "send MAIL first")
        }
        guard chunked == nil else {
            return try await fault(.badSequence, .invalidCommand, "the message has begun")
        }
        if let name = unoffered(parameters.used) {
            return try await fault(.parameterNotRecognized, .invalidArguments, "unknown parameter \(name)")
        }
        if case .mailbox(let mailbox) = path, mailbox.needsUTF8, !transaction.sender.parameters.isUTF8 {
            return try await fault(.mailboxNameNotAllowed, .noUTF8Addresses, "a UTF-8 address needs SMTPUTF8 at MAIL")
        }
        guard transaction.hasRoom(settings.limits) else {
            counters.recipientsDeferred.increment()
            reply(.insufficientStorage, .tooManyRecipients, "too many recipients")
            return .command
        }
        let address: MailAddress?
        let owner: RecipientKind
        switch path {
        case .mailbox(let mailbox) where isOurLiteral(mailbox):
            (address, owner) = await resources.recipients.homeAddress(localPart: mailbox.localPart)
        case .mailbox(let mailbox): (address, owner) = (mailbox, await resources.recipients.kind(of: mailbox))
        case .postmaster: (address, owner) = await resources.recipients.postmaster()
        }
        switch owner {
        case .local:
            return try await accept(address, parameters)
        case .returnPath where transaction.sender.path.address == nil:
            return try await accept(address, parameters)
        case .returnPath:
            let text = "this address takes delivery reports alone"
            return try await refuseRecipient(path, .mailboxUnavailable, .notAuthorized, text)
        case .foreign where kind != .lmtp && (user != nil || mayRelayByAddress):
            return try await accept(address, parameters)
        case .foreign where address.map(isRelayed) ?? false:
            return try await acceptRelayed(path, address, parameters)
        case .foreign:
            return try await refuseRecipient(path, .mailboxUnavailable, .notAuthorized, "relaying denied")
        case .unknown, .full, .deferred: return try await turnAway(path, owner)
        }
    }

    /// Whether mail for an address is taken from anybody and sent on.
    private func isRelayed(_ address: MailAddress) -> Bool {
        kind != .lmtp && settings.relayDomains.contains(address.lowercasedDomain)
    }

    /// Takes a recipient of a domain that is relayed, once the next hop was asked where that is wanted.
    private func acceptRelayed(
        _ path: ForwardPath,
        _ address: MailAddress?,
        _ parameters: RecipientParameters
    ) async throws(ConnectionError) -> Next {
        guard settings.checksRecipients, let address else { return try await accept(address, parameters) }
        // What was asked before may be told while another host is waited for.
        try await flush()
        let owner = await resources.recipientCheck.kind(of: address, for: client)
        switch owner {
        case .local, .returnPath, .foreign: return try await accept(address, parameters)
        case .unknown, .full, .deferred: return try await turnAway(path, owner)
        }
    }

    /// Answers for a recipient that isn't taken, now or ever.
    private func turnAway(_ path: ForwardPath, _ owner: RecipientKind) async throws(ConnectionError) -> Next {
        switch owner {
        case .local, .returnPath, .foreign: return .command
        case .unknown(let status, let text):
            return try await refuseRecipient(path, .mailboxUnavailable, status, text)
        case .full:
            logger.info("recipient deferred", metadata: ["recipient": "\(path)", "reason": "the mailbox is full"])
            counters.recipientsDeferred.increment()
            reply(.insufficientStorage, .mailboxFull, "the mailbox is full, try again later")
            return .command
        case .deferred(let reason):
            logger.error("recipient deferred", metadata: ["recipient": "\(path)", "reason": "\(reason)"])
            counters.recipientsDeferred.increment()
            reply(.localError, .systemTrouble, "cannot look up the recipient now, try again later")
            return .command
        }
    }

    /// Whether the domain is the address that the client has connected to (RFC 5321 §4.1.3, §4.5.1).
    private func isOurLiteral(_ address: MailAddress) -> Bool {
        guard let text = AddressLiteral.ipAddress(in: address.domain),
            let here = front.localAddress?.addressOctets
        else { return false }
        return (try? SocketAddress(ipAddress: String(text), port: 0))?.addressOctets == here
    }

    private func accept(
        _ address: MailAddress?,
        _ parameters: RecipientParameters
    ) async throws(ConnectionError) -> Next {
        if let address, let transaction, let refusal = await refusal(of: address, in: transaction) {
            guard refusal.code.isPermanent else {
                // No fault of the client's.
                counters.recipientsDeferred.increment()
                reply(refusal.code, refusal.status, refusal.text)
                return .command
            }
            counters.recipientsRefused.increment()
            return try await fault(refusal.code, refusal.status, refusal.text)
        }
        if let address {
            let recipient = EnvelopeRecipient(address, parameters: parameters)
            if let verdict = await milters?.recipient(recipient, macros(of: address)),
                let next = try await refuse(by: verdict)
            {
                counters.recipientsRefused.increment()
                return next
            }
            transaction?.add(recipient)
        }
        reply(.ok, .recipientValid, "ok")
        return .command
    }

    private func refuseRecipient(
        _ path: ForwardPath,
        _ code: ReplyCode,
        _ status: EnhancedStatusCode,
        _ text: String
    ) async throws(ConnectionError) -> Next {
        counters.recipientsRefused.increment()
        await milters?.refusedRecipient(path.description, macros(of: path, refused: code, status, text))
        logger.info(
            "recipient refused",
            metadata: [
                "client": "\(client)", "helo": "\(helo ?? "")", "sender": "\(transaction?.sender.path ?? .null)",
                "recipient": "\(path)", "status": "\(status)", "reason": "\(text)",
            ]
        )
        return try await fault(code, status, text)
    }
}
