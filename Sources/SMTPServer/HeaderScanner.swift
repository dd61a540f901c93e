import NIOCore

/// Scans the header of a message as it streams by: counts its Received fields and notes which others are present.
struct HeaderScanner {
    private enum State {
        case name
        case value
        case body
    }

    private static let longestName = 10

    private var state = State.name
    private var name: [UInt8] = []
    private var isFirstLine = true
    /// There was space after the name: only the colon may follow.
    private var isNameOver = false

    /// Received fields so far.
    private(set) var hops = 0
    /// Whether there is a Date field.
    private(set) var hasDate = false
    /// Whether there is a Message-ID field.
    private(set) var hasMessageID = false
    /// What stands in it, up to a limit.
    private var messageIDValue: [UInt8] = []
    /// The field that is being scanned is that one.
    private var isMessageID = false

    /// Longer ones are cut.
    private static let longestMessageID = 250

    /// The Message-ID with its angle brackets; nil where there is none.
    var messageID: String? {
        guard let start = messageIDValue.firstIndex(of: UInt8(ascii: "<")) else { return nil }
        let value = messageIDValue[start...]
        let end = value.firstIndex(of: UInt8(ascii: ">")).map { $0 + 1 } ?? value.endIndex
        return String(decoding: value[..<end], as: UTF8.self)
    }
    /// Whether there is a From field.
    private(set) var hasFrom = false
    /// Whether the message has no header at all, not even the empty line after it.
    private(set) var lacksHeader = false

    /// Whether the first line is one that an mbox puts in front of each message (`From alice@example.test Mon …`).
    private(set) var startsWithMailboxLine = false

    /// Whether the end of the header was seen.
    var isComplete: Bool { state == .body }

    init() {
        name.reserveCapacity(Self.longestName + 1)
    }

    /// Scans the next octets of the message.
    mutating func scan(_ octets: ByteBuffer) {
        octets.withUnsafeReadableBytes { bytes in
            var position = 0
            while position < bytes.count, state != .body {
                if state == .value {
                    // Nothing in a value counts but its end.
                    let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n"))
                    if isMessageID, messageIDValue.count < Self.longestMessageID {
                        let value = bytes[position..<(end ?? bytes.endIndex)]
                        messageIDValue += value.prefix(Self.longestMessageID - messageIDValue.count)
                    }
                    guard let end else { return }
                    position = end
                }
                consume(bytes[position])
                position += 1
            }
        }
    }

    private mutating func consume(_ byte: UInt8) {
        if byte == UInt8(ascii: "\n") {
            // A line without a colon ends the header; an empty one does so properly.
            if state == .name { endHeader(isEmptyLine: name.isEmpty || name == [UInt8(ascii: "\r")]) }
            if state != .body { state = .name }
            isFirstLine = false
            isNameOver = false
            name.removeAll(keepingCapacity: true)
            return
        }
        guard state == .name else { return }
        switch byte {
        case UInt8(ascii: ":"):
            endName()
        case UInt8(ascii: " "), UInt8(ascii: "\t"):
            // A line that starts with space continues a field; spaces before the colon are obsolete but allowed.
            if name.isEmpty {
                if isFirstLine { endHeader(isEmptyLine: false) } else { state = .value }
            }
            isNameOver = true
        case UInt8(ascii: "\r"):
            // Before the line's end; anywhere else the message is refused.
            if name.count <= Self.longestName { name.append(byte) }
        case _ where isNameOver:
            // A name has no space within (RFC 5322 §2.2): this is text, which stands where the header should be.
            let isMailboxLine = name.drop { $0 == UInt8(ascii: ">") }.elementsEqual("from".utf8)
            if isFirstLine, isMailboxLine {
                startsWithMailboxLine = true
                state = .value
            } else {
                endHeader(isEmptyLine: false)
            }
        default:
            if name.count <= Self.longestName { name.append(byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) }
        }
    }

    private mutating func endName() {
        state = .value
        isMessageID = false
        if name.elementsEqual("received".utf8) {
            hops += 1
        } else if name.elementsEqual("date".utf8) {
            hasDate = true
        } else if name.elementsEqual("from".utf8) {
            hasFrom = true
        } else if name.elementsEqual("message-id".utf8) {
            isMessageID = !hasMessageID
            hasMessageID = true
        }
    }

    private mutating func endHeader(isEmptyLine: Bool) {
        state = .body
        lacksHeader = isFirstLine && !isEmptyLine
    }
}
