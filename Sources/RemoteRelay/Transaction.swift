import Daemon
import Deliverer
import MIME
import NIOCore
import Network
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// One mail transaction on an SMTP session: MAIL, RCPT, DATA, the message.
struct Transaction {
    let client: SMTPClient
    let job: DeliveryJob
    let message: OutgoingMessage
    let settings: RelaySettings
    /// How the session is protected, for the log.
    let security: SessionSecurity
    /// Whether commands may go together where the host offers that.
    var mayPipeline = true

    /// The most that a transaction may take, however slowly the host talks.
    private static let maximumTime = TimeAmount.hours(1)
    /// Octets of the message that are written before they are flushed.
    private static let flushThreshold = 64 * 1024

    private var request: DeliverRequest { job.request }
    private var remote: RemoteHost { client.target.remote }
    private var isLMTP: Bool { client.terms.language == .lmtp }

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
        guard let envelope = try await envelope(of: places) else { return }
        // A binary message goes as it is where the host takes it, else it's made lines.
        let isBinary = message.isBinary && client.extensions.has("BINARYMIME") && client.extensions.has("CHUNKING")
        let form = isBinary ? .binary : try await lineForm()
        if let refusal = try await prepare(form) {
            report(refusal, envelope.recipients.map(\.place))
            return
        }
        client.connection.idleTimeout = settings.times.command
        // By LMTP, what is said to a message without recipients differs between hosts.
        let isPipelined = mayPipeline && client.extensions.has("PIPELINING") && !isLMTP
        let mail = "MAIL FROM:\(senderText(envelope, form))"
        let recipients = envelope.recipients.map {
            (place: $0.place, command: "RCPT TO:\(recipientText($0.recipient))")
        }
        client.countTransaction()
        if isPipelined {
            client.write(mail)
            for recipient in recipients { client.write(recipient.command) }
            if !isBinary { client.write("DATA") }
            // A session that was used before may have ended unnoticed.
            client.isPipelining = client.transactions == 1
            try await client.flush()
        }
        let mailReply = isPipelined ? try await client.reply() : try await client.command(mail)
        client.isPipelining = isPipelined
        let isOpen = mailReply.code.isPositive
        if !isOpen { report(DeliveryResult(mailReply, from: remote, after: "MAIL"), recipients.map(\.place)) }
        var accepted: [Int] = []
        if isOpen || isPipelined {
            for recipient in recipients {
                let reply = isPipelined ? try await client.reply() : try await client.command(recipient.command)
                guard isOpen else { continue }
                if reply.code.isPositive {
                    accepted.append(recipient.place)
                } else {
                    report(refusal(ofRecipient: reply), [recipient.place])
                }
            }
        }
        guard isBinary else { return try await data(form, isPipelined: isPipelined, accepted) }
        client.isPipelining = false
        try await chunk(accepted)
    }

    /// Sends the message as one chunk of all its octets (RFC 3030 §2): whoever stops within it has sent no message.
    private func chunk(_ accepted: [Int]) async throws(SMTPClient.Failure) {
        guard !accepted.isEmpty else { return try await reset() }
        client.connection.idleTimeout = settings.times.data
        client.connection.write("BDAT \(message.octets(.binary) ?? job.message.totalOctets) LAST\r\n")
        var pieces = message.pieces(.binary)
        var unsent = 0
        while let piece = try await next(&pieces) {
            if unsent >= Self.flushThreshold {
                try await client.flush()
                unsent = 0
            }
            if job.isAbandoned { throw .interrupted }
            unsent += piece.readableBytes
            client.connection.write(piece)
        }
        client.messageEnds()
        // After a refused chunk the host takes nothing but RSET (RFC 3030 §2).
        if try await !conclude(accepted).code.isPositive { try await reset() }
    }

    private func report(_ result: DeliveryResult, _ places: [Int]) {
        var result = result
        result.security = security
        for place in places { job.report(result, at: place) }
    }

    private func data(_ form: OutgoingMessage.Form, isPipelined: Bool, _ accepted: [Int]) async throws(SMTPClient
        .Failure)
    {
        client.connection.idleTimeout = settings.times.data
        guard !accepted.isEmpty || isPipelined else {
            // No recipient was accepted: the transaction is reset (RFC 5321 §4.1.1.5).
            try await reset()
            return
        }
        let ready = isPipelined ? try await client.reply() : try await client.command("DATA")
        client.isPipelining = false
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
        try await send(form)
        // Without the dot the host takes nothing, and the next attempt sends it once.
        if job.isAbandoned { throw .interrupted }
        try await conclude(accepted)
    }

    /// The whole message has gone out: its answer, or by LMTP one for each recipient that was accepted (RFC 2033 §4.2).
    ///
    /// - Returns: the last of them.
    @discardableResult
    private func conclude(_ accepted: [Int]) async throws(SMTPClient.Failure) -> Reply {
        var open = accepted[...]
        do throws(SMTPClient.Failure) {
            try await client.flush()
            client.connection.idleTimeout = settings.times.end
            while true {
                let final = try await client.reply()
                let answered = isLMTP ? Array(open.prefix(1)) : Array(open)
                open = open.dropFirst(answered.count)
                report(result(of: final), answered)
                if final.code.isIntermediate {
                    throw SMTPClient.Failure.connection("unexpected reply to the message: \(final.code)")
                }
                guard open.isEmpty else { continue }
                client.countMessage()
                return final
            }
        } catch {
            // The host may have taken the message: sent again now, it might come twice.
            switch error {
            case .connection(let reason):
                let text = "no answer to the end of the message: \(reason)"
                report(DeliveryResult(.delayed, .badConnection, text, remote: remote), Array(open))
            // One of several answers: what would have come of the others, nobody has said.
            case .refused(let reply) where isLMTP:
                report(DeliveryResult(reply, from: remote, after: "the message").delayed(), Array(open))
            default: break
            }
            throw error
        }
    }

    /// What the answer to the whole message means.
    private func result(of final: Reply) -> DeliveryResult {
        var result = DeliveryResult(final, from: remote, after: "the message")
        if result.action == .relayed {
            result.isReportedElsewhere = client.extensions.has("DSN")
            result.isUntimed = request.terms.deadline != nil && !client.extensions.has("DELIVERBY")
        }
        return result
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
    private func send(_ form: OutgoingMessage.Form) async throws(SMTPClient.Failure) {
        var pieces = message.pieces(form)
        var encoder = DataEncoder()
        var unsent = 0
        while var piece = try await next(&pieces) {
            if unsent >= Self.flushThreshold {
                try await client.flush()
                unsent = 0
            }
            unsent += piece.readableBytes
            client.connection.write(with: { encoder.encode(&piece, into: &$0) })
            guard encoder.longestLine <= DataEncoder.lineLimit else { throw tooLong(form) }
        }
        client.connection.write(with: { encoder.finish(into: &$0) })
        client.messageEnds()
    }

    /// A line is too long: nothing ends this message, and the session is of no use any more.
    private func tooLong(_ form: OutgoingMessage.Form) -> SMTPClient.Failure {
        guard message.isRewritten(form) else {
            message.noteLongLine(form)
            return .longLine
        }
        let refusal = message.refuseForGood(form)
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

    private func prepare(_ form: OutgoingMessage.Form) async throws(SMTPClient.Failure) -> DeliveryResult? {
        do throws(MessageSourceError) {
            if form != .binary, let refusal = try await message.prepare(form) { return refusal }
            return try await message.sign(form)
        } catch {
            throw SMTPClient.Failure(error)
        }
    }

    private func lineForm() async throws(SMTPClient.Failure) -> OutgoingMessage.Form {
        do throws(MessageSourceError) {
            return try await message.form(takesEightBit: client.extensions.has("8BITMIME"))
        } catch {
            throw SMTPClient.Failure(error)
        }
    }

    /// A refusal that follows from the EHLO response alone.
    private func refusalByExtensions() -> DeliveryResult? {
        let octets = message.octets(.lines) ?? job.message.totalOctets
        if let maximum = client.extensions.maximumSize, octets > maximum {
            let text = "takes messages of \(maximum) octets at most"
            return DeliveryResult(.failed, .messageTooBig, text, remote: remote)
        }
        return deadlineRefusal
    }

    /// A message that has to come back in time is not given to a host that wouldn't see to it (RFC 2852 §4.1.4).
    private var deadlineRefusal: DeliveryResult? {
        guard let deadline = request.terms.deadline, deadline.mode == .return else { return nil }
        guard client.extensions.has("DELIVERBY") else {
            let text = "can't promise to deliver in time (DELIVERBY)"
            return DeliveryResult(.failed, .featureNotSupported, text, remote: remote)
        }
        guard Self.seconds(to: deadline) < max(1, client.extensions.minimumDeliverBy) else { return nil }
        let text = "can't deliver by the time that the sender had set"
        return DeliveryResult(.failed, .deadlinePassed, text, remote: remote)
    }

    /// From now.
    private static func seconds(to deadline: DeliveryTerms.Deadline) -> Int { Int(deadline.time) - time(nil) }

    // MARK: The envelope

    /// The envelope as the host takes it.
    private struct HostEnvelope {
        var sender: ReversePath
        var recipients: [(place: Int, recipient: EnvelopeRecipient)]
        var isUTF8: Bool
    }

    /// The envelope; where the host doesn't take UTF-8, with domains in ASCII (RFC 6531 §3.7.4.2 forbids no more). Who can't
    /// have the message is told so.
    ///
    /// - Returns: nil where nobody is left.
    private func envelope(of places: [Int]) async throws(SMTPClient.Failure) -> HostEnvelope? {
        let all = places.map { (place: $0, recipient: request.recipients[$0]) }
        let sender = request.sender.path
        if client.extensions.has("SMTPUTF8") {
            let isBeyond = sender.address?.needsUTF8 == true || all.contains { $0.recipient.address.needsUTF8 }
            return HostEnvelope(
                sender: sender,
                recipients: all,
                isUTF8: request.sender.parameters.isUTF8 || isBeyond
            )
        }
        let refusal = DeliveryResult(.failed, .noUTF8Addresses, "does not take UTF-8 addresses", remote: remote)
        guard let path = sender.inASCII else {
            report(refusal, places)
            return nil
        }
        if request.sender.parameters.isUTF8, try await hasUTF8Header() {
            let text = "does not take messages with UTF-8 in the header"
            report(DeliveryResult(.failed, .noUTF8Addresses, text, remote: remote), places)
            return nil
        }
        var envelope = HostEnvelope(sender: path, recipients: [], isUTF8: false)
        for (place, recipient) in all {
            guard let address = recipient.address.inASCII else {
                report(refusal, [place])
                continue
            }
            envelope.recipients.append((place, EnvelopeRecipient(address, parameters: recipient.parameters)))
        }
        return envelope.recipients.isEmpty ? nil : envelope
    }

    private func hasUTF8Header() async throws(SMTPClient.Failure) -> Bool {
        do throws(MessageSourceError) {
            return try await message.needsUTF8()
        } catch {
            throw SMTPClient.Failure(error)
        }
    }

    private func senderText(_ envelope: HostEnvelope, _ form: OutgoingMessage.Form) -> String {
        let (given, extensions) = (request.sender.parameters, client.extensions)
        var parameters = MailParameters()
        if extensions.has("SIZE") { parameters.size = message.octets(form) }
        if form == .binary {
            parameters.body = .binaryMIME
        } else if extensions.has("8BITMIME") {
            parameters.body = given.body == .binaryMIME ? .eightBitMIME : given.body
        }
        if extensions.has("DSN") {
            parameters.ret = given.ret
            parameters.envelopeID = given.envelopeID
        }
        parameters.isUTF8 = envelope.isUTF8
        parameters.requiresTLS = given.requiresTLS && extensions.has("REQUIRETLS") && client.connection.tls != nil
        if extensions.has("DELIVERBY"), let deadline = request.terms.deadline {
            let seconds = min(max(Self.seconds(to: deadline), -999_999_999), 999_999_999)
            parameters.deliverBy = DeliverBy(seconds: seconds, mode: deadline.mode, isTraced: deadline.isTraced)
        }
        if extensions.has("MT-PRIORITY"), request.terms.priority != 0 { parameters.priority = request.terms.priority }
        return EnvelopeSender(envelope.sender, parameters: parameters).description
    }

    private func recipientText(_ recipient: EnvelopeRecipient) -> String {
        client.extensions.has("DSN")
            ? recipient.description : EnvelopeRecipient(recipient.address).description
    }
}

extension ReversePath {
    /// The path in ASCII; nil where there is none.
    fileprivate var inASCII: ReversePath? {
        guard let address else { return self }
        return address.inASCII.map { ReversePath($0) }
    }
}

extension MailAddress {
    /// The address with its domain in ASCII (RFC 5891); nil where the local part isn't.
    var inASCII: MailAddress? {
        guard needsUTF8 else { return self }
        guard localPart.utf8.allSatisfy({ $0 < 0x80 }), let domain = InternationalDomain.ascii(Array(domain.utf8))
        else {
            return nil
        }
        return try? MailAddress(localPart: localPart, domain: String(decoding: domain, as: UTF8.self))
    }
}

extension EnhancedStatusCode {
    /// 5.3.3: the system can't do what was asked for (RFC 3463 §3.4).
    static let featureNotSupported = EnhancedStatusCode(5, 3, 3)
}

extension SMTPClient.Failure {
    fileprivate init(_ error: MessageSourceError) {
        switch error {
        case .abandoned: self = .interrupted
        case .refused, .timedOut, .malformed: self = .unreadable("\(error)")
        }
    }
}
