/// Decodes quoted-printable (RFC 2045 §6.7) that comes in pieces. White space at a line's end is dropped, as the RFC asks;
/// escapes that are none are kept as they are.
package struct QuotedPrintableDecoder: Sendable {
    private enum Escape {
        case octet(UInt8)
        case softBreak(length: Int)
        case incomplete
        case bad
    }

    /// An escape that isn't complete, or blanks that may be the line's last.
    private var held: [UInt8] = []
    package private(set) var defects: TransferDefects = []

    /// The most blanks at a line's end that are dropped.
    private static let blankLimit = 1000
    private static let escape = UInt8(ascii: "=")

    package init() {}

    /// Decodes the next piece and appends what it means.
    package mutating func decode(_ input: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        guard !held.isEmpty else { return run(input, into: &output) }
        let joined = held + input
        held.removeAll()
        joined.withUnsafeBufferPointer { run($0, into: &output) }
    }

    private mutating func run(_ input: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        var kept = output.count  // nothing before this is white space of the line's end
        var position = 0
        while position < input.count {
            var stop = position
            while stop < input.count, input[stop] != Self.escape, input[stop] != ASCII.lineFeed { stop += 1 }
            output.append(contentsOf: UnsafeBufferPointer(rebasing: input[position..<stop]))
            position = stop
            guard position < input.count else { break }
            if input[position] == ASCII.lineFeed {
                Self.endLine(&output, keeping: kept)
                position += 1
            } else {
                switch Self.escape(input, at: position) {
                case .octet(let octet):
                    output.append(octet)
                    position += 3
                case .softBreak(let length): position += length
                case .incomplete:
                    held = Array(input[position...])
                    return
                case .bad:
                    defects.insert(.badEscape)
                    output.append(Self.escape)
                    position += 1
                }
            }
            kept = output.count
        }
        hold(from: &output, keeping: kept)
    }

    /// Drops the blanks before a line end and appends that.
    private static func endLine(_ output: inout [UInt8], keeping kept: Int) {
        let hasReturn = output.count > kept && output.last == ASCII.carriageReturn
        if hasReturn { output.removeLast() }
        let floor = max(kept, output.count - blankLimit)
        while output.count > floor, let last = output.last, ASCII.isBlank(last) { output.removeLast() }
        if hasReturn { output.append(ASCII.carriageReturn) }
        output.append(ASCII.lineFeed)
    }

    private mutating func hold(from output: inout [UInt8], keeping kept: Int) {
        var cut = output.count
        if cut > kept, output[cut - 1] == ASCII.carriageReturn { cut -= 1 }
        let floor = max(kept, cut - Self.blankLimit)
        while cut > floor, ASCII.isBlank(output[cut - 1]) { cut -= 1 }
        held = Array(output[cut...])
        output.removeLast(held.count)
    }

    /// What the `=` at that place means.
    private static func escape(_ input: UnsafeBufferPointer<UInt8>, at start: Int) -> Escape {
        guard start + 1 < input.count else { return .incomplete }
        if let high = ASCII.hexadecimal(input[start + 1]) {
            guard start + 2 < input.count else { return .incomplete }
            return ASCII.hexadecimal(input[start + 2]).map { .octet(high << 4 | $0) } ?? .bad
        }
        // A soft line break, perhaps with blanks that a relay has put before it.
        var end = start + 1
        while end < input.count, ASCII.isBlank(input[end]), end - start <= blankLimit { end += 1 }
        guard end < input.count else { return .incomplete }
        if input[end] == ASCII.lineFeed { return .softBreak(length: end + 1 - start) }
        guard input[end] == ASCII.carriageReturn else { return .bad }
        guard end + 1 < input.count else { return .incomplete }
        return input[end + 1] == ASCII.lineFeed ? .softBreak(length: end + 2 - start) : .bad
    }

    /// The end: the line end behind the last line belongs to the boundary, so `=` there is a soft line break.
    package mutating func finish(into output: inout [UInt8]) {
        if held.first == Self.escape, held.count > 1, ASCII.hexadecimal(held[1]) != nil {
            defects.insert(.badEscape)
            output += held
        } else if held.first != Self.escape, held.last == ASCII.carriageReturn {
            output.append(ASCII.carriageReturn)
        }
        held = []
    }
}

/// Encodes text as quoted-printable (RFC 2045 §6.7): CRLF are line ends, a CR or LF alone is content; lines have at most 76
/// characters. Also escapes a dot alone in a line and `From ` at its start, which relays and mailboxes change.
package struct QuotedPrintableEncoder: Sendable {
    private var line: [UInt8] = []
    /// A blank or CR whose meaning the next octet decides.
    private var held: UInt8?
    private let isBinary: Bool

    private static let limit = 76
    static let digits = Array("0123456789ABCDEF".utf8)

    /// - Parameter isBinary: line ends are content too.
    package init(isBinary: Bool = false) { self.isBinary = isBinary }

    /// Encodes the next piece.
    package mutating func encode(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        for octet in octets {
            if octet == ASCII.lineFeed, held == ASCII.carriageReturn {
                held = nil
                endLine(into: &text)
                continue
            }
            if let held { put(held, isEscaped: held == ASCII.carriageReturn, into: &text) }
            held = nil
            if octet == ASCII.carriageReturn, !isBinary {
                escapeTrailingBlank(into: &text)
                held = octet
            } else {
                put(octet, isEscaped: !Self.isPlain(octet), into: &text)
            }
        }
    }

    /// The end.
    package mutating func finish(into text: inout [UInt8]) {
        if let held { put(held, isEscaped: true, into: &text) }
        held = nil
        escapeTrailingBlank(into: &text)
        flush(into: &text)
    }

    private static func isPlain(_ octet: UInt8) -> Bool {
        (octet >= 0x20 && octet <= 0x7E && octet != UInt8(ascii: "=")) || octet == ASCII.tab
    }

    private mutating func put(_ octet: UInt8, isEscaped: Bool, into text: inout [UInt8]) {
        let length = isEscaped ? 3 : 1
        if line.count + length > Self.limit - 1 {
            flush(into: &text)
            text += [UInt8(ascii: "="), ASCII.carriageReturn, ASCII.lineFeed]
        }
        if isEscaped { line += Self.escaped(octet) } else { line.append(octet) }
    }

    private static func escaped(_ octet: UInt8) -> [UInt8] {
        [UInt8(ascii: "="), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
    }

    private mutating func endLine(into text: inout [UInt8]) {
        flush(into: &text)
        text += [ASCII.carriageReturn, ASCII.lineFeed]
    }

    /// A blank at a line's end would be lost.
    private mutating func escapeTrailingBlank(into text: inout [UInt8]) {
        guard let last = line.last, ASCII.isBlank(last) else { return }
        line.removeLast()
        put(last, isEscaped: true, into: &text)
    }

    private mutating func flush(into text: inout [UInt8]) {
        let isLoneDot = line.count == 1 && line[0] == UInt8(ascii: ".")
        if isLoneDot || line.starts(with: "From ".utf8) {
            text += Self.escaped(line[0])
            text += line.dropFirst()
        } else {
            text += line
        }
        line.removeAll(keepingCapacity: true)
    }
}
