import Bus
import Cryptography
import Encodings

/// What session tickets are encrypted with (RFC 5077 §4, RFC 8446 §4.6.1); the processes of one service share it.
package struct TicketKey: Equatable, Sendable {
    /// By which a ticket says which key it needs. 16 octets.
    package let name: [UInt8]
    /// 64 octets: for HMAC-SHA-256, then for AES-256.
    package let secret: [UInt8]

    /// A new one.
    package init() {
        name = SecureRandom.octets(16)
        secret = SecureRandom.octets(64)
    }

    /// As a frame has it; nil for what is none.
    package init?(_ text: String) {
        guard let octets = Base64.decode(text.utf8), octets.count == 80 else { return nil }
        name = Array(octets.prefix(16))
        secret = Array(octets.dropFirst(16))
    }

    package var field: Frame.Field { .init("ticket-key", Base64.text(name + secret)) }
}

/// The keys for tickets: new tickets get the first one, the others are for those that clients have.
package struct TicketKeys: Equatable, Sendable {
    package var keys: [TicketKey]
    /// How long a ticket is good. Seconds.
    package var lifetime: Int

    package init(keys: [TicketKey], lifetime: Int) {
        self.keys = keys
        self.lifetime = lifetime
    }

    /// As keyd says them; nil where that is malformed.
    package init?(_ frame: Frame) {
        guard frame.replyKind == .ok, let lifetime = frame.integer("lifetime"), (0...604_800).contains(lifetime) else {
            return nil
        }
        let texts = frame.all("ticket-key")
        keys = texts.compactMap(TicketKey.init)
        self.lifetime = lifetime
        guard keys.count == texts.count else { return nil }
    }

    package var fields: [Frame.Field] { [.init("lifetime", String(lifetime))] + keys.map(\.field) }
}
