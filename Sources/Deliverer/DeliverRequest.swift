import Bus
import Daemon
import NIOCore
import SMTP

/// A `DELIVER` request as it stands in its frame: one message for recipients that share a destination
/// (docs/protocols.md, "deliver.sock and relay.sock").
package struct DeliverRequest: Sendable, Equatable {
    /// Names the message in logs and keys: the queue's ID. Letters and digits.
    package var id: String
    /// Counts from 1.
    package var attempt: Int
    /// Seconds since 1970.
    package var arrived: Int64
    /// An earlier attempt may have got through unnoticed.
    package var mayBeKnown: Bool
    /// The administrator wants it tried now, whatever is remembered of hosts.
    package var isFlushed = false
    package var sender: EnvelopeSender
    package var recipients: [EnvelopeRecipient]
    /// The domain, for a deliverer to other hosts.
    package var destination: String?
    /// What goes in front of the message: whole header lines.
    package var added: ByteBuffer
    /// The message's size, without what is added. Octets.
    package var octets: Int
    /// The message, where it came with the request; otherwise it's read in pieces (`READ`).
    package var message: ByteBuffer?

    /// Whether the recipients are what an alias led to: their own mailboxes are meant.
    package var isExpanded: Bool
    /// Whether it belongs into its recipients' Junk.
    package var isQuarantined = false
    /// Whose mail of our own it is; nil for strangers'.
    package var submitter: Submitter?
    /// The account that handed it in; nil for everybody else's mail.
    package var account: String?
    /// When the message should be delivered.
    package var terms: DeliveryTerms
    /// Where it goes instead of to the hosts of its domain.
    package var route: RelayRoute?

    /// Messages up to this size come with the request. Octets.
    package static let inlineLimit = 64 * 1024
    /// What one `READ` may ask for. Octets.
    package static let pieceLimit = 64 * 1024
    /// What a queue file has digits for (docs/queue.md): sums of sizes can't overflow. Octets.
    private static let sizeLimit = 999_999_999_999

    package init(
        id: String,
        attempt: Int,
        arrived: Int64,
        mayBeKnown: Bool,
        sender: EnvelopeSender,
        recipients: [EnvelopeRecipient],
        destination: String?,
        added: ByteBuffer,
        octets: Int,
        message: ByteBuffer?,
        isExpanded: Bool = false,
        isQuarantined: Bool = false,
        submitter: Submitter? = nil,
        account: String? = nil,
        terms: DeliveryTerms = DeliveryTerms(),
        route: RelayRoute? = nil,
        isFlushed: Bool = false
    ) {
        self.id = id
        self.attempt = attempt
        self.arrived = arrived
        self.mayBeKnown = mayBeKnown
        self.sender = sender
        self.recipients = recipients
        self.destination = destination
        self.added = added
        self.octets = octets
        self.message = message
        self.isExpanded = isExpanded
        self.isQuarantined = isQuarantined
        self.submitter = submitter
        self.account = account
        self.terms = terms
        self.route = route
        self.isFlushed = isFlushed
    }

    /// Why a frame is no request. The message is not to blame: it is answered with `DEFER`.
    package struct Malformed: Error, Equatable {
        package let text: String
    }

    /// Reads the fields and the body of a `DELIVER` frame.
    package init(_ frame: Frame) throws(Malformed) {
        guard let id = frame["id"], Self.isName(id) else { throw Malformed(text: "malformed id") }
        guard let octets = frame.integer("octets"), (0...Self.sizeLimit).contains(octets) else {
            throw Malformed(text: "malformed octets")
        }
        guard let sender = frame["sender"].flatMap({ try? EnvelopeSender(parsing: $0.utf8) }) else {
            throw Malformed(text: "malformed sender")
        }
        var recipients: [EnvelopeRecipient] = []
        for field in frame.fields where field.name == "recipient" {
            guard let recipient = try? EnvelopeRecipient(parsing: field.value.utf8) else {
                throw Malformed(text: "malformed recipient")
            }
            recipients.append(recipient)
        }
        guard !recipients.isEmpty else { throw Malformed(text: "no recipient") }
        var body = frame.body ?? ByteBuffer()
        let length = frame["added"].map { Int($0) ?? -1 } ?? 0
        guard length >= 0, let added = body.readSlice(length: length) else { throw Malformed(text: "malformed added") }
        guard body.readableBytes == octets || octets > Self.inlineLimit && body.readableBytes == 0 else {
            throw Malformed(text: "the body is not the message")
        }
        let route: RelayRoute?
        do throws(RelayRoute.Malformed) {
            route = try RelayRoute.read(frame)
        } catch {
            throw Malformed(text: "malformed \(error.field)")
        }
        self.init(
            id: id,
            attempt: frame.integer("attempt") ?? 1,
            arrived: frame.integer("arrived").map { Int64(max(0, $0)) } ?? 0,
            mayBeKnown: frame["retry"] == "yes",
            sender: sender,
            recipients: recipients,
            destination: frame["destination"],
            added: added,
            octets: octets,
            message: body.readableBytes == octets ? body : nil,
            isExpanded: frame["expanded"] == "yes",
            isQuarantined: frame["quarantine"] == "yes",
            submitter: frame["submitter"].flatMap { Submitter(rawValue: $0) },
            account: frame["account"],
            terms: DeliveryTerms(
                deliverBy: frame["deliver-by"],
                holdUntil: frame["hold-until"],
                priority: frame["priority"]
            ),
            route: route,
            isFlushed: frame["flush"] == "yes"
        )
    }

    /// Names become parts of file names.
    private static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) }
    }

    /// The frame, without its tag.
    package var frame: Frame {
        var fields: [Frame.Field] = []
        fields.reserveCapacity(recipients.count + 16)
        fields.append(.init("id", id))
        fields.append(.init("attempt", String(attempt)))
        fields.append(.init("arrived", String(arrived)))
        if mayBeKnown { fields.append(.init("retry", "yes")) }
        if isFlushed { fields.append(.init("flush", "yes")) }
        fields.append(.init("sender", sender.description))
        for recipient in recipients { fields.append(.init("recipient", recipient.description)) }
        if isExpanded { fields.append(.init("expanded", "yes")) }
        if isQuarantined { fields.append(.init("quarantine", "yes")) }
        if let submitter { fields.append(.init("submitter", submitter.rawValue)) }
        if let account { fields.append(.init("account", account)) }
        for field in terms.fields { fields.append(.init("\(field.name)", field.value)) }
        if let destination { fields.append(.init("destination", destination)) }
        if let route { fields += route.fields }
        fields.append(.init("added", String(added.readableBytes)))
        fields.append(.init("octets", String(octets)))
        var body = added
        if var message { body.writeBuffer(&message) }
        return Frame("DELIVER", fields, body: body)
    }
}
