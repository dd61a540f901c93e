import Deliverer
import SMTP

extension DeliverRequest {
    /// What the delivery to a recipient has at every attempt and no other delivery has: the queue's ID and the recipient.
    func key(of recipient: EnvelopeRecipient) -> String {
        // FNV-1a: recipients of one message only have to differ from each other.
        let hash = recipient.address.description.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return "\(id).\(String(hash, radix: 36))"
    }

    /// What goes in front of the message (RFC 5321 §4.4 for Return-Path), with LF line ends.
    func prefix(for recipient: EnvelopeRecipient) -> [UInt8] {
        Array("Return-Path: \(sender.path)\nDelivered-To: \(recipient.address)\n".utf8)
    }
}
