import Bus
import NIOCore

/// What both clients of queue.sock keep to (docs/protocols.md, "queue.sock").
package enum SubmissionProtocol {
    /// The most octets that a frame carries of a message.
    package static let chunk = 64 * 1024
    /// The most octets that may be added in front of a message.
    package static let addedLimit = 64 * 1024

    static func begin(_ envelope: SubmissionEnvelope, first: ByteBuffer?) -> Frame {
        var frame = envelope.frame
        frame.body = first
        return frame
    }

    static func part(_ octets: ByteBuffer) -> Frame { Frame("DATA", [Frame.Field](), body: octets) }

    static func end(
        added: ByteBuffer,
        isQuarantined: Bool = false,
        isHeld: Bool = false,
        route: String? = nil
    ) -> Frame {
        var fields = isQuarantined ? [Frame.Field("quarantine", "yes")] : []
        if isHeld { fields.append(Frame.Field("hold", "yes")) }
        if let route { fields.append(Frame.Field("route", route)) }
        return Frame("END", fields, body: added.readableBytes > 0 ? added : nil)
    }

    /// Whether an `END` says that the message belongs into its recipients' Junk.
    package static func isQuarantined(_ end: Frame) -> Bool { end["quarantine"] == "yes" }

    /// Whether an `END` says that the message is to be kept until an administrator releases it.
    package static func isHeld(_ end: Frame) -> Bool { end["hold"] == "yes" }

    /// The name of the route that an `END` gives the message.
    package static func route(_ end: Frame) -> String? { end["route"] }

    /// The ID that the greeting, or a reply, offers for the next message.
    static func nextID(_ reply: Frame) -> String? {
        reply["next"].flatMap { $0.isEmpty ? nil : $0 }
    }
}
