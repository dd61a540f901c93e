import Daemon
import Deliverer
import NIOCore
import Network
import SMTP

/// One mail transaction on an SMTP session: MAIL, RCPT, DATA, the message.
struct Transaction {
    let client: SMTPClient
    let job: DeliveryJob
    let message: OutgoingMessage
    let settings: RelaySettings

    /// The most that a transaction may take, however slowly the host talks.
    private static let maximumTime = TimeAmount.hours(1)
    /// Octets of the message that are written before they are flushed.
    private static let flushThreshold = 64 * 1024

    private var request: DeliverRequest { job.request }
    private var remote: RemoteHost { client.target.remote }

    /// Runs the transaction for some of the request's recipients, given by their places in it. Each result is reported as
    /// soon as it's certain.
    ///
    /// - Throws: where the session can't be used any more; recipients without a result may be tried elsewhere.
    func run(for places: [Int]) async throws(SMTPClient.Failure) {
        client.connection.deadline = .now() + Self.maximumTime
        if let refusal = refusalByExtensions() {
            report(refusal, places)
            return
        }
        if let refusal = try await prepare() {
            report(refusal, places)
            return
        }
        client.connection.idleTimeout = settings.times.command
        let isPipelined = client.extensions.has("PIPELINING")
        let mail = "MAIL FROM:\(senderText)"
        let recipients = places.map { (place: $0, command: "RCPT TO:\(recipientText(request.recipients[$0]))") }
        if isPipelined {
            client.write(mail)
            for recipient in recipients { client.write(recipient.command) }
            client.write("DATA")
            try await client.flush()
        }
        let mailReply = isPipelined ? try await client.reply() : try await client.command(mail)
        let isOpen = mailReply.code.isPositive
        if !isOpen { report(DeliveryResult(mailReply, from: remote, after: "MAIL"), places) }
        var accepted: [Int] = []
        if isOpen || isPipelined {
            for recipient in recipients {
                let reply = isPipelined ? try await client.reply() : try await client.command(recipient.command)
                guard isOpen else { continue }
                if reply.code.isPositive {
                    accepted.append(recipient.place)
                } else {
                    job.report(refusal(ofRecipient: reply), at: recipient.place)
                }
            }
        }
        try await data(isPipelined: isPipelined, accepted)
    }

    private func report(_ result: DeliveryResult, _ places: [Int]) {
        for place in places { job.report(result, at: place) }
    }

    private func data(isPipelined: Bool, _ accepted: [Int]) async throws(SMTPClient.Failure) {
        client.connection.idleTimeout = settings.times.data
        guard !accepted.isEmpty || isPipelined else {
            // No recipient was accepted: the transaction is reset (RFC 5321 §4.1.1.5).
            try await reset()
            return
        }
        let ready = isPipelined ? try await client.reply() : try await client.command("DATA")
        guard ready.code.isIntermediate else {
            // Only 354 asks for the message: a host that says 2xx has not got it.
            if ready.code.isPositive { throw .connection("unexpected reply to DATA: \(ready.code)") }
            report(DeliveryResult(ready, from: remote, after: "DATA"), accepted)
            try await reset()
            return
        }
        guard !accepted.isEmpty else {
            // A host that accepts DATA without a recipient gets an empty message (RFC 2920 §3.1).
            _ = try await client.command(".")
            return
        }
        try await send()
        // Without the dot the host takes nothing, and the next attempt sends it once.
        if job.isAbandoned { throw .interrupted }
        let final: Reply
        do {
            final = try await end()
        } catch {
            // The host may have taken the message: sent again now, it might come twice.
            if case .connection(let reason) = error {
                let text = "no answer to the end of the message: \(reason)"
                report(DeliveryResult(.delayed, .badConnection, text, remote: remote), accepted)
            }
            throw error
        }
        report(DeliveryResult(final, from: remote, after: "the message"), accepted)
        if final.code.isIntermediate { throw .connection("unexpected reply to the message: \(final.code)") }
        client.countMessage()
    }

    /// Resets the transaction. If the host refuses, the session is given up: what is left of this transaction would be taken
    /// for part of the next.
    private func reset() async throws(SMTPClient.Failure) {
        let reply = try await client.command("RSET")
        guard reply.code.isPositive else { throw .connection("unexpected reply to RSET: \(reply.code)") }
    }

