import Deliverer
import Mailbox
import NIOCore
import Rewriting

/// A message as the mailbox store reads it: from memory, or in pieces that are waited for.
struct MessageOctets: DeliverySource {
    private let message: MessageSource
    /// What makes lines of a binary message (RFC 3030 §3), which is all that a mailbox holds.
    private let edits: [LongLineSurvey.Edit]
    /// Of the message as it's read.
    let octets: Int

    init(_ message: MessageSource) {
        self.message = message
        edits = []
        octets = message.totalOctets
    }

    /// A binary message, in lines. What can't be changed, such as a signed part, stays as it is.
    ///
    /// - Parameter hostname: names us where a part was encoded.
    init(binary message: MessageSource, hostname: String) async throws(MessageSourceError) {
        self.message = message
        var survey = LongLineSurvey(hostname: hostname, encodesBinary: true, breaksLongLines: false)
        let reader = message.reader()
        while let piece = try await reader.next() { survey.feed(piece) }
        survey.finish()
        edits = survey.edits
        // The store wants to know the size first.
        var rewriter = LongLineRewriter(survey.edits)
        var octets = 0
        var output: [UInt8] = []
        let again = message.reader()
        while let piece = try await again.next() {
            piece.withUnsafeReadableBytes { rewriter.feed($0, into: &output) }
            octets += output.count
            output.removeAll(keepingCapacity: true)
        }
        rewriter.finish(into: &output)
        self.octets = octets + output.count
    }

    /// Whether all of it is in memory, so that nobody has to be waited for.
    var isInMemory: Bool { message.whole != nil }

    func read(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError) {
        guard edits.isEmpty else { return try rewrite(consume) }
        if let whole = message.whole {
            try consume(message.added)
            try consume(whole)
            return
        }
        let reader = message.reader()
        while let piece = try next(reader) { try consume(piece) }
    }

    private func rewrite(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError) {
        var rewriter = LongLineRewriter(edits)
        func pass(_ piece: ByteBuffer) throws(MailboxError) {
            var output: [UInt8] = []
            piece.withUnsafeReadableBytes { rewriter.feed($0, into: &output) }
            try consume(ByteBuffer(bytes: output))
        }
        if let whole = message.whole {
            try pass(message.added)
            try pass(whole)
        } else {
            let reader = message.reader()
            while let piece = try next(reader) { try pass(piece) }
        }
        var rest: [UInt8] = []
        rewriter.finish(into: &rest)
        try consume(ByteBuffer(bytes: rest))
    }

    private func next(_ reader: Deliverer.MessageReader) throws(MailboxError) -> ByteBuffer? {
        do throws(MessageSourceError) {
            return try reader.nextBlocking()
        } catch {
            throw .corrupt("\(error)")
        }
    }
}
