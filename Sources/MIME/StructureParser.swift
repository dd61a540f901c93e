import NIOCore

/// How much of a message's structure is looked at; what lies beyond is treated as plain content.
package struct StructureLimits: Sendable {
    /// Multiparts and messages within each other.
    package var depth = 50
    /// In the whole message.
    package var parts = 2000
    /// Of one header that are looked at. Octets.
    package var header = 256 * 1024
    /// Of all headers that are looked at. Octets.
    package var headers = 2 * 1024 * 1024

    package init() {}
}

/// Finds the parts of a message (RFC 2046 §5.1) in one pass over its octets, which come in pieces of any size. Keeps the
/// tree and a part of one line, never a body.
package struct StructureParser {
    private struct Open {
        var part: MessagePart
        var isInHeader = true
        /// `--` and the boundary, of a multipart whose last delimiter has not come.
        var delimiter: [UInt8]?
        var linesBefore = 0
        let isMessage: Bool
        let isInDigest: Bool
    }

    private let limits: StructureLimits
    private var stack: [Open]
    /// The start of the line that has not ended, as much as a delimiter or a header needs.
    private var line: [UInt8] = []
    private var lineStart = 0
    private var offset = 0
    private var lastOctet: UInt8 = 0
    /// Octets of the line end before this line.
    private var lastEnd = 0
    private var lineCount = 0
    private var partCount = 1
    private var header: [UInt8] = []
    private var headerOctets = 0

    /// A delimiter has at most 72 octets (RFC 2046 §5.1.1); be generous, and allow for blanks behind it.
    private static let delimiterLimit = 512

    package init(limits: StructureLimits = StructureLimits()) {
        self.limits = limits
        stack = [
            Open(part: MessagePart(header: 0..<0, body: 0..<0), isMessage: true, isInDigest: false)
        ]
    }

    /// Takes the next octets.
    package mutating func feed(_ octets: UnsafeRawBufferPointer) {
        var position = 0
        while position < octets.count {
            let rest = UnsafeRawBufferPointer(rebasing: octets[position...])
            guard let end = rest.firstIndex(of: ASCII.lineFeed) else {
                keep(rest)
                offset += rest.count
                lastOctet = rest.last ?? lastOctet
                return
            }
            let content = UnsafeRawBufferPointer(rebasing: rest[..<end])
            let before = content.last ?? lastOctet
            let hasReturn = before == ASCII.carriageReturn && offset + end > lineStart
            offset += end + 1
            position += end + 1
            lineCount += 1
            if line.isEmpty, offset - lineStart == end + 1, isPlain(content) {
                lastEnd = hasReturn ? 2 : 1
            } else {
                keep(content)
                endLine(length: hasReturn ? 2 : 1)
            }
            lineStart = offset
            lastOctet = 0
        }
    }

    /// Takes the next octets.
    package mutating func feed(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { feed($0) }
    }

    /// The end of the message: the tree.
    package mutating func finish() -> MessagePart {
        if offset > lineStart {
            endLine(length: 0)
            lastEnd = 0
        }
        while stack.count > 1 { closeLast(at: offset, lines: lineCount) }
        var root = stack[0]
        end(&root, at: offset, lines: lineCount)
        return root.part
    }

    /// A line of a body that is no delimiter needs no look.
    private func isPlain(_ content: UnsafeRawBufferPointer) -> Bool {
        guard let last = stack.last, !last.isInHeader else { return false }
        return content.count < 2 || content[0] != UInt8(ascii: "-") || content[1] != UInt8(ascii: "-")
    }

    private mutating func keep(_ octets: UnsafeRawBufferPointer) {
        let isInHeader = stack.last?.isInHeader ?? false
        let limit = isInHeader ? max(Self.delimiterLimit, limits.header - header.count) : Self.delimiterLimit
        let room = limit - line.count
        if room > 0 { line.append(contentsOf: octets.prefix(room)) }
    }

    private mutating func endLine(length: Int) {
        if line.last == ASCII.carriageReturn { line.removeLast() }
        if !atDelimiter(hasEnd: length > 0), let last = stack.indices.last, stack[last].isInHeader {
            if line.isEmpty, length > 0 {
                endHeader(at: offset)
            } else if header.count + line.count <= limits.header, headerOctets + line.count <= limits.headers {
                header += line
                header += [ASCII.carriageReturn, ASCII.lineFeed]
                headerOctets += line.count + 2
            }
        }
        line.removeAll(keepingCapacity: line.capacity <= 4096)
        lastEnd = length
    }

    /// Handles a delimiter line of any open multipart; false for every other line.
    private mutating func atDelimiter(hasEnd: Bool) -> Bool {
        guard line.count > 2, line[0] == UInt8(ascii: "-"), line[1] == UInt8(ascii: "-") else { return false }
        for index in stack.indices.reversed() {
            guard let delimiter = stack[index].delimiter, line.starts(with: delimiter) else { continue }
            var rest = line[delimiter.count...]
            let isLast = rest.starts(with: [UInt8(ascii: "-"), UInt8(ascii: "-")])
            if isLast { rest = rest.dropFirst(2) }
            guard rest.allSatisfy(ASCII.isBlank) else { continue }
            if !isLast, partCount >= limits.parts { return false }
            delimit(at: index, isLast: isLast, hasEnd: hasEnd)
            return true
        }
        return false
    }

    private mutating func delimit(at index: Int, isLast: Bool, hasEnd: Bool) {
        // The line end before the delimiter belongs to it.
        let end = lineStart - lastEnd
        while stack.count > index + 1 {
            closeLast(at: end, lines: lineCount - (hasEnd ? 1 : 0) - (lastEnd > 0 ? 1 : 0))
        }
        header.removeAll()
        if isLast {
            stack[index].delimiter = nil
            return
        }
        partCount += 1
        let isInDigest = ASCII.equal(stack[index].part.content.type.value, "multipart/digest")
        stack.append(
            Open(
                part: MessagePart(header: offset..<offset, body: offset..<offset),
                isMessage: false,
                isInDigest: isInDigest
            )
        )
    }

    private mutating func endHeader(at position: Int) {
        guard let last = stack.indices.last else { return }
        var open = stack[last]
        interpretHeader(&open, at: position)
        stack[last] = open
        let content = open.part.content
        guard stack.count < limits.depth, partCount < limits.parts else { return }
        if content.isMultipart, let boundary = content.type["boundary"], (1...200).contains(boundary.count) {
            stack[last].delimiter = Array("--".utf8) + boundary
        } else if content.isMessage, content.encoding == .identity {
            partCount += 1
            stack.append(
                Open(
                    part: MessagePart(header: position..<position, body: position..<position),
                    isMessage: true,
                    isInDigest: false
                )
            )
        }
    }

    private mutating func interpretHeader(_ open: inout Open, at position: Int) {
        let block = HeaderBlock(header)
        header.removeAll()
        open.isInHeader = false
        open.part.header = open.part.header.lowerBound..<position
        open.part.body = position..<position
        open.part.content = ContentFields(block, isInDigest: open.isInDigest)
        if open.isMessage { open.part.envelope = EnvelopeFields(block) }
        open.linesBefore = lineCount
    }

    private mutating func closeLast(at position: Int, lines: Int) {
        guard stack.count > 1, var open = stack.popLast(), let parent = stack.indices.last else { return }
        end(&open, at: position, lines: lines)
        stack[parent].part.children.append(open.part)
    }

    private mutating func end(_ open: inout Open, at position: Int, lines: Int) {
        let start = open.part.header.lowerBound
        if open.isInHeader {
            interpretHeader(&open, at: max(start, position))
            open.linesBefore = lines
        }
        let body = open.part.body.lowerBound
        open.part.body = body..<max(body, position)
        open.part.lines = max(0, lines - open.linesBefore)
    }
}
