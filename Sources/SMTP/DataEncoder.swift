import NIOCore

/// Encodes a message for DATA: dot-stuffing, and the dot that ends it (RFC 5321 §4.5.2).
///
/// Lines end in CR LF. A CR or LF on its own is replaced by a space, as it must not be sent (RFC 5321 §2.3.8) and the
/// other host might take it for a line end.
package struct DataEncoder: Sendable {
    private enum State {
        case lineStart
        case text
        /// After a CR that has not been written yet.
        case textReturn
    }

    private let stuffsDots: Bool
    private var state = State.lineStart
    private var currentLine = 0
    /// The octets of the longest line so far, without its end and without a dot that was doubled (RFC 5321 §4.5.3.1.6).
    package private(set) var longestLine = 0

    /// The most octets that a line may have, without its end (RFC 5321 §4.5.3.1.6).
    package static let lineLimit = 998

    /// An encoder before the first octet of a message.
    ///
    /// - Parameter stuffsDots: false for the message as the other host has it afterwards, for signatures.
    package init(stuffsDots: Bool = true) { self.stuffsDots = stuffsDots }

    /// Encodes all of `input` to the end of `output`.
    package mutating func encode(_ input: inout ByteBuffer, into output: inout ByteBuffer) {
        output.reserveCapacity(minimumWritableBytes: input.readableBytes + 64)
        input.withUnsafeReadableBytes { encode($0, into: &output) }
        input.moveReaderIndex(to: input.writerIndex)
    }

    private mutating func encode(_ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        var offset = 0
        while offset < bytes.count {
            if state == .textReturn {
                if bytes[offset] == .lineFeed {
                    output.writeInteger(0x0D0A as UInt16)
                    state = .lineStart
                    currentLine = 0
                    offset += 1
                    continue
                }
                write(.space, into: &output)
                state = .text
            }
            if stuffsDots, state == .lineStart, bytes[offset] == .dot {
                output.writeInteger(UInt8.dot)
            }
            let end = LineEndScan.firstLineEnd(in: bytes, from: offset)
            output.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
            currentLine += end - offset
            longestLine = max(longestLine, currentLine)
            offset = end
            state = .text
            guard offset < bytes.count else { return }
            if bytes[offset] == .carriageReturn {
                state = .textReturn
            } else {
                write(.space, into: &output)
            }
            offset += 1
        }
    }

    /// An octet in the place of a line end that is none.
    private mutating func write(_ octet: UInt8, into output: inout ByteBuffer) {
        output.writeInteger(octet)
        currentLine += 1
        longestLine = max(longestLine, currentLine)
    }

    /// Ends the message: completes an unfinished last line, then writes the dot on its own. The encoder is as new.
    package mutating func finish(into output: inout ByteBuffer) {
        switch state {
        case .lineStart: break
        case .text, .textReturn: output.writeInteger(0x0D0A as UInt16)
        }
        if stuffsDots { output.writeString(".\r\n") }
        self = DataEncoder(stuffsDots: stuffsDots)
    }
}
