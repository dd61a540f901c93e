import Daemon
import NIOCore
import SMTP

/// Mail that is tried at times of its own.
package enum DeliveryClass: Sendable {
    /// It has the null reverse-path.
    case bounce
    /// Its sender wants it to go before others (RFC 6710).
    case priority
    /// It may wait: its sender says so, or it has many recipients.
    case bulk
    case usual
}

/// What is different for mail to one domain; nil for what isn't.
package struct DestinationSettings: Sendable {
    package var times = QueueManagerConfiguration.DeliveryTimes()
    package var concurrency: Int?
    /// From the beginning of one delivery to that of the next, at least. Milliseconds.
    package var interval: Int64?
}

extension QueueSettings {
    func deliveryClass(of message: QueuedMessage) -> DeliveryClass {
        deliveryClass(
            isReport: message.isReport,
            priority: message.terms.priority,
            recipients: message.recipientKeys.count
        )
    }

    func deliveryClass(isReport: Bool, priority: Int, recipients: Int) -> DeliveryClass {
        if isReport { return .bounce }
        if priority > 0 { return .priority }
        return priority < 0 || bulkRecipients > 0 && recipients >= bulkRecipients ? .bulk : .usual
    }

    /// How long a destination's mail waits between attempts: the destination's own times first, then those of the class.
    ///
    /// - Parameter kind: of the message; nil for the destination as a whole.
    func backoff(_ kind: DeliveryClass?, to destination: String) -> Backoff {
        let (own, ofClass) = (self.own(destination)?.times, kind.flatMap { classes[$0] })
        let minimum = (own?.retryMinimum ?? ofClass?.retryMinimum)?.milliseconds ?? retryMinimum
        let maximum = (own?.retryMaximum ?? ofClass?.retryMaximum)?.milliseconds ?? retryMaximum
        // One may be the destination's, the other the class's.
        return Backoff(minimum: minimum, maximum: max(minimum, maximum))
    }

    /// How long a message is tried. Milliseconds.
    ///
    /// - Parameter destination: nil for the message as a whole.
    func lifetime(_ kind: DeliveryClass, to destination: String? = nil) -> Int64 {
        let own = destination.flatMap { self.own($0)?.times.lifetime } ?? classes[kind]?.lifetime
        return own?.milliseconds ?? (kind == .bounce ? bounceLifetime : lifetime)
    }

    /// After how long a message's sender is told that it's late. Milliseconds; 0 for never.
    func delayWarning(_ kind: DeliveryClass, to destination: String) -> Int64 {
        let own = self.own(destination)?.times.delayWarning ?? classes[kind]?.delayWarning
        return own?.milliseconds ?? delayWarning
    }
}
