import CoreMetrics
import Logging
import NIOCore
import Network
import SMTP
import Submission

extension Session {
    /// MAIL (RFC 5321 §4.1.1.2).
    func mail(_ sender: EnvelopeSender) async throws(ConnectionError) -> Next {
        guard helo != nil else { return try await fault(.badSequence, .invalidCommand, "send HELO or EHLO first") }
        guard transaction == nil else { return try await fault(.badSequence, .invalidCommand, "nested MAIL") }
        if kind.isSubmission, user == nil {
            return try await fault(.authenticationRequired, .securityRequired, "log in first")
        }
        if let parameter = unofferedParameter(sender.parameters) {
            return try await fault(.parameterNotRecognized, .invalidArguments, "unknown parameter \(parameter)")
        }
        if let size = sender.parameters.size, size > settings.limits.message {
            counters.messagesRefused.increment()
            return try await fault(.tooLarge, .messageTooBig, "message too large")
        }
        guard mayUse(sender.path) else {
            logger.info(
                "sender refused",
                metadata: ["client": "\(client)", "user": "\(user ?? "")", "sender": "\(sender.path)"]
            )
            return try await fault(.mailboxNameNotAllowed, .notAuthorized, "not one of your addresses")
        }
        do throws(SubmissionError) {
            try await resources.submissions.prepare()
        } catch {
            logger.error("queue-manager is not available", metadata: ["reason": "\(error)"])
            counters.messagesDeferred.increment()
            reply(.localError, .systemTrouble, "queue not available, try again later")
            return .command
        }
        var accepted = EnvelopeSender(sender.path)
        accepted.parameters.body = sender.parameters.body
        transaction = Transaction(sender: accepted)
        reply(.ok, .senderValid, "ok")
        return .command
    }

    /// The first parameter that belongs to an extension that is not offered.
    private func unofferedParameter(_ parameters: MailParameters) -> String? {
        if parameters.body == .binaryMIME { return "BODY=BINARYMIME" }
        if parameters.ret != nil { return "RET" }
        if parameters.envelopeID != nil { return "ENVID" }
        if parameters.isUTF8 { return "SMTPUTF8" }
        return nil
    }

    /// Whether the client may send from this path: any, unless the configuration binds users to their own addresses.
    private func mayUse(_ path: ReversePath) -> Bool {
        guard settings.enforcesSender, let user, let address = path.address else { return true }
        guard let own = try? MailAddress(parsing: user.utf8, options: .utf8) else { return false }
        return address == own
            || (address.lowercasedDomain == own.lowercasedDomain
                && address.localPart.utf8.starts(with: "\(own.localPart)+".utf8))
    }

    /// RCPT (RFC 5321 §4.1.1.3).
    func recipient(_ path: ForwardPath, _ parameters: RecipientParameters) async throws(ConnectionError) -> Next {
        guard let transaction else {
            return try await fault(.badSequence, .invalidCommand, "send MAIL first")
        }
        guard parameters.isEmpty else {
            let name = parameters.notify == nil ? "ORCPT" : "NOTIFY"
            return try await fault(.parameterNotRecognized, .invalidArguments, "unknown parameter \(name)")
        }
        guard transaction.hasRoom(settings.limits) else {
            counters.recipientsDeferred.increment()
            reply(.insufficientStorage, .tooManyRecipients, "too many recipients")
            return .command
        }
        let address: MailAddress?
        let kind: RecipientKind
        switch path {
        case .mailbox(let mailbox) where isOurLiteral(mailbox):
            (address, kind) = await resources.recipients.homeAddress(localPart: mailbox.localPart)
        case .mailbox(let mailbox): (address, kind) = (mailbox, await resources.recipients.kind(of: mailbox))
        case .postmaster: (address, kind) = await resources.recipients.postmaster()
        }
        switch kind {
        case .local:
            return accept(address)
        case .foreign where user != nil || mayRelayByAddress:
            return accept(address)
        case .foreign:
            return try await refuseRecipient(path, .mailboxUnavailable, .notAuthorized, "relaying denied")
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
            let here = connection.localAddress?.addressOctets
        else { return false }
        return (try? SocketAddress(ipAddress: String(text), port: 0))?.addressOctets == here
    }

    private func accept(_ address: MailAddress?) -> Next {
        if let address { transaction?.add(EnvelopeRecipient(address)) }
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
