import NIOCore

/// Encodes a message for RETR and TOP: dot-stuffing, and the dot that ends it (RFC 1939 §3). Lines must end in CRLF
/// already.
package struct MessageEncoder: Sendable {
    private static let lineFeed = UInt8(ascii: "\n")
    private static let dot = UInt8(ascii: ".")

    private var isAtLineStart = true

    package init() {}

    /// Encodes the next octets of the message.
    package mutating func encode(_ octets: ByteBufferView, into output: inout ByteBuffer) {
        guard !octets.isEmpty else { return }
        output.reserveCapacity(minimumWritableBytes: octets.count + 64)
        octets.withUnsafeBytes { encode($0, into: &output) }
    }

    private mutating func encode(_ octets: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        var start = 0
        if isAtLineStart, octets.first == Self.dot { output.writeInteger(Self.dot) }
        var offset = 0
        while let end = octets[offset...].firstIndex(of: Self.lineFeed) {
            offset = end + 1
            guard offset < octets.count, octets[offset] == Self.dot else { continue }
            output.writeBytes(UnsafeRawBufferPointer(rebasing: octets[start..<offset]))
            output.writeInteger(Self.dot)
            start = offset
        }
        output.writeBytes(UnsafeRawBufferPointer(rebasing: octets[start...]))
        isAtLineStart = octets.last == Self.lineFeed
    }

    /// Completes an unfinished last line, then writes the dot on its own. The encoder is as new.
    package mutating func finish(into output: inout ByteBuffer) {
        if !isAtLineStart { output.writeStaticString("\r\n") }
        output.writeStaticString(".\r\n")
        isAtLineStart = true
    }
}
