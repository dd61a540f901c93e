import NIOCore

/// Decodes the message that follows DATA: finds its end and undoes dot-stuffing (RFC 5321 §4.5.2).
///
/// Only CR LF "." CR LF ends the message. A CR or an LF on its own makes the message unacceptable: programs that
/// disagree about where such a line ends let one message smuggle in another (RFC 5321 §2.3.8).
package struct DataDecoder: Sendable {
    /// What was found.
    package enum Event: Equatable, Sendable {
        /// Octets of the message, a slice of the input. The CR LF before the last dot belongs to it.
        case octets(ByteBuffer)
        /// The end. What follows in the input is the client's next command.
        case end
    }

    private enum State {
        /// After CR LF, or at the start.
        case lineStart
        /// After a dot at the start of a line, which is never part of the message.
        case dot
        /// After that dot and a CR.
        case dotReturn
        /// Within a line.
        case text
        /// After a CR within a line.
        case textReturn
    }

    private var state = State.lineStart

    /// Whether a CR or LF on its own was found. From then on no octets are given, only the end.
    package private(set) var hasBareLineEnd = false
    /// Whether the line before the last dot ended with CR CR LF, which not everybody takes for the end of a line.
    package private(set) var isEndDoubtful = false
    /// The octets of the longest line so far, without its end and as it was sent.
    package private(set) var longestLine = 0
    private var currentLine = 0
    /// The last octets were CR CR, or CR CR LF.
    private var isReturnDoubled = false

    /// A decoder before the first octet of a message.
    package init() {}

    /// The next event, its octets taken off `input`; nil when `input` holds nothing more.
    package mutating func next(_ input: inout ByteBuffer) -> Event? {
        while input.readableBytes > 0 {
            let (skipped, length, isEnd) = input.withUnsafeReadableBytes { scan($0) }
            input.moveReaderIndex(forwardBy: skipped)
            if isEnd { return .end }
            guard let slice = input.readSlice(length: length), length > 0, !hasBareLineEnd else { continue }
            return .octets(slice)
        }
        return nil
    }

    /// How many octets to skip, how many after these belong to the message, and whether the message ends after
    /// the skipped ones. Goes up to the next dot at the start of a line at most.
    private mutating func scan(
        _ bytes: UnsafeRawBufferPointer
    ) -> (skipped: Int, length: Int, isEnd: Bool) {
        var offset = 0
        while state == .dot || state == .dotReturn || (state == .lineStart && offset == 0) {
            guard offset < bytes.count else { return (offset, 0, false) }
            if step(bytes[offset], &offset) { return (offset, 0, true) }
        }
        let start = offset
        while offset < bytes.count {
            switch state {
            case .lineStart where bytes[offset] == .dot:
                return (start, offset - start, false)
            case .lineStart, .text:
                state = .text
                isReturnDoubled = false
                let lineEnd = LineEndScan.firstLineEnd(in: bytes, from: offset)
                currentLine += lineEnd - offset
                longestLine = max(longestLine, currentLine)
                offset = lineEnd
                guard offset < bytes.count else { break }
                if bytes[offset] == .lineFeed {
                    hasBareLineEnd = true
                } else {
                    state = .textReturn
                }
                offset += 1
            case .textReturn, .dot, .dotReturn:
                offset = afterReturn(bytes[offset], offset)
            }
        }
        return (start, offset - start, false)
    }

    /// One octet at the start of a line or after a dot there; true at the end of the message.
    private mutating func step(_ byte: UInt8, _ offset: inout Int) -> Bool {
        switch (state, byte) {
        case (.lineStart, .dot):
            state = .dot
            offset += 1
        case (.dot, .carriageReturn):
            state = .dotReturn
            offset += 1
        case (.dotReturn, .lineFeed):
            offset += 1
            state = .lineStart
            isEndDoubtful = isReturnDoubled
            return true
        case (.dotReturn, _):
            // The CR was bare; what it begins is looked at again as after any CR.
            state = .textReturn
        case (.lineStart, _), (.dot, _), (.text, _), (.textReturn, _):
            state = .text
        }
        return false
    }

    /// The octet after a CR: an LF ends the line, anything else makes the CR a bare one.
    private mutating func afterReturn(_ byte: UInt8, _ offset: Int) -> Int {
        switch byte {
        case .lineFeed:
            state = .lineStart
            currentLine = 0
            return offset + 1
        case .carriageReturn:
            hasBareLineEnd = true
            isReturnDoubled = true
            return offset + 1
        default:
            hasBareLineEnd = true
            state = .text
            return offset
        }
    }
}
