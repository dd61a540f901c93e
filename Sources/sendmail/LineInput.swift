import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// Standard input with every line's end, be it LF, CRLF or a lone CR, made CRLF. Long lines come in pieces.
struct LineInput {
    /// A line, or a piece of one.
    struct Piece {
        /// With CRLF behind it where the line ends here.
        var octets: [UInt8]
        var isStart: Bool
        var isEnd: Bool

        /// Whether it's a whole line of one dot.
        var isDot: Bool { isStart && octets == Array(".\r\n".utf8) }
        /// Whether it's a whole empty line.
        var isEmpty: Bool { isStart && octets == Array("\r\n".utf8) }
    }

    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtStart = true
    private var skipsLF = false
    private static let longest = 32 * 1024

    /// nil at the end of the input. A last line without an end gets one.
    ///
    /// - Throws: `Failure` with EX_NOINPUT where reading fails.
    mutating func next() throws -> Piece? {
        var octets: [UInt8] = []
        while true {
            guard try fill() else {
                guard !octets.isEmpty || !isAtStart else { return nil }
                return piece(octets, isEnd: true)
            }
            if skipsLF {
                skipsLF = false
                if buffer[position] == 10 {
                    position += 1
                    continue
                }
            }
            let rest = buffer[position...]
            let end = rest.firstIndex { $0 == 10 || $0 == 13 } ?? rest.endIndex
            let taken = min(end, position + Self.longest - octets.count)
            octets += buffer[position..<taken]
            position = taken
            if taken < end || octets.count >= Self.longest { return piece(octets, isEnd: false) }
            guard end < rest.endIndex else { continue }
            skipsLF = buffer[end] == 13
            position = end + 1
            return piece(octets, isEnd: true)
        }
    }

    private mutating func piece(_ octets: [UInt8], isEnd: Bool) -> Piece {
        defer { isAtStart = isEnd }
        return Piece(octets: isEnd ? octets + [13, 10] : octets, isStart: isAtStart, isEnd: isEnd)
    }

    /// Whether there is at least one octet.
    private mutating func fill() throws -> Bool {
        if position < buffer.count { return true }
        buffer = [UInt8](repeating: 0, count: 65536)
        position = 0
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure(.noInput, "read: \(String(cString: strerror(errno)))") }
            buffer.removeLast(buffer.count - count)
            return count > 0
        }
    }
}
