import Mailbox
import NIOCore

/// A message for one mailbox as the queue knows it, and what must hold for it given the replies so far.
///
/// One thread at a time.
final class SimulatedDelivery: @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    let mailbox: MailboxLocation
    let folder: FolderName?
    let key: String
    let arrived: Int
    let prefix: [UInt8]
    /// With CRLF line ends.
    let message: [UInt8]
    /// Whether an earlier attempt may have succeeded without being acknowledged; the queue passes it to the next one.
    var mayBeKnown = false
    /// Acknowledged.
    var isDelivered = false

    init(to mailbox: MailboxLocation, _ folder: FolderName?, key: String, arrived: Int, message: [UInt8]) {
        self.mailbox = mailbox
        self.folder = folder
        self.key = key
        self.arrived = arrived
        self.message = message
        prefix = Array("Return-Path: <s@example.test>\nDelivered-To: \(key)@example.test\n".utf8)
    }

    /// The request for the next attempt.
    var delivery: Delivery {
        Delivery(
            to: mailbox,
            folder: folder,
            key: key,
            arrived: arrived,
            sender: "s@example.test",
            prefix: prefix,
            source: Source(message: message),
            mayBeKnown: mayBeKnown
        )
    }

    /// The content of its file in a Maildir.
    var maildirOctets: [UInt8] { prefix + message.filter { $0 != UInt8(ascii: "\r") } }

    /// Its content in an mbox, behind the header field with the key.
    var mboxOctets: [UInt8] {
        String(decoding: prefix, as: UTF8.self).replacing("\n", with: "\r\n").utf8 + message
    }

    private struct Source: DeliverySource {
        let message: [UInt8]

        var octets: Int { message.count }

        func read(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError) {
            var start = 0
            while start < message.count {
                let end = min(message.count, start + 50_000)
                try consume(ByteBuffer(bytes: message[start..<end]))
                start = end
            }
        }
    }
}
