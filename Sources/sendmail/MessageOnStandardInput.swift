import CLinux
import MIME
import NIOCore
import SMTP
import Submission

#if canImport(Glibc)
import Glibc
#endif

/// `sendmail`: reads a message from standard input and hands it to queue-manager, as it comes.
struct MessageOnStandardInput {
    private let options: SendmailOptions
    private let identity: Identity
    private var input = LineInput()
    private var header = MessageHeader()

    init(_ options: SendmailOptions, _ identity: Identity) {
        self.options = options
        self.identity = identity
    }

    /// Returns once the message is on stable storage.
    mutating func run() throws {
        var recipients = try options.recipients.map { try identity.path($0) }
        guard options.readsRecipients || !recipients.isEmpty else { throw Failure(.usage, "no recipients") }
        let first = try readHeader()
        if options.readsRecipients {
            recipients += try headerRecipients()
            guard !recipients.isEmpty else { throw Failure(.usage, "no recipients in the header") }
        }
        // Nobody but the sender is to know of them, whoever named the recipients.
        header.remove(["bcc", "resent-bcc"])
        let sender = try senderPath()
        complete(sender)
        var submission = try Self.begin(try envelope(sender, recipients))
        for field in header.fields { submission.append(field) }
        submission.append("\r\n".utf8)
        try appendBody(first, to: &submission)
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

    /// Reads up to the body; returns the first line of it where it has been read.
    private mutating func readHeader() throws -> LineInput.Piece? {
        var line = try input.next()
        // The line that mbox files have before a message. A long one comes in pieces.
        if line?.octets.starts(with: "From ".utf8) == true {
            while let piece = line, !piece.isEnd { line = try input.next() }
            line = try input.next()
        }
        while let current = line {
            if current.isEmpty { return nil }
            if current.isDot, !options.ignoresDots { return current }
            if try !header.append(current) { return current }
            line = try input.next()
        }
        return nil
    }

    private mutating func headerRecipients() throws -> [String] {
        let resent: Set = ["resent-to", "resent-cc", "resent-bcc"]
        var values = header.values(resent)
        if values.isEmpty { values = header.values(["to", "cc", "bcc"]) }
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

    /// Adds what every message must have (RFC 5322 §3.6).
    private mutating func complete(_ sender: String) {
        let now = Int64(time(nil))
        if !header.has("from") {
            let name = options.fullName ?? identity.fullName
            let path = sender == "<>" ? "<\(identity.address)>" : sender
            header.add("From", name.isEmpty ? String(path.dropFirst().dropLast()) : "\(Self.phrase(name)) \(path)")
        }
        if !header.has("date") {
            header.add("Date", DateTime(secondsSince1970: Int(now), offset: CLinux_utc_offset(now) / 60).description)
        }
        if !header.has("message-id") {
            let left = String(now, radix: 36) + "." + String(UInt64.random(in: 0 ... .max), radix: 36)
            header.add("Message-ID", "<\(left)@\(identity.hostname)>")
        }
    }

    /// A name as a quoted string, without what could end it.
    private static func phrase(_ name: String) -> String {
        let octets = name.utf8.filter {
            $0 >= 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        return "\"\(String(decoding: octets, as: UTF8.self))\""
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

    // MARK: The body

    private mutating func appendBody(
        _ first: LineInput.Piece?,
        to submission: inout BlockingSubmission
    ) throws {
        var line = first
        if line == nil { line = try input.next() }
        while let current = line {
            if current.isDot, !options.ignoresDots { break }
            submission.append(current.octets)
            line = try input.next()
        }
    }
}

extension SubmissionEnvelope {
    /// The path of queue-manager's socket, from the instance directory.
    static let socket = "run/queue.sock"
}
