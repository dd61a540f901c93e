import CoreMetrics
import Daemon
import Front
import Logging
import MailRules
import Milter
import MilterClient
import NIOCore
import Network
import Policy
import SMTP
import Submission
import TLS

/// How milters see the session (docs/milters.md).
extension Session {
    static func milters(
        of kind: ListenerKind,
        _ client: FrontClient,
        _ settings: ServerSettings,
        _ resources: LoopResources,
        _ counters: ServerCounters
    ) -> MilterChain? {
        let chosen = settings.milters.filter { $0.listeners.contains(kind.rawValue) }
        guard !chosen.isEmpty else { return nil }
        return MilterChain(
            chosen,
            pool: resources.milters,
            on: client.connection.eventLoop,
            logger: client.logger,
            onFault: { counters.milterFailures.increment() }
        )
    }

    // MARK: What they say

    /// Tells the milters who has come.
    func introduceClient() async -> MilterVerdict? {
        guard let milters else { return nil }
        guard let address = front.remoteAddress, let octets = address.addressOctets else {
            return await milters.connect(name: "localhost", .unknown, macros(name: "localhost"))
        }
        if connectionFacts == nil {
            connectionFacts = await ClientLookup.run(
                octets,
                // Milters have no use for them.
                lists: settings.policy.needsConnection ? settings.dnsLists : [],
                trial: (resources.listTrial, logger),
                timeout: settings.clientTimeout,
                on: connection.eventLoop,
                query: resources.query
            )
        }
        let port = UInt16(exactly: address.port ?? 0) ?? 0
        return await milters.connect(
            name: clientName,
            octets.count == 4 ? .ip4(client, port: port) : .ip6(client, port: port),
            macros(name: clientName)
        )
    }

    /// The client's verified name, or its address in square brackets.
    private var clientName: String { connectionFacts?.name ?? "[\(client)]" }

    /// Refuses a client before it is greeted.
    func refuseClient(_ verdict: MilterVerdict) async -> Next {
        switch verdict.action {
        case .discard: return .command
        case .refuse(let answer), .disconnect(let answer):
            log(verdict, "client refused by a milter")
            // Both end the connection (RFC 5321 §3.1, §3.8).
            write(
                Reply(
                    answer.code.isTransient ? .serviceNotAvailable : .transactionFailed,
                    answer.status ?? (answer.code.isTransient ? .refusedForNow : .notAuthorized),
                    lines: answer.lines
                )
            )
            return .close
        }
    }

    /// Answers a command as a milter wants; nil where it goes on.
    ///
    /// - Parameter ended: as of `answer`.
    func refuse(by verdict: MilterVerdict, _ ended: Transaction? = nil) async throws(ConnectionError) -> Next? {
        switch verdict.action {
        case .discard: return nil
        case .refuse(let answer):
            log(verdict, "command refused by a milter")
            guard answer.code.isTransient else {
                guard try await front.countFault() >= 0 else {
                    front.logTooManyFaults()
                    reply(.serviceNotAvailable, .refusedForNow, "too many errors")
                    return .close
                }
                self.answer(answer, ended)
                return .command
            }
            // No fault of the client's.
            self.answer(answer, ended)
            return .command
        case .disconnect(let answer):
            log(verdict, "client disconnected by a milter")
            self.answer(answer, ended)
            return .close
        }
    }

    private func log(_ verdict: MilterVerdict, _ what: Logger.Message) {
        logger.info(
            what,
            metadata: [
                "client": "\(client)", "helo": "\(helo ?? "")", "sender": "\(transaction?.sender.path ?? .null)",
                "milter": "\(verdict.milter)", "reason": "\(Verdict(verdict).reason)",
            ]
        )
    }

    // MARK: The message

    /// Tells the milters the sender, with the ID that the message will have: they ask for it from now on.
    func askMilters(about sender: EnvelopeSender) async throws(ConnectionError) -> Next? {
        guard let milters else { return nil }
        // Without one now, the message gets its ID when it begins.
        reserved = try? await resources.submissions.begin(SubmissionEnvelope(sender: sender, recipients: []))
        reserved?.isIDKnown = true
        guard let verdict = await milters.mail(sender, macros(of: sender)), let next = try await refuse(by: verdict)
        else { return nil }
        resetTransaction()
        return next
    }

