import Deliverer
import Mailbox
import NIOCore
import Rewriting

/// A message as the mailbox store reads it: from memory, or in pieces that are waited for.
struct MessageOctets: DeliverySource {
    private let message: MessageSource
    /// What makes lines of a binary message (RFC 3030 §3), which is all that a mailbox holds.
    private let edits: [LongLineSurvey.Edit]

    /// - Parameter edits: changes that are made while it's read.
    init(_ message: MessageSource, edits: [LongLineSurvey.Edit] = []) {
        self.message = message
        self.edits = edits
    }

    /// Whether all of it is in memory, so that nobody has to be waited for.
    var isInMemory: Bool { message.whole != nil }

    var octets: Int { message.totalOctets }

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
