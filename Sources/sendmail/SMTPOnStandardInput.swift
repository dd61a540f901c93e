import NIOCore
import SMTP
import Submission

#if canImport(Glibc)
import Glibc
#endif

/// `sendmail -bs`: a small SMTP server on standard input and output for local programs (RFC 5321).
struct SMTPOnStandardInput {
    private let identity: Identity
    private var input = LineInput()
    private var sender: EnvelopeSender?
    private var recipients: [EnvelopeRecipient] = []
    private static let maximumLine = 2048
    private static let maximumRecipients = 1000

    init(_ identity: Identity) { self.identity = identity }

    /// Returns at QUIT or at the end of the input.
    mutating func run() throws {
        reply("220 \(identity.hostname) ESMTP")
        while let line = try command() {
            guard line.utf8.count <= Self.maximumLine else {
                reply("500 5.5.2 Line too long")
                continue
            }
            let words = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
            let rest = words.count > 1 ? String(words[1]) : ""
            switch (words.first ?? "").uppercased() {
            case "EHLO":
                reply(
                    "250-\(identity.hostname)\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES"
                )
            case "HELO": reply("250 \(identity.hostname)")
            case "MAIL": mail(rest)
            case "RCPT": recipient(rest)
            case "DATA": try data()
            case "RSET":
                reset()
                reply("250 2.0.0 Ok")
            case "NOOP": reply("250 2.0.0 Ok")
            case "VRFY": reply("252 2.0.0 Send it and see")
            case "QUIT":
                reply("221 2.0.0 Bye")
                return
            default: reply("500 5.5.1 Unknown command")
            }
        }
    }

    /// One whole line without its end; nil at the end of the input.
    private mutating func command() throws -> String? {
        var octets: [UInt8] = []
        while let piece = try input.next() {
            if octets.count <= Self.maximumLine { octets += piece.octets }
            if piece.isEnd { return String(decoding: octets.dropLast(2), as: UTF8.self) }
        }
        return nil
    }

    private func reply(_ text: String) {
        let line = text + "\r\n"
        _ = write(STDOUT_FILENO, line, line.utf8.count)
    }

    private mutating func reset() {
        sender = nil
        recipients = []
    }

    /// What follows `FROM:` or `TO:`.
    private func argument(_ text: String, after word: String) -> String? {
        guard text.prefix(word.count).uppercased() == word else { return nil }
        return String(text.dropFirst(word.count).drop { $0 == " " })
    }

    private mutating func mail(_ text: String) {
        guard sender == nil else { return reply("503 5.5.1 MAIL was said already") }
        guard let path = argument(text, after: "FROM:"), let parsed = try? EnvelopeSender(parsing: path.utf8) else {
            return reply("501 5.1.7 Not a sender address")
        }
        sender = parsed
        reply("250 2.1.0 Ok")
    }

    private mutating func recipient(_ text: String) {
        guard sender != nil else { return reply("503 5.5.1 MAIL first") }
        guard recipients.count < Self.maximumRecipients else { return reply("452 4.5.3 Too many recipients") }
        guard let path = argument(text, after: "TO:"), let parsed = try? EnvelopeRecipient(parsing: path.utf8) else {
            return reply("501 5.1.3 Not a recipient address")
        }
        recipients.append(parsed)
        reply("250 2.1.5 Ok")
    }

    private mutating func data() throws {
        guard let sender, !recipients.isEmpty else { return reply("503 5.5.1 RCPT first") }
        var envelope = SubmissionEnvelope(sender: sender, recipients: recipients)
        envelope.client = "local"
        reply("354 End with a line of one dot")
        reset()
        var message = LocalMessage(identity, .smtp)
        do {
            try message.readHeader(&input)
        } catch let failure as Failure where failure.code == .data {
            try message.discard(&input)
            return reply("554 5.6.0 \(failure.text)")
        }
        message.complete("\(sender.path)")
        var submission: BlockingSubmission
        do throws(SubmissionError) {
            submission = try BlockingSubmission(message.declared(envelope), path: SubmissionEnvelope.socket)
        } catch {
            try message.discard(&input)
            return reply("451 4.3.0 The queue does not answer")
        }
        try message.hand(&input, to: &submission)
        switch submission.finish(added: ByteBuffer()) {
        case .accepted(let id): reply("250 2.0.0 Queued as \(id)")
        case .deferred(let status, let text): reply("451 \(status) \(text)")
        case .refused(let status, let text): reply("554 \(status) \(text)")
        }
    }
}
