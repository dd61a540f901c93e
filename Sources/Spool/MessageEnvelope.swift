import Encodings
import NIOCore

/// What a queue file says about its message, as `name: value` lines before the message itself.
package struct MessageEnvelope: Equatable, Sendable {
    /// The message's name.
    package var id: MessageID
    /// Seconds since 1970.
    package var arrived: Int64
    /// Reverse-path with its parameters: `<alice@example.test> BODY=8BITMIME`.
    package var sender: String
    /// Forward-paths with their parameters, in the order they were given.
    package var recipients: [String]
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
    /// What makes the submission idempotent.
    package var origin: String?

    /// An envelope of what every message has.
    package init(id: MessageID, arrived: Int64, sender: String, recipients: [String]) {
        self.id = id
        self.arrived = arrived
        self.sender = sender
        self.recipients = recipients
    }

    /// The lines up to and without `octets` and `checksum`.
    func head() -> ByteBuffer {
        var lines = ByteBuffer()
        lines.reserveCapacity(256 + recipients.count * 48)
        func add(_ name: StaticString, _ value: String) {
            lines.writeStaticString(name)
            lines.writeStaticString(": ")
            lines.writePercentCoded(value)
            lines.writeStaticString("\n")
        }
        add("id", id.description)
        add("arrived", String(arrived))
        add("sender", sender)
        for recipient in recipients { add("recipient", recipient) }
        if let client { add("client", client) }
        if let helo { add("helo", helo) }
        if let protocolName { add("protocol", protocolName) }
        if let user { add("user", user) }
        if let uid { add("uid", String(uid)) }
        if let origin { add("origin", origin) }
        return lines
    }

    /// The line that tells the size; always of the same length, so that it can be filled in later.
    static func octetsLine(_ octets: Int) -> String {
        let digits = String(octets)
        return "octets: " + String(repeating: "0", count: max(0, 12 - digits.utf8.count)) + digits + "\n"
    }

    /// The last line, and the empty line behind it. The checksum covers the message and then the lines before this one.
    static func checksumLine(_ checksum: Checksum) -> String { "checksum: \(checksum.text)\n\n" }
}
