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

    private var state = State.lineStart

    /// An encoder before the first octet of a message.
    package init() {}

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
                    offset += 1
                    continue
                }
                output.writeInteger(UInt8.space)
                state = .text
            }
            if state == .lineStart, bytes[offset] == .dot {
                output.writeInteger(UInt8.dot)
            }
            let end = LineEndScan.firstLineEnd(in: bytes, from: offset)
            output.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
            offset = end
            state = .text
            guard offset < bytes.count else { return }
            if bytes[offset] == .carriageReturn {
                state = .textReturn
            } else {
                output.writeInteger(UInt8.space)
            }
            offset += 1
        }
    }

    /// Ends the message: completes an unfinished last line, then writes the dot on its own. The encoder is as new.
    package mutating func finish(into output: inout ByteBuffer) {
        switch state {
        case .lineStart: output.writeString(".\r\n")
        case .text, .textReturn: output.writeString("\r\n.\r\n")
        }
        state = .lineStart
    }
}
