import NIOCore

/// Looks at the lines of a message that comes in chunks (RFC 3030), where no octet ends anything: whether CR and LF stand
/// together, and how long the longest line is.
package struct ChunkScanner: Sendable {
    private var isAfterReturn = false
    private var currentLine = 0

    /// Whether a CR or LF on its own was found. A CR at the very end counts once the message is over.
    package private(set) var hasBareLineEnd = false
    /// Octets, without the line's end.
    package private(set) var longestLine = 0

    /// A scanner before the first octet of a message.
    package init() {}

    /// Looks at the next octets.
    package mutating func scan(_ octets: ByteBuffer) { octets.withUnsafeReadableBytes { scan($0) } }

    private mutating func scan(_ bytes: UnsafeRawBufferPointer) {
        var offset = 0
        while offset < bytes.count {
            if isAfterReturn {
                isAfterReturn = false
                if bytes[offset] == .lineFeed {
                    currentLine = 0
                    offset += 1
                    continue
                }
                hasBareLineEnd = true
            }
            let end = LineEndScan.firstLineEnd(in: bytes, from: offset)
            currentLine += end - offset
            longestLine = max(longestLine, currentLine)
            offset = end
            guard offset < bytes.count else { return }
            if bytes[offset] == .carriageReturn {
                isAfterReturn = true
            } else {
                hasBareLineEnd = true
                currentLine = 0
            }
            offset += 1
        }
    }

    /// The message is over.
    package mutating func finish() { if isAfterReturn { hasBareLineEnd = true } }
}
