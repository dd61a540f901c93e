import Mailbox
import NIOCore

/// A message for one mailbox as the queue knows it.
final class SimulatedDelivery: SimulatedMessage, @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    let folder: FolderName?
    let arrived: Int
    private let prefix: [UInt8]
    /// With CRLF line ends.
    private let message: [UInt8]
    /// Whether an earlier attempt may have succeeded without being acknowledged; the queue passes it to the next one.
    var mayBeKnown = false
    /// Acknowledged.
    private(set) var isDelivered = false

    init(to mailbox: MailboxLocation, _ folder: FolderName?, key: String, arrived: Int, message: [UInt8]) {
        self.folder = folder
        self.arrived = arrived
        self.message = message
        prefix = Array(Self.start(key).utf8)
        super.init(
            mailbox,
            key: key,
            maildirOctets: prefix + message.filter { $0 != UInt8(ascii: "\r") },
            mboxOctets: Array(Self.start(key).replacing("\n", with: "\r\n").utf8) + message
        )
        maximum = 1
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

    func acknowledge() {
        isDelivered = true
        minimum = 1
    }

    override var allowed: ClosedRange<Int> { isDelivered || mayBeKnown ? super.allowed : 0...0 }

    /// What isn't acknowledged is tried again.
    override func settle(_ found: Int) { if isDelivered { super.settle(found) } }

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