    /// What carries a message to queue-manager: what milters know the ID of, unless queue-manager went away meanwhile.
    private func submission(of transaction: Transaction) async throws(SubmissionError) -> MessageSubmission {
        let envelope = envelope(of: transaction)
        defer { reserved = nil }
        guard let reserved, reserved.isUsable else {
            reserved?.abort()
            return try await resources.submissions.begin(envelope)
        }
        reserved.envelope = envelope
        return reserved
    }

    /// Begins a message and tells the milters so; nil where there can't be one, and the client has its answer.
    ///
    /// - Parameter isWhole: whether the command that begins it is its last as well, as with `BDAT LAST`.
    func beginMessage(
        _ transaction: Transaction,
        isWhole: Bool = false
    ) async throws(ConnectionError) -> (MessageSubmission?, Next) {
        let ended = isWhole ? transaction : nil
        let submission: MessageSubmission
        do throws(SubmissionError) {
            submission = try await self.submission(of: transaction)
        } catch {
            logger.error("queue-manager is not available", metadata: ["reason": "\(error)"])
            counters.messagesDeferred.increment()
            answer(Reply(.localError, .systemTrouble, lines: ["queue not available, try again later"]), ended)
            return (nil, .command)
        }
        if let milters {
            submission.isIDKnown = true
            do throws(ConnectionError) {
                if let verdict = await milters.data(macros(of: submission)),
                    let next = try await refuse(by: verdict, ended)
                {
                    submission.abort()
                    return (nil, next)
                }
            } catch {
                submission.abort()
                throw error
            }
        }
        // Last: what doesn't begin doesn't count.
        if let refusal = await refuseAmount(transaction) {
            submission.abort()
            return (nil, refusal)
        }
        return (submission, .command)
    }

    /// How long a client that has ended its side may be waiting for the answer.
    private static let patience = TimeAmount.seconds(30)

    /// What keeps a message for milters; nil where none look at it.
    var heldMessage: HeldMessage? {
        guard milters != nil else { return nil }
        return HeldMessage(HeldOctets(resources.milterMemory, client: front.remoteAddress?.clientKey ?? []))
    }

    /// Lets the milters look at a message, and hands it to queue-manager as they want it.
    ///
    /// - Parameters:
    ///   - added: what goes in front of it.
    ///   - isJunk: whether it belongs into the recipients' Junk.
    ///   - route: the name of the route that rules give it.
    func judge(
        _ held: HeldMessage,
        _ transaction: Transaction,
        _ intake: MessageIntake,
        _ submission: MessageSubmission,
        added: ByteBuffer,
        isJunk: Bool,
        isHeld: Bool,
        _ route: String?
    ) async -> (verdict: Verdict, next: Next) {
        var limits = MilteredMessage.Limits()
        limits.body = settings.limits.message
        limits.header = MessageAuthentication.maximumHeader + SubmissionProtocol.addedLimit
        limits.recipients = settings.limits.recipients
        var message = MilteredMessage(
            held.octets,
            sender: transaction.sender,
            recipients: transaction.recipients,
            added: added,
            hiding: "received",
            // A message without a header has had one made for it.
            headerEnd: intake.header.lacksHeader ? 0 : held.headerEnd ?? 0,
            isBinary: transaction.sender.parameters.body == .binaryMIME,
            limits: limits
        )
        var macros = macros(of: submission)
        macros.set(
            "msg_id",
            message.header.first("message-id").map { String(decoding: $0.prefix(1000), as: UTF8.self) }
        )
        let began = NIODeadline.now()
        if let verdict = await milters?.judge(&message, macros) {
            submission.abort()
            var next = Next.command
            if case .disconnect = verdict.action { next = .close }
            return (Verdict(verdict), next)
        }
        // A client that gave up meanwhile sends it again, and would have it here twice. One that only ended its side waits for
        // the answer, but not so long.
        guard !connection.hasEnded || connection.input.readableBytes > 0 || .now() - began < Self.patience else {
            submission.abort()
            return (.clientLeft, .close)
        }
        submission.envelope.sender = message.sender
        submission.envelope.recipients = message.recipients
        let parts = message.header.parts(limit: SubmissionProtocol.addedLimit, hasBody: !message.body.isEmpty)
        await submission.append(parts.rest)
        for piece in message.body { await submission.append(piece) }
        if let reason = message.quarantine {
            logger.notice(
                "message held by a milter",
                metadata: ["client": "\(client)", "id": "\(submission.id)", "reason": "\(reason)"]
            )
        }
        let result = await submission.finish(
            added: parts.added,
            isQuarantined: isJunk,
            isHeld: isHeld || message.quarantine != nil,
            route: route
        )
        return (Verdict(result), .command)
    }

