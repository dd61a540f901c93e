import Encodings
import NIOCore
import SMTP

/// A queue file's head: the envelope, and where the message and its added block are.
package struct QueueFileHead: Equatable, Sendable {
    /// What is known about the message.
    package var envelope: MessageEnvelope
    /// Where the message begins. Octets from the file's beginning.
    package var offset: Int
    /// The message's size, as it came in. Octets.
    package var octets: Int
    /// The size of the block behind the message that goes in front of it. Octets.
    package var added: Int
    /// Over the message, the added block, then the lines before `checksum`.
    package var checksum: UInt32 = 0
    /// Octets of the lines that the checksum covers.
    package var coveredHead = 0

    /// The head of a file that was just written.
    package init(_ envelope: MessageEnvelope, offset: Int, octets: Int, added: Int) {
        self.envelope = envelope
        self.offset = offset
        self.octets = octets
        self.added = added
    }
}

/// The form of a queue file (docs/queue.md): envelope block, empty line, the message as it came in, and what a server adds
/// in front of it, which is known only at the message's end.
package enum QueueFile {
    /// The whole file for a message that is held in memory.
    package static func encode(
        _ envelope: MessageEnvelope,
        message: ByteBuffer,
        added: ByteBuffer = ByteBuffer()
    ) -> (file: ByteBuffer, head: QueueFileHead) {
        var file = envelope.head()
        file.reserveCapacity(minimumWritableBytes: message.readableBytes + added.readableBytes + 64)
        file.writeString(
            MessageEnvelope.endLines(
                added: added.readableBytes,
                octets: message.readableBytes,
                isQuarantined: envelope.isQuarantined,
                route: envelope.route
            )
        )
        var checksum = Checksum()
        checksum.add(message)
        checksum.add(added)
        checksum.add(file)
        file.writeString(MessageEnvelope.checksumLine(checksum))
        let offset = file.readableBytes
        file.writeImmutableBuffer(message)
        file.writeImmutableBuffer(added)
        let head = QueueFileHead(
            envelope,
            offset: offset,
            octets: message.readableBytes,
            added: added.readableBytes
        )
        return (file, head)
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
            try parser.add(view[start..<end], at: start - view.startIndex)
            start = end + 1
        }
        return nil
    }

    private struct HeadParser {
        private var id: MessageID?
        private var arrived: Int64?
        private var sender: EnvelopeSender?
        private var recipients: [EnvelopeRecipient] = []
        private var extra: [String: String] = [:]
        private var octets: Int?
        private var added = 0
        private var checksum: (value: UInt32, position: Int)?

        // What the lines have digits for: sums of them can't overflow, whatever a rotten file says.
        private static let sizes = 0...999_999_999_999
        private static let addedSizes = 0...9_999_999
        /// Seconds since 1970.
        private static let times: ClosedRange<Int64> = 0...(1 << 40)

        mutating func add(_ line: ByteBufferView, at position: Int) throws(SpoolError) {
            guard checksum == nil, let colon = line.firstIndex(of: UInt8(ascii: ":")),
                let decoded = PercentCoding.decode(line[(colon + 1)...].drop { $0 == UInt8(ascii: " ") })
            else { throw .corrupt("malformed envelope line") }
            let value = String(decoding: decoded, as: UTF8.self)
            let name = String(decoding: line[..<colon], as: UTF8.self)
            switch name {
            case "id": id = MessageID(value)
            case "arrived": arrived = Int64(value)
            case "sender":
                sender = try? EnvelopeSender(parsing: value.utf8)
                if sender == nil { throw .corrupt("malformed sender") }
            case "recipient":
                guard let recipient = try? EnvelopeRecipient(parsing: value.utf8) else {
                    throw .corrupt("malformed recipient")
                }
                recipients.append(recipient)
            case "octets": octets = Int(value)
            case "added":
                guard let size = Int(value), Self.addedSizes.contains(size) else { throw .corrupt("malformed added") }
                added = size
            case "checksum": checksum = UInt32(value, radix: 16).map { ($0, position) }
            default: extra[name] = value
            }
        }

        func finish(offset: Int) throws(SpoolError) -> QueueFileHead {
            guard let id, let arrived, let sender, !recipients.isEmpty, let octets, let checksum else {
                throw .corrupt("incomplete envelope")
            }
            guard Self.sizes.contains(octets) else { throw .corrupt("malformed octets") }
            guard Self.times.contains(arrived) else { throw .corrupt("malformed arrived") }
            var envelope = MessageEnvelope(id: id, arrived: arrived, sender: sender, recipients: recipients)
            envelope.client = extra["client"]
            envelope.helo = extra["helo"]
            envelope.protocolName = extra["protocol"]
            envelope.user = extra["user"]
            envelope.uid = extra["uid"].flatMap { UInt32($0) }
            envelope.givenSubmitter = extra["submitter"].flatMap { Submitter(rawValue: $0) }
            envelope.origin = extra["origin"]
            envelope.isExpanded = extra["expanded"] == "yes"
            envelope.expandedFrom = extra["expanded-from"].flatMap {
                try? MailAddress(parsing: $0.utf8, options: .envelope)
            }
            envelope.isQuarantined = extra["quarantined"] == "yes"
            envelope.route = extra["route"].flatMap { text in
                let name = text.prefix { $0 != " " }
                return name.isEmpty ? nil : String(name)
            }
            envelope.terms = DeliveryTerms(
                deliverBy: extra["deliver-by"],
                holdUntil: extra["hold-until"],
                priority: extra["priority"]
            )
            var head = QueueFileHead(envelope, offset: offset, octets: octets, added: added)
            head.checksum = checksum.value
            head.coveredHead = checksum.position
            return head
        }
    }
}
