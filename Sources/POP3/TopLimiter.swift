import NIOCore

/// Finds where TOP ends: after the header, the empty line, and the requested number of body lines (RFC 1939 §7).
package struct TopLimiter: Sendable {
    private var linesLeft: Int
    private var isInHeader = true
    private var lineIsEmpty = true

    /// - Parameter lines: of the body.
    package init(lines: Int) { linesLeft = lines }

    /// Whether nothing more is wanted.
    package var isDone: Bool { !isInHeader && linesLeft <= 0 }

    /// The part of the next octets that belongs to the answer.
    package mutating func limit(_ octets: ByteBufferView) -> ByteBufferView {
        var index = octets.startIndex
        while index < octets.endIndex, !isDone {
            let octet = octets[index]
            octets.formIndex(after: &index)
            if octet == UInt8(ascii: "\n") {
                endLine()
            } else if octet != UInt8(ascii: "\r") {
                lineIsEmpty = false
            }
        }
        return octets[octets.startIndex..<index]
    }

    private mutating func endLine() {
        if isInHeader {
            isInHeader = !lineIsEmpty
        } else {
            linesLeft -= 1
        }
        lineIsEmpty = true
    }
}
