import Deliverer
import Mailbox
import NIOCore

/// A message as the mailbox store reads it: from memory, or in pieces that are waited for.
struct MessageOctets: DeliverySource {
    private let message: MessageSource

    init(_ message: MessageSource) { self.message = message }

    /// Whether all of it is in memory, so that nobody has to be waited for.
    var isInMemory: Bool { message.whole != nil }

    var octets: Int { message.totalOctets }

    func read(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError) {
        if let whole = message.whole {
            try consume(message.added)
            try consume(whole)
            return
        }
        let reader = message.reader()
        while let piece = try next(reader) { try consume(piece) }
    }

    private func next(_ reader: Deliverer.MessageReader) throws(MailboxError) -> ByteBuffer? {
        do throws(MessageSourceError) {
            return try reader.nextBlocking()
        } catch {
            throw .corrupt("\(error)")
        }
    }
}