    // MARK: Macros

    /// What milters are told of the client, at every stage.
    private func macros(name: String) -> MilterMacros {
        var macros = MilterMacros()
        macros.set("j", settings.hostname)
        macros.set("v", "Martlet")
        macros.set("_", front.remoteAddress == nil ? name : "\(name) [\(client)]")
        macros.set("daemon_name", kind.rawValue)
        macros.set("daemon_addr", front.localAddress?.hostText)
        macros.set("daemon_port", front.localAddress?.port.map { "\($0)" })
        macros.set("if_addr", front.localAddress?.hostText)
        macros.set("client_addr", front.remoteAddress == nil ? nil : client)
        macros.set("client_port", front.remoteAddress?.port.map { "\($0)" })
        macros.set("client_name", name)
        macros.set("client_ptr", connectionFacts?.name ?? "unknown")
        macros.set("client_connections", "\(connection.clientConnections)")
        macros.set("client_resolve", connectionFacts?.milterWord)
        macros.set("tls_version", connection.tls?.version)
        macros.set("cipher", connection.tls?.cipher)
        macros.set("cipher_bits", connection.tls.map { Self.keyBits($0.cipher) })
        let names = certificateNames()
        macros.set("cert_subject", names.subject)
        macros.set("cert_issuer", names.issuer)
        macros.set("auth_type", mechanism)
        macros.set("auth_authen", user)
        return macros
    }

    func macros() -> MilterMacros {
        var macros = macros(name: front.remoteAddress == nil ? "localhost" : clientName)
        macros.set("i", reserved?.id)
        return macros
    }

    /// From DATA on.
    func macros(of submission: MessageSubmission) -> MilterMacros {
        var macros = macros()
        macros.set("i", submission.id)
        return macros
    }

    /// Bits of a cipher suite's key. Servers have AEAD suites alone, of 128 and of 256 bits, as the names say but for ChaCha20's.
    private static func keyBits(_ cipher: String) -> String { cipher.contains("128") ? "128" : "256" }

    /// Whose certificate the client has shown, where it leads to one of our authorities, and who has made it.
    private func certificateNames() -> (subject: String?, issuer: String?) {
        guard let certificate = connection.tls?.clientCertificates.first else { return (nil, nil) }
        if let known = knownCertificate, known.certificate == certificate { return known.names }
        let names = ClientCertificate.commonNames(of: certificate)
        knownCertificate = (certificate, names)
        return names
    }

    func macros(of sender: EnvelopeSender) -> MilterMacros {
        var macros = macros()
        macros.set("mail_addr", sender.path.address.map { "\($0)" } ?? "")
        macros.set("mail_host", sender.path.address?.domain)
        macros.set("mail_mailer", "martlet")
        // Whoever has not logged in may say anything (RFC 4954 §5).
        if user != nil { macros.set("auth_author", sender.parameters.auth) }
        return macros
    }

    func macros(of recipient: MailAddress) -> MilterMacros {
        var macros = macros()
        macros.set("rcpt_addr", "\(recipient)")
        macros.set("rcpt_host", recipient.domain)
        macros.set("rcpt_mailer", "martlet")
        return macros
    }

    func macros(
        of path: ForwardPath,
        refused code: ReplyCode,
        _ status: EnhancedStatusCode,
        _ text: String
    ) -> MilterMacros {
        var macros = macros()
        // As Sendmail has it: the mailer "error", with the status and the reply in the others' place.
        macros.set("rcpt_mailer", "error")
        macros.set("rcpt_host", status.description)
        macros.set("rcpt_addr", "\(code) \(status) \(text)")
        return macros
    }
}

extension ConnectionFacts {
    /// The result of looking for the client's name, in Sendmail's word.
    fileprivate var milterWord: String {
        switch iprev {
        case "pass": "OK"
        case "temperror": "TEMP"
        case "fail": "FORGED"
        default: "FAIL"
        }
    }
}
