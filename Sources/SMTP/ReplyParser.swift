import NIOCore

/// Why what a server said is not a reply.
package enum ReplyError: Error, Hashable, Sendable {
    /// A line that does not start with a code, or whose code differs from the line before.
    case malformed
    /// A line of more than 4,096 octets, or a reply of more than 64 KiB or 1,000 lines.
    case tooLong
}

/// Reads replies from what has arrived so far (RFC 5321 §4.2.1). Lines may end in a bare LF.
package struct ReplyParser: Sendable {
    private static let maximumLine = 4096
    private static let maximumOctets = 65536
    private static let maximumLines = 1000

    private var code: ReplyCode?
    private var status: EnhancedStatusCode?
    private var lines: [String] = []
    private var octets = 0

    /// A parser before its first reply.
    package init() {}

    /// The next whole reply, taken off `input`; nil until more octets have arrived.
    package mutating func next(_ input: inout ByteBuffer) throws(ReplyError) -> Reply? {
        while let line = try Self.line(&input) {
            octets += line.count
            guard octets <= Self.maximumOctets, lines.count < Self.maximumLines else { throw .tooLong }
            if try parse(line) { return finish() }
        }
        return nil
    }

    private static func line(_ input: inout ByteBuffer) throws(ReplyError) -> ArraySlice<UInt8>? {
        let view = input.readableBytesView
        guard let end = view.firstIndex(of: .lineFeed) else {
            guard view.count <= maximumLine else { throw .tooLong }
            return nil
        }
        let length = end - view.startIndex
        guard length <= maximumLine, var line = input.readBytes(length: length + 1)?[...] else { throw .tooLong }
        line.removeLast()
        if line.last == .carriageReturn { line.removeLast() }
        return line
    }

    /// True for the last line of a reply.
    private mutating func parse(_ line: ArraySlice<UInt8>) throws(ReplyError) -> Bool {
        let digits = line.prefix(3)
        guard digits.count == 3, digits.allSatisfy(\.isDigit) else { throw .malformed }
        let lineCode = ReplyCode(digits.reduce(0) { $0 * 10 + UInt16($1 - 0x30) })
        guard (200...599).contains(lineCode.value), code == nil || code == lineCode else { throw .malformed }
        let rest = line.dropFirst(3)
        guard rest.isEmpty || rest.first == .space || rest.first == UInt8(ascii: "-") else { throw .malformed }
        var text = rest.dropFirst()
        var scanner = ByteScanner(text)
        if let found = EnhancedStatusCode(&scanner), UInt16(found.statusClass) == lineCode.value / 100,
            scanner.isAtEnd || scanner.take(.space)
        {
            if code == nil { status = found }
            text = scanner.rest
        }
        code = lineCode
        lines.append(String(decoding: text.map { $0 < 0x20 && $0 != .tab || $0 == 0x7F ? 0x3F : $0 }, as: UTF8.self))
        return rest.first != UInt8(ascii: "-")
    }

    private mutating func finish() -> Reply? {
        defer { self = ReplyParser() }
        return code.map { Reply($0, status, lines: lines) }
    }
}
