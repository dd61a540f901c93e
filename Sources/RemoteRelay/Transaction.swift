import Bus
import Daemon
import NIOCore
import NIOPosix
import Network
import SMTP

/// One message for several recipients of one destination, as queue-manager asked for it.
struct DeliveryRequest {
    let id: String
    let destination: String
    let sender: EnvelopeSender
    let recipients: [EnvelopeRecipient]
    let file: MessageFile
    /// Whether queue-manager went away, or the daemon ends: what was not sent yet should not be sent.
    var isAbandoned: @Sendable () -> Bool = { false }
}

/// One mail transaction on an SMTP session: MAIL, RCPT, DATA, the message.
struct Transaction {
    let client: SMTPClient
    let request: DeliveryRequest
    let settings: RelaySettings
    let pool: NIOThreadPool

    /// A host that gives octet after octet holds a transaction no longer than this.
    private static let longest = TimeAmount.hours(1)

    /// How a transaction ended.
    enum End {
        /// Every recipient asked for has an outcome; the session may be used again.
        case complete([Int: Outcome])
        /// The session is of no use any more; recipients without an outcome may be tried elsewhere.
        case broken([Int: Outcome], SMTPClient.Trouble)
    }

    /// Runs the transaction for some of the request's recipients, given by their places in it.
    func run(for places: [Int]) async -> End {
        var outcomes: [Int: Outcome] = [:]
        client.connection.deadline = .now() + Self.longest
        if let refusal = refusalBeforehand() {
            for place in places { outcomes[place] = refusal }
            return .complete(outcomes)
        }
        do {
            try await exchange(places, &outcomes)
            return .complete(outcomes)
        } catch {
            return .broken(outcomes, error)
        }
    }

    private func exchange(_ places: [Int], _ outcomes: inout [Int: Outcome]) async throws(SMTPClient.Trouble) {
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
        var accepted: [Int] = []
        if mailReply.code.isPositive || isPipelined {
            for recipient in recipients {
                let reply = isPipelined ? try await client.reply() : try await client.command(recipient.command)
                if mailReply.code.isPositive, reply.code.isPositive {
                    accepted.append(recipient.place)
                } else if mailReply.code.isPositive {
                    outcomes[recipient.place] = refusal(ofRecipient: reply)
                }
            }
        }
        if !mailReply.code.isPositive {
            for place in places { outcomes[place] = Outcome(mailReply, from: client.target.description, after: "MAIL") }
        }
        try await data(isPipelined: isPipelined, accepted, &outcomes)
    }

    private func data(
        isPipelined: Bool,
        _ accepted: [Int],
        _ outcomes: inout [Int: Outcome]
    ) async throws(SMTPClient.Trouble) {
        client.connection.idleTimeout = settings.times.data
        guard !accepted.isEmpty || isPipelined else {
            // Nobody was accepted: the transaction is taken back (RFC 5321 §4.1.1.5).
            try await reset()
            return
        }
        let ready = isPipelined ? try await client.reply() : try await client.command("DATA")
        guard ready.code.isIntermediate else {
            // Only 354 asks for the message: a host that says 2xx has not got it.
            if ready.code.isPositive { throw .connection("unexpected reply to DATA: \(ready.code)") }
            for place in accepted { outcomes[place] = Outcome(ready, from: client.target.description, after: "DATA") }
            try await reset()
            return
        }
        guard !accepted.isEmpty else {
            // A host that wants the message for nobody gets an empty one (RFC 2920 §3.1).
            _ = try await client.command(".")
            return
        }
        try await send()
        if request.isAbandoned() {
            // Without the dot the host takes nothing, and the next attempt sends it once.
            client.connection.abort()
            for place in accepted { outcomes[place] = .interrupted }
            throw .connection("interrupted")
        }
        let final: Reply
        do {
            final = try await end()
        } catch {
            // The host may have taken the message: sent again now, it might come twice.
            if case .connection(let reason) = error {
                let text = "\(client.target.description): no answer to the end of the message: \(reason)"
                for place in accepted {
                    outcomes[place] = .later(.badConnection, text, remote: client.target.description)
                }
            }
            throw error
        }
        for place in accepted {
            outcomes[place] = Outcome(final, from: client.target.description, after: "the message")
        }
        if final.code.isIntermediate { throw .connection("unexpected reply to the message: \(final.code)") }
        client.countMessage()
    }

    /// Takes the transaction back. After a no the next one would meet the rest of this one, and refusals not meant for it.
    private func reset() async throws(SMTPClient.Trouble) {
        let reply = try await client.command("RSET")
        guard reply.code.isPositive else { throw .connection("unexpected reply to RSET: \(reply.code)") }
    }

    /// 552 means here that there are too many recipients, which others than the first may hear (RFC 5321 §4.5.3.1.10).
    private func refusal(ofRecipient reply: Reply) -> Outcome {
        guard reply.code == .tooLarge else { return Outcome(reply, from: client.target.description, after: "RCPT") }
        let status = reply.status.map { EnhancedStatusCode(4, $0.subject, $0.detail) }
        let temporary = Reply(.insufficientStorage, status ?? .tooManyRecipients, lines: reply.lines)
        var outcome = Outcome(temporary, from: client.target.description, after: "RCPT")
        outcome.diagnostic = Outcome(reply, from: client.target.description, after: "RCPT").diagnostic
        return outcome
    }

    private func send() async throws(SMTPClient.Trouble) {
        var encoder = DataEncoder()
        var position = 0
        while true {
            let next: ByteBuffer?
            do {
                next = try await request.file.chunk(at: position, pool: pool, loop: client.connection.eventLoop)
            } catch {
                // Never end a message that is not whole: close without the dot.
                client.connection.abort()
                throw .connection("cannot read the message from the spool: \(error)")
            }
            guard var chunk = next else { break }
            position += chunk.readableBytes
            client.connection.write(with: { encoder.encode(&chunk, into: &$0) })
            if position < request.file.octets { try await client.flush() }
        }
        client.connection.write(with: { encoder.finish(into: &$0) })
    }

    /// Sends the rest, with the dot that ends the message, and waits for the answer.
    private func end() async throws(SMTPClient.Trouble) -> Reply {
        try await client.flush()
        client.connection.idleTimeout = settings.times.end
        return try await client.reply()
    }

    /// What needs no question: the host said it in its answer to EHLO.
    private func refusalBeforehand() -> Outcome? {
        let remote = client.target.description
        if let maximum = client.extensions.maximumSize, request.file.octets > maximum {
            return .never(.messageTooBig, "\(remote) takes messages of \(maximum) octets at most", remote: remote)
        }
        let needsUTF8 =
            request.sender.path.address?.needsUTF8 == true || request.recipients.contains { $0.address.needsUTF8 }
        if needsUTF8, !client.extensions.has("SMTPUTF8") {
            return .never(EnhancedStatusCode(5, 6, 7), "\(remote) does not take UTF-8 addresses", remote: remote)
        }
        return nil
    }

    private var senderText: String {
        var parameters = MailParameters()
        if client.extensions.has("SIZE") { parameters.size = request.file.octets }
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
