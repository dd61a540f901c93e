import Bus
import Mailbox
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// A `DELIVER` request (docs/protocols.md, "deliver.sock and relay.sock").
struct DeliveryRequest: Sendable {
    let id: String
    let sender: EnvelopeSender
    let recipient: EnvelopeRecipient
    /// The recipient as it was asked for, for the reply.
    let recipientText: String
    let arrived: Int
    let mayBeKnown: Bool
    let file: OpenFile
    let offset: Int
    let octets: Int

    /// Why a request can't be worked on; nothing that the message is to blame for.
    struct Fault: Error {
        let text: String
    }

    /// - Parameter file: what `open` gave, shared by all recipients.
    init(_ frame: Frame, recipient text: String, file: OpenFile) throws(Fault) {
        guard let id = frame["id"], Self.isName(id),
            let offset = frame.integer("offset"), let octets = frame.integer("octets"), offset >= 0, octets >= 0,
            octets <= Int.max - offset
        else { throw Fault(text: "malformed request") }
        guard let sender = frame["sender"].flatMap({ try? EnvelopeSender(parsing: $0.utf8) }),
            let recipient = try? EnvelopeRecipient(parsing: text.utf8)
        else { throw Fault(text: "malformed sender or recipient") }
        self.id = id
        self.sender = sender
        self.recipient = recipient
        recipientText = text
        arrived = frame.integer("arrived").map { max(0, $0) } ?? 0
        mayBeKnown = frame["retry"] == "yes"
        self.offset = offset
        self.octets = octets
        self.file = file
    }

    /// Opens the message's file.
    ///
    /// - Parameter queue: a descriptor of `spool/queue`.
    static func open(_ frame: Frame, in queue: CInt) throws(Fault) -> OpenFile {
        guard let name = frame["file"] else { throw Fault(text: "malformed request") }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ isName($0) }) else { throw Fault(text: "malformed file name") }
        do throws(MailboxError) {
            return try OpenFile(name, in: queue, O_RDONLY | O_NOFOLLOW)
        } catch {
            throw Fault(text: "cannot open \(name): \(error)")
        }
    }

    private static func isName(_ text: some StringProtocol) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) }
    }

    /// What this delivery has and no other: the queue's ID and the recipient.
    var key: String {
        // FNV-1a: recipients of one message only have to differ from each other.
        let hash = recipient.address.description.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return "\(id).\(String(hash, radix: 36))"
    }

    /// What goes in front of the message (RFC 5321 §4.4 for Return-Path), with LF line ends.
    var prefix: [UInt8] {
        Array("Return-Path: \(sender.path)\nDelivered-To: \(recipient.address)\n".utf8)
    }
}
