import NIOCore
import SMTP
import Submission

/// `sendmail`: reads a message from standard input and hands it to queue-manager, as it comes.
struct MessageOnStandardInput {
    private let options: SendmailOptions
    private let identity: Identity
    private var input = LineInput()
    private var message: LocalMessage

    init(_ options: SendmailOptions, _ identity: Identity) {
        self.options = options
        self.identity = identity
        message = LocalMessage(identity, .file(ignoresDots: options.ignoresDots), fullName: options.fullName)
    }

    /// Returns once the message is on stable storage.
    mutating func run() throws {
        var recipients = try options.recipients.map { try identity.path($0) }
        guard options.readsRecipients || !recipients.isEmpty else { throw Failure(.usage, "no recipients") }
        try message.readHeader(&input)
        if options.readsRecipients {
            recipients += try headerRecipients()
            guard !recipients.isEmpty else { throw Failure(.usage, "no recipients in the header") }
        }
        let sender = try senderPath()
        message.complete(sender)
        var submission = try Self.begin(message.declared(try envelope(sender, recipients)))
        try message.hand(&input, to: &submission)
        switch submission.finish(added: ByteBuffer()) {
        case .accepted(let id): if options.isVerbose { print("queued as \(id)") }
        case .deferred(let status, let text): throw Failure(.temporary, "\(status) \(text)")
        case .refused(let status, let text): throw Failure(.unavailable, "\(status) \(text)")
        }
    }

    private static func begin(_ envelope: SubmissionEnvelope) throws -> BlockingSubmission {
        do throws(SubmissionError) {
            return try BlockingSubmission(envelope, path: SubmissionEnvelope.socket)
        } catch {
            throw Failure(.temporary, "queue-manager does not answer: \(error)")
        }
    }

    // MARK: The header

    private mutating func headerRecipients() throws -> [String] {
        let resent: Set = ["resent-to", "resent-cc", "resent-bcc"]
        var values = message.header.values(resent)
        if values.isEmpty { values = message.header.values(["to", "cc", "bcc"]) }
        return try values.flatMap { AddressList.addresses($0) }.map { address in
            do {
                return try identity.path(address)
            } catch {
                throw Failure(.data, "not an address in the header: \(address)")
            }
        }
    }

    private func senderPath() throws -> String {
        guard let sender = options.sender else { return try identity.path(identity.address) }
        return sender.isEmpty ? "<>" : try identity.path(sender)
    }

    // MARK: The envelope

    private func envelope(_ sender: String, _ recipients: [String]) throws -> SubmissionEnvelope {
        var from = sender
        if let body = options.body { from += " BODY=\(body)" }
        if let variable = options.variableSender { from += " XVERP=\(variable.text)" }
        if let ret = options.ret { from += " RET=\(ret)" }
        if let id = options.envelopeID { from += " ENVID=\(XText.encode(id.utf8))" }
        guard let parsed = try? EnvelopeSender(parsing: from.utf8) else {
            throw Failure(.usage, "malformed value of -f or -V")
        }
        let notify = options.notify.map { " NOTIFY=\($0)" } ?? ""
        var envelope = SubmissionEnvelope(
            sender: parsed,
            recipients: try recipients.map { recipient in
                guard let parsed = try? EnvelopeRecipient(parsing: (recipient + notify).utf8) else {
                    throw Failure(.usage, "malformed value of -N")
                }
                return parsed
            }
        )
        envelope.client = "local"
        return envelope
    }
}

extension SubmissionEnvelope {
    /// The path of queue-manager's socket, from the instance directory.
    static let socket = "run/queue.sock"
}