    /// 552 means here that there are too many recipients, which others than the first may hear (RFC 5321 §4.5.3.1.10).
    private func refusal(ofRecipient reply: Reply) -> DeliveryResult {
        let result = DeliveryResult(reply, from: remote, after: "RCPT")
        guard reply.code == .tooLarge else { return result }
        let status = reply.status.map { EnhancedStatusCode(4, $0.subject, $0.detail) }
        return DeliveryResult(
            .delayed,
            status ?? .tooManyRecipients,
            "too many recipients",
            remote: remote,
            diagnostic: result.diagnostic
        )
    }

    /// Sends the message but for its last octets, which go with the dot.
    private func send() async throws(SMTPClient.Failure) {
        var pieces = message.pieces()
        var encoder = DataEncoder()
        var unsent = 0
        while var piece = try await next(&pieces) {
            if unsent >= Self.flushThreshold {
                try await client.flush()
                unsent = 0
            }
            unsent += piece.readableBytes
            client.connection.write(with: { encoder.encode(&piece, into: &$0) })
            guard encoder.longestLine <= DataEncoder.lineLimit else { throw tooLong() }
        }
        client.connection.write(with: { encoder.finish(into: &$0) })
        client.messageEnds()
    }

    /// A line is too long: nothing ends this message, and the session is of no use any more.
    private func tooLong() -> SMTPClient.Failure {
        guard message.isRewritten else {
            message.noteLongLine()
            return .longLine
        }
        let refusal = message.refuseForGood()
        job.report(refusal)
        return .unreadable(refusal.text)
    }

    private func next(_ pieces: inout OutgoingMessage.Pieces) async throws(SMTPClient.Failure) -> ByteBuffer? {
        do throws(MessageSourceError) {
            return try await pieces.next()
        } catch {
            throw SMTPClient.Failure(error)
        }
    }

    private func prepare() async throws(SMTPClient.Failure) -> DeliveryResult? {
        do throws(MessageSourceError) {
            return try await message.prepare()
        } catch {
            throw SMTPClient.Failure(error)
        }
    }

    /// Sends the rest, with the dot that ends the message, and waits for the answer.
    private func end() async throws(SMTPClient.Failure) -> Reply {
        try await client.flush()
        client.connection.idleTimeout = settings.times.end
        return try await client.reply()
    }

    /// A refusal that follows from the EHLO response alone.
    private func refusalByExtensions() -> DeliveryResult? {
        if let maximum = client.extensions.maximumSize, job.message.totalOctets > maximum {
            let text = "takes messages of \(maximum) octets at most"
            return DeliveryResult(.failed, .messageTooBig, text, remote: remote)
        }
        let needsUTF8 =
            request.sender.path.address?.needsUTF8 == true || request.recipients.contains { $0.address.needsUTF8 }
        if needsUTF8, !client.extensions.has("SMTPUTF8") {
            return DeliveryResult(.failed, .noUTF8Addresses, "does not take UTF-8 addresses", remote: remote)
        }
        return nil
    }

    private var senderText: String {
        var parameters = MailParameters()
        if client.extensions.has("SIZE"), !message.isRewritten { parameters.size = job.message.totalOctets }
        if client.extensions.has("8BITMIME") { parameters.body = request.sender.parameters.body }
        if client.extensions.has("DSN") {
            parameters.ret = request.sender.parameters.ret
            parameters.envelopeID = request.sender.parameters.envelopeID
        }
        if client.extensions.has("SMTPUTF8") { parameters.isUTF8 = request.sender.parameters.isUTF8 }
        return EnvelopeSender(request.sender.path, parameters: parameters).description
    }

    private func recipientText(_ recipient: EnvelopeRecipient) -> String {
        client.extensions.has("DSN")
            ? recipient.description : EnvelopeRecipient(recipient.address).description
    }
}

extension SMTPClient.Failure {
    fileprivate init(_ error: MessageSourceError) {
        switch error {
        case .abandoned: self = .interrupted
        case .refused, .timedOut, .malformed: self = .unreadable("\(error)")
        }
    }
}

extension EnhancedStatusCode {
    /// 5.6.7: an address in UTF-8, which the host doesn't take (RFC 6531 §3.7.4.2).
    static let noUTF8Addresses = EnhancedStatusCode(5, 6, 7)
}
