import Bus
import MIME
import NIOCore
import SMTP
import Spool
import Submission

/// Why a message is not accepted.
struct SubmissionRefusal: Error {
    let reply: Frame

    init(_ kind: ReplyKind, _ status: EnhancedStatusCode, _ text: String) {
        reply = Frame.reply(kind, status: status, text: text)
    }

    init(_ error: SpoolError) {
        switch error {
        case .full: self.init(.defer, .systemFull, "not enough space in the queue")
        case .failed, .corrupt, .missing, .broken, .owned, .newer:
            self.init(.defer, .systemTrouble, "the queue cannot take it now")
        }
    }
}

/// What is accepted from a submitter, depending on who it is.
struct SubmissionPolicy {
    let settings: QueueSettings
    /// The peer's uid.
    let peer: UInt32?

    /// Whether the peer is one of our daemons, whose word on where a message comes from counts.
    private var isTrusted: Bool {
        peer.map { settings.trusted.contains($0) } ?? false
    }

    /// The most recipients that one message can have.
    private static let recipientLimit = 20_000

    /// Makes the envelope that goes into the spool.
    func envelope(_ submit: Frame, id: MessageID, now: Int64) throws(SubmissionRefusal) -> MessageEnvelope {
        let submission: SubmissionEnvelope
        do throws(SubmissionEnvelope.Malformed) {
            submission = try SubmissionEnvelope(submit)
        } catch {
            throw SubmissionRefusal(.reject, .invalidArguments, error.text)
        }
        guard submission.recipients.count <= (isTrusted ? Self.recipientLimit : settings.maximumRecipients) else {
            throw SubmissionRefusal(.reject, .tooManyRecipientsEver, "too many recipients")
        }
        var envelope = MessageEnvelope(
            id: id,
            arrived: now,
            sender: submission.sender,
            recipients: submission.recipients
        )
        if isTrusted {
            envelope.client = submission.client
            envelope.helo = submission.helo
            envelope.protocolName = submission.protocolName
            envelope.user = submission.user
            envelope.givenSubmitter = submission.submitter
            envelope.origin = submission.origin
            envelope.isExpanded = submission.isExpanded
            envelope.expandedFrom = submission.expandedFrom
            envelope.terms = submission.terms
        } else {
            envelope.client = "local"
        }
        if isLocalProgram(envelope) { envelope.uid = peer }
        return envelope
    }

    /// The name of the route that an `END` gives the message: our own daemons alone may.
    func route(_ end: Frame) -> String? { isTrusted ? SubmissionProtocol.route(end) : nil }

    /// Whether nobody writes a trace field of its own.
    private func isLocalProgram(_ envelope: MessageEnvelope) -> Bool {
        envelope.protocolName == nil && envelope.origin == nil
    }

    /// The largest message for an envelope; nil for no limit of ours: smtpd has its own.
    static func maximumMessage(_ envelope: MessageEnvelope, _ settings: QueueSettings) -> Int? {
        envelope.uid.map { $0 == 0 ? nil : settings.maximumMessage } ?? nil
    }

    /// The trace field of a message from a local program (RFC 5321 §4.4); empty for others, which have one.
    static func traceField(_ envelope: MessageEnvelope, _ settings: QueueSettings) -> ByteBuffer {
        guard let uid = envelope.uid else { return ByteBuffer() }
        let date = DateTime(secondsSince1970: Int(envelope.arrived))
        return ByteBuffer(
            string: "Received: by \(settings.hostname) (Martlet, from uid \(uid)) id \(envelope.id);\r\n\t\(date)\r\n"
        )
    }

    /// How much of a message is looked at for its Message-ID, and the longest that the log has. Octets.
    private static let headerLimit = 32 << 10
    private static let longestName = 250

    /// The Message-ID in the beginning of a local program's message: nobody else logs it. nil for others, and where there is none.
    static func name(_ envelope: MessageEnvelope, _ start: ByteBuffer) -> String? {
        guard envelope.uid != nil else { return nil }
        let header = HeaderBlock(Array(start.readableBytesView.prefix(headerLimit)), maximumFields: 100)
        guard let name = header.first("message-id"), !name.isEmpty else { return nil }
        return String(decoding: name.prefix(longestName), as: UTF8.self)
    }

    /// How many hosts a message has passed, by the Received fields in its beginning, or in the block added in front of it.
    static func hops(in lines: ByteBuffer) -> Int {
        var hops = 0
        var rest = lines.readableBytesView
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[rest.startIndex..<end]
            if line.count <= 1, line.first.map({ $0 == UInt8(ascii: "\r") }) ?? true { break }
            if line.count >= 9, line.prefix(9).map({ $0 | 0x20 }).elementsEqual("received:".utf8) { hops += 1 }
            rest = rest[(end + 1)...]
        }
        return hops
    }
}
