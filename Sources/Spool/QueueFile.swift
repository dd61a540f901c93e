import Encodings
import NIOCore

/// A queue file's head as it was read: the envelope, and where the message is.
package struct QueueFileHead: Equatable, Sendable {
    /// What is known about the message.
    package var envelope: MessageEnvelope
    /// Where the message begins. Octets from the file's begin.
    package var offset: Int
    /// The message's size. Octets.
    package var octets: Int
    /// Over the message, then the lines before `checksum`.
    package var checksum: UInt32 = 0
    /// Octets of the lines that the checksum covers.
    package var coveredHead = 0

    /// The head of a file that was just written.
    package init(_ envelope: MessageEnvelope, offset: Int, octets: Int) {
        self.envelope = envelope
        self.offset = offset
        self.octets = octets
    }
}

/// The form of a queue file: envelope block, empty line, the message (docs/queue.md).
package enum QueueFile {
    /// The whole file for a message that is held in memory.
    package static func encode(_ envelope: MessageEnvelope, message: ByteBuffer) -> (file: ByteBuffer, offset: Int) {
        var file = envelope.head()
        file.writeString(MessageEnvelope.octetsLine(message.readableBytes))
        var checksum = Checksum()
        checksum.add(message)
        checksum.add(file)
        file.writeString(MessageEnvelope.checksumLine(checksum))
        let offset = file.readableBytes
        file.writeImmutableBuffer(message)
        return (file, offset)
    }

    /// Reads the envelope block; nil where the octets end before it does.
    ///
    /// - Throws: `corrupt`.
    package static func parseHead(_ octets: ByteBuffer) throws(SpoolError) -> QueueFileHead? {
        var parser = HeadParser()
        let view = octets.readableBytesView
        var start = view.startIndex
        while let end = view[start...].firstIndex(of: UInt8(ascii: "\n")) {
            if end == start { return try parser.finish(offset: end + 1 - view.startIndex) }
            try parser.take(view[start..<end], at: start - view.startIndex)
            start = end + 1
        }
        return nil
    }

    private struct HeadParser {
        private var id: MessageID?
        private var arrived: Int64?
        private var sender: String?
        private var recipients: [String] = []
        private var extra: [String: String] = [:]
        private var octets: Int?
        private var checksum: (value: UInt32, position: Int)?

        mutating func take(_ line: ByteBufferView, at position: Int) throws(SpoolError) {
            guard checksum == nil, let colon = line.firstIndex(of: UInt8(ascii: ":")),
                let value = Self.decode(line[(colon + 1)...].drop { $0 == UInt8(ascii: " ") })
            else { throw .corrupt("malformed envelope line") }
            let name = String(decoding: line[..<colon], as: UTF8.self)
            switch name {
            case "id": id = MessageID(value)
            case "arrived": arrived = Int64(value)
            case "sender": sender = value
            case "recipient": recipients.append(value)
            case "octets": octets = Int(value)
            case "checksum": checksum = UInt32(value, radix: 16).map { ($0, position) }
            default: extra[name] = value
            }
        }

        func finish(offset: Int) throws(SpoolError) -> QueueFileHead {
            guard let id, let arrived, let sender, !recipients.isEmpty, let octets, octets >= 0, let checksum else {
                throw .corrupt("incomplete envelope")
            }
            var envelope = MessageEnvelope(id: id, arrived: arrived, sender: sender, recipients: recipients)
            envelope.client = extra["client"]
            envelope.helo = extra["helo"]
            envelope.protocolName = extra["protocol"]
            envelope.user = extra["user"]
            envelope.uid = extra["uid"].flatMap { UInt32($0) }
            envelope.origin = extra["origin"]
            var head = QueueFileHead(envelope, offset: offset, octets: octets)
            head.checksum = checksum.value
            head.coveredHead = checksum.position
            return head
        }

        private static func decode(_ value: ByteBufferView) -> String? {
            guard value.contains(UInt8(ascii: "%")) else { return String(validating: value, as: UTF8.self) }
            return PercentCoding.decode(value).flatMap { String(validating: $0, as: UTF8.self) }
        }
    }
}
