import Bus
import NIOCore
import SMTP

/// A `READ`: a deliverer asks queue-manager for a piece of a message that did not fit its request.
package struct PieceRequest: Sendable, Hashable {
    package static let verb = "READ"

    /// The tag of the `DELIVER`.
    package var tag: String
    /// From the message's first octet, without what is added.
    package var offset: Int
    /// 1 to `DeliverRequest.pieceLimit`.
    package var length: Int

    package init(tag: String, offset: Int, length: Int) {
        self.tag = tag
        self.offset = offset
        self.length = length
    }

    /// nil where the frame is no such request.
    package init?(_ frame: Frame) {
        guard frame.verb == Self.verb, let tag = frame["tag"], let offset = frame.integer("offset"), offset >= 0,
            let length = frame.integer("length"), (1...DeliverRequest.pieceLimit).contains(length)
        else { return nil }
        self.init(tag: tag, offset: offset, length: length)
    }

    package var frame: Frame {
        Frame(Self.verb, [.init("tag", tag), .init("offset", String(offset)), .init("length", String(length))])
    }

    /// The answer. Fewer octets than were asked for only at the message's end.
    package func answer(_ piece: ByteBuffer) -> Frame {
        Frame(ReplyKind.ok.rawValue, [.init("tag", tag), .init("offset", String(offset))], body: piece)
    }

    /// The answer where the piece can't be read now.
    package func refusal(_ text: String) -> Frame {
        .reply(.defer, status: .systemTrouble, text: text, tag: tag, [.init("offset", String(offset))])
    }
}
