import NIOCore
import SMTP

/// What a milter says of an event (`SMFIR_*`).
package enum MilterReply: Sendable, Equatable {
    /// Go on.
    case proceed
    /// Go on, and without it: to the end of the message; said of the connection or HELO, to the end of the connection.
    case accept
    /// Take the message and throw it away.
    case discard
    case reject
    case tempfail
    /// Refuse in these words.
    case refuse(Reply)
    /// It has seen enough of the body.
    case skip
    /// It's still at work.
    case progress
    /// End the connection.
    case shutdown
    /// End the connection as if it had failed.
    case connectionFailure
    case modification(MilterModification)

    /// Whether nothing more of the event follows.
    package var isFinal: Bool {
        switch self {
        case .progress, .modification: false
        default: true
        }
    }

    /// Reads one.
    package init(_ packet: MilterPacket) throws(MilterProtocolError) {
        switch packet.code {
        case UInt8(ascii: "c"): self = .proceed
        case UInt8(ascii: "a"): self = .accept
        case UInt8(ascii: "d"): self = .discard
        case UInt8(ascii: "r"): self = .reject
        case UInt8(ascii: "t"): self = .tempfail
        case UInt8(ascii: "s"): self = .skip
        case UInt8(ascii: "p"): self = .progress
        case UInt8(ascii: "4"): self = .shutdown
        case UInt8(ascii: "f"): self = .connectionFailure
        case UInt8(ascii: "y"):
            var payload = packet.payload
            guard let text = payload.readMilterString(), payload.readableBytes == 0,
                let refusal = Reply(milter: text)
            else { throw .malformed(packet.code) }
            self = .refuse(refusal)
            return
        default:
            guard let modification = try MilterModification(packet) else { throw .unknownReply(packet.code) }
            self = .modification(modification)
            return
        }
        guard packet.payload.readableBytes == 0 else { throw .malformed(packet.code) }
    }
}

extension Reply {
    /// Reads what a milter refuses with: `550 5.7.1 text`, or several such lines with a hyphen in all but the last. `%%`
    /// stands for `%`, since Sendmail takes the text for a format.
    ///
    /// - Returns: nil where it's no refusal.
    fileprivate init?(milter text: [UInt8]) {
        var parser = ReplyParser()
        var octets = ByteBuffer(bytes: text)
        octets.writeStaticString("\r\n")
        guard let reply = try? parser.next(&octets), reply.code.isTransient || reply.code.isPermanent else {
            return nil
        }
        self.init(reply.code, reply.status, lines: reply.lines.prefix(Self.maximumLines).map(Self.unescaped))
    }

    /// The most lines that are passed on.
    private static let maximumLines = 32
    /// The most octets of a line that are passed on: with code and line end a reply's line has 512 (RFC 5321 §4.5.3.1.5).
    private static let maximumLine = 480

    private static func unescaped(_ line: String) -> String {
        var octets: [UInt8] = []
        var isEscaped = false
        for octet in line.utf8.prefix(maximumLine) {
            isEscaped = octet == UInt8(ascii: "%") && !isEscaped
            if !isEscaped { octets.append(octet) }
        }
        return String(decoding: octets, as: UTF8.self)
    }
}
