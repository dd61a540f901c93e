import Encodings
import NIOCore
import SMTP

/// What a queue file says about its message, as `name: value` lines before the message itself.
package struct MessageEnvelope: Equatable, Sendable {
    /// The message's name.
    package var id: MessageID
    /// Seconds since 1970.
    package var arrived: Int64
    package var sender: EnvelopeSender
    /// In the order they were given.
    package var recipients: [EnvelopeRecipient]
    /// The address that the message came from, or `local`.
    package var client: String?
    /// What the client called itself.
    package var helo: String?
    /// How it came (RFC 3848).
    package var protocolName: String?
    /// The authenticated user.
    package var user: String?
    /// The uid of the local program that handed the message in.
    package var uid: UInt32?
    /// Whose mail it is, where neither user nor uid tells.
    package var givenSubmitter: Submitter?
    /// What makes the submission idempotent.
    package var origin: String?
    /// Whether the recipients are what an alias led to: their own mailboxes are meant.
    package var isExpanded = false
    /// The alias that led to them. Older files say nothing about it.
    package var expandedFrom: MailAddress?
    /// Whether it belongs into its recipients' Junk. Known at its end.
    package var isQuarantined = false
    /// The name of a route that it has, whatever its sender and recipients. Known at its end; letters and digits.
    package var route: String?
    /// When it should be delivered. Older files say nothing about it.
    package var terms = DeliveryTerms()

    /// An envelope of what every message has.
    package init(id: MessageID, arrived: Int64, sender: EnvelopeSender, recipients: [EnvelopeRecipient]) {
        self.id = id
        self.arrived = arrived
        self.sender = sender
        self.recipients = recipients
    }

    /// Whose mail of our own it is; nil for strangers'.
    package var submitter: Submitter? {
        givenSubmitter ?? (user != nil ? .account : uid != nil ? .program : nil)
    }

    /// The lines up to and without `added`, `octets` and `checksum`.
    func head() -> ByteBuffer {
        var lines = ByteBuffer()
        lines.reserveCapacity(320 + recipients.count * 48)
        func add(_ name: StaticString, _ value: String) {
            lines.writeStaticString(name)
            lines.writeStaticString(": ")
            lines.writePercentCoded(value)
            lines.writeStaticString("\n")
        }
        add("id", id.description)
        add("arrived", String(arrived))
        add("sender", sender.description)
        for recipient in recipients { add("recipient", recipient.description) }
        if let client { add("client", client) }
        if let helo { add("helo", helo) }
        if let protocolName { add("protocol", protocolName) }
        if let user { add("user", user) }
        if let uid { add("uid", String(uid)) }
        if let givenSubmitter { add("submitter", givenSubmitter.rawValue) }
        if let origin { add("origin", origin) }
        if isExpanded { add("expanded", "yes") }
        if let expandedFrom { add("expanded-from", expandedFrom.description) }
        for field in terms.fields { add(field.name, field.value) }
        return lines
    }

    /// The lines that tell what is known at a message's end; always of the same length, so that they can be filled in later.
    static func endLines(added: Int, octets: Int, isQuarantined: Bool, route: String?) -> String {
        let name = route ?? ""
        let padding = String(repeating: " ", count: max(0, routeLength - name.utf8.count))
        return "quarantined: \(isQuarantined ? "yes" : " no")\nroute: \(name)\(padding)\n"
            + "added: \(padded(added, 7))\noctets: \(padded(octets, 12))\n"
    }

    /// What there is room for. Octets.
    package static let routeLength = 32

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    /// The last line, and the empty line behind it. The checksum covers what follows and then the lines before this one.
    static func checksumLine(_ checksum: Checksum) -> String { "checksum: \(checksum.text)\n\n" }
}
