import SMTP
import Spool

extension QueueSettings {
    /// How many recipients of a message go in one delivery: one, where each has a sender of its own.
    func recipients(ofDelivery envelope: MessageEnvelope) -> Int {
        envelope.sender.parameters.variableSender == nil ? deliveryRecipients : 1
    }
}

extension MessageEnvelope {
    /// The sender of the mail for a recipient, for deliverers and for reports.
    func sender(for recipient: MailAddress) -> EnvelopeSender {
        guard let variable = sender.parameters.variableSender else { return sender }
        var own = sender
        own.path = variable.path(sender.path, for: recipient)
        own.parameters.variableSender = nil
        return own
    }
}
