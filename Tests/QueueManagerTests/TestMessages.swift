import NIOCore
import SMTP
import Spool

@testable import QueueManager

/// Messages that are in no spool, for tests of the parts.
enum TestMessages {
    static func head(
        _ number: UInt64,
        from sender: String = "<alice@example.test>",
        to recipients: [String] = ["<bob@example.net>"],
        user: String? = nil
    ) throws -> QueueFileHead {
        var envelope = MessageEnvelope(
            id: MessageID(time: number, random: number),
            arrived: 1_795_447_200,
            sender: try EnvelopeSender(parsing: sender.utf8),
            recipients: try recipients.map { try EnvelopeRecipient(parsing: $0.utf8) }
        )
        envelope.user = user
        return QueueFileHead(envelope, offset: 100, octets: 1000, added: 0)
    }

    static func message(_ number: UInt64, from sender: String = "<alice@example.test>") throws -> QueuedMessage {
        QueuedMessage(try head(number, from: sender))
    }

    /// A job of a message of its own.
    static func job(
        _ number: UInt64,
        from sender: String = "<alice@example.test>",
        to destination: String = "example.net"
    ) throws -> DeliveryJob {
        DeliveryJob(try message(number, from: sender), to: destination, recipients: [0], mayBeKnown: false)
    }
}
