import CLinux

/// Reads a message in pieces of any size and tells what is in it (RFC 5322 §2.1, RFC 2046 §5.1). It keeps one header and
/// a part of one line, so that messages may be of any size; the time is in proportion to the octets.
///
/// Lines may end in CRLF or in LF. Where the structure is broken it does what most programs do: a delimiter of an outer
/// multipart ends all within it, and what has no structure is plain content. What it found wrong, it reports.
package struct MessageParser {
    private struct Open {
        let start: Int
        let isMessage: Bool
        let isInDigest: Bool
        /// Line ends before it.
        let startLines: Int
        var isInHeader = true
        /// Whether a line of the header is a field.
        var hasField = false
        /// Lines of the header before the first field that can't belong to one.
        var strayLines = 0
        /// Whether the body's octets belong to parts within it.
        var isComposite = false
        var isDigest = false
        var isSevenBit = true
        /// `--` and the boundary, of a multipart whose last delimiter has not come.
        var delimiter: [UInt8]?
        var isMultipart = false
        var hasPart = false
        var bodyStart = 0
        /// Where the last part within it ended.
        var floor = 0
        var linesBefore = 0
        var bits: UInt8 = 0
        var defects: Defects = []
    }

    private let limits: StructureLimits
    private var stack: [Open] = []
    /// The line that has not ended, as much as a delimiter or a header needs; empty within other lines.
    private var line: [UInt8] = []
    private var lineStart = 0
    private var offset = 0
    /// Whether this line can be no delimiter and is no header's.
    private var isPlainLine = false
    /// A line end, or the CR of one, that belongs to the body or to a delimiter: the next octets say.
    private var held: [UInt8] = []
    private var lastOctet: UInt8 = 0
    private var lineCount = 0
    /// Octets of the line end before this line.
    private var lastEnd = 0
    private var partCount = 1
    private var header: [UInt8] = []
    private var headerIsCut = false
    private var headerOctets = 0

    /// A delimiter has at most 72 octets (RFC 2046 §5.1.1); be generous, and allow for blanks behind it. Octets.
    private static let delimiterLimit = 2048
    private static let maximumBoundary = 1000

    package init(limits: StructureLimits = StructureLimits()) { self.limits = limits }

    /// Takes the next octets.
    package mutating func feed(_ octets: UnsafeRawBufferPointer, to receive: (MessageEvent) -> Void) {
        begin(receive)
        var position = 0
        while position < octets.count {
            let rest = UnsafeRawBufferPointer(rebasing: octets[position...])
            if isInHeader || !isPlainLine && (!line.isEmpty || rest[0] == UInt8(ascii: "-")) {
                position += takeLine(rest, receive)
            } else {
                position += takePlain(rest, receive)
            }
        }
    }

    /// The end of the message.
    package mutating func finish(to receive: (MessageEvent) -> Void) {
        begin(receive)
        if isInHeader ? offset > lineStart : !line.isEmpty { endLine(receive) }
        emitHeld(receive)
        lastEnd = 0
        while !stack.isEmpty { closeLast(at: offset, lines: lineCount, receive) }
    }

    private var isInHeader: Bool { stack.last?.isInHeader ?? false }

    private mutating func begin(_ receive: (MessageEvent) -> Void) {
        guard stack.isEmpty, offset == 0 else { return }
        open(at: 0, isMessage: true, isInDigest: false, receive)
    }

    private mutating func open(at start: Int, isMessage: Bool, isInDigest: Bool, _ receive: (MessageEvent) -> Void) {
        stack.append(Open(start: start, isMessage: isMessage, isInDigest: isInDigest, startLines: lineCount))
        lastEnd = 0
        receive(.partBegin(at: start, isMessage: isMessage))
    }

    // MARK: Octets

    /// Octets of a body up to the next line that begins as a delimiter does.
    private mutating func takePlain(_ rest: UnsafeRawBufferPointer, _ receive: (MessageEvent) -> Void) -> Int {
        let count = scan(rest)
        let run = UnsafeRawBufferPointer(rebasing: rest[..<count])
        emit(run, receive)
        offset += count
        isPlainLine = run.last != ASCII.lineFeed
        lineStart = offset
        return count
    }

    /// Looks at octets: how many lines they have and what is wrong with them.
    private mutating func scan(_ octets: UnsafeRawBufferPointer) -> Int {
        guard let base = octets.baseAddress, let last = stack.indices.last else { return octets.count }
        var sums = CLinux_octets()
        let count = CLinux_scan_octets(base, octets.count, lastOctet, &sums)
        lineCount += sums.line_feeds
        if sums.nul { stack[last].defects.insert(.nul) }
        if sums.line_feeds > sums.pairs { stack[0].defects.insert(.bareLineFeed) }
        // A CR at the end may belong to a LF that comes; a CR before the first octet may have been waiting for one.
        let waited = lastOctet == ASCII.carriageReturn ? 1 : 0
        if count > 0 {
            lastOctet = octets[count - 1]
            let waits = lastOctet == ASCII.carriageReturn ? 1 : 0
            if sums.returns + waited - waits > sums.pairs { stack[0].defects.insert(.bareCarriageReturn) }
        }
        stack[last].bits |= sums.bits
        return count
    }

    /// Gives octets of a body on, but for a line end behind them.
    private mutating func emit(_ run: UnsafeRawBufferPointer, _ receive: (MessageEvent) -> Void) {
        if run.count == 1, run[0] == ASCII.lineFeed, held == [ASCII.carriageReturn] {
            held.append(ASCII.lineFeed)
            return
        }
        emitHeld(receive)
        var end = run.count
        if end > 0, run[end - 1] == ASCII.lineFeed { end -= 1 }
        if end > 0, run[end - 1] == ASCII.carriageReturn { end -= 1 }
        if end > 0 { give(UnsafeRawBufferPointer(rebasing: run[..<end]), at: offset, receive) }
        held.append(contentsOf: run[end...])
    }

    private mutating func emitHeld(_ receive: (MessageEvent) -> Void) {
        guard !held.isEmpty else { return }
        let start = offset - line.count - held.count
        held.withUnsafeBytes { give($0, at: start, receive) }
        held.removeAll(keepingCapacity: true)
    }

    /// Octets of the body of the last open part, or of what lies around the parts of a multipart.
    private func give(_ octets: UnsafeRawBufferPointer, at start: Int, _ receive: (MessageEvent) -> Void) {
        guard let last = stack.indices.last, !stack[last].isInHeader else { return }
        receive(stack[last].isComposite ? .outside(at: start, octets) : .body(at: start, octets))
    }

    // MARK: Lines

    /// Octets of a line of a header, or of one that may be a delimiter.
    private mutating func takeLine(_ rest: UnsafeRawBufferPointer, _ receive: (MessageEvent) -> Void) -> Int {
        let end = rest.firstIndex(of: ASCII.lineFeed)
        let piece = UnsafeRawBufferPointer(rebasing: rest[..<(end.map { $0 + 1 } ?? rest.count)])
        guard isInHeader else { return takeCandidate(piece, receive) }
        if isTooLongForNoHeader(piece) {
            endWithoutHeader(receive)
            isPlainLine = true
            return 0
        }
        _ = scan(piece)
        // A long line is cut, but not its end.
        let room = max(Self.delimiterLimit, limits.header - header.count) - line.count
        if piece.count <= room {
            line.append(contentsOf: piece)
        } else {
            line.append(contentsOf: piece.prefix(max(0, room)))
            headerIsCut = true
        }
        offset += piece.count
        if end != nil { endLine(receive) }
        return piece.count
    }

    private mutating func takeCandidate(_ piece: UnsafeRawBufferPointer, _ receive: (MessageEvent) -> Void) -> Int {
        if line.isEmpty { lineStart = offset }
        guard line.count + piece.count <= Self.delimiterLimit else {
            flushLine(receive)
            isPlainLine = true
            return 0
        }
        _ = scan(piece)
        line.append(contentsOf: piece)
        offset += piece.count
        if piece.last == ASCII.lineFeed { endLine(receive) }
        return piece.count
    }

    /// The line was no delimiter.
    private mutating func flushLine(_ receive: (MessageEvent) -> Void) {
        emitHeld(receive)
        let flushed = line
        line.removeAll(keepingCapacity: true)
        offset -= flushed.count
        flushed.withUnsafeBytes { emit($0, receive) }
        offset += flushed.count
    }

    /// A line is there, or the rest of one at the end of the message.
    private mutating func endLine(_ receive: (MessageEvent) -> Void) {
        let hasEnd = lastOctet == ASCII.lineFeed && offset > lineStart
        let content = Self.withoutEnd(line[...])
        if !isInHeader { lastEnd = held.last == ASCII.lineFeed ? held.count : 0 }
        if atDelimiter(content, hasEnd: hasEnd, receive) {
            line.removeAll(keepingCapacity: true)
            lastEnd = 0
        } else if isInHeader {
            let isEnd = content.isEmpty && hasEnd && offset - lineStart <= 2
            let hasHeader = isHeaderLine(content)
            let length = hasEnd ? offset - lineStart - content.count : 0
            keepHeaderLine(contentCount: content.count)
            line.removeAll(keepingCapacity: line.capacity <= 4096)
            lastEnd = min(2, length)
            if !hasHeader { endWithoutHeader(receive) } else if isEnd { endHeader(receive) }
        } else {
            flushLine(receive)
        }
        lineStart = offset
        isPlainLine = false
    }

    private static func withoutEnd(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        if line.last == ASCII.lineFeed { line.removeLast() }
        if line.last == ASCII.carriageReturn { line.removeLast() }
        return line
    }

    /// Offsets within a header stay right since nothing is kept behind the first line that isn't.
    private mutating func keepHeaderLine(contentCount: Int) {
        guard let last = stack.indices.last else { return }
        if contentCount > 998 { stack[last].defects.insert(.headerLongLine) }
        let fits = header.count + line.count <= limits.header && headerOctets + line.count <= limits.headers
        if headerIsCut || !fits { stack[last].defects.insert(.headerTooLong) }
        headerIsCut = false
        guard !stack[last].defects.contains(.headerTooLong) else { return }
        header += line
        headerOctets += line.count
    }

    // MARK: No header

    /// Looks at a line of a header, or at the empty one at its end. False where by now it's clear that this is none: before
    /// the first field it has two lines that can't belong to one, or no field follows.
    private mutating func isHeaderLine(_ line: ArraySlice<UInt8>) -> Bool {
        guard let last = stack.indices.last, !stack[last].hasField else { return true }
        if Self.beginsField(line) {
            stack[last].hasField = true
        } else if line.isEmpty {
            return stack[last].strayLines == 0 || !isHeaderKept
        } else if !Self.isMailboxLine(line) {
            stack[last].strayLines += 1
            return stack[last].strayLines < 2 || !isHeaderKept
        }
        return true
    }

    /// A name of printable characters and a colon (RFC 5322 §2.2), with blanks between (§4.5).
    private static func beginsField(_ line: ArraySlice<UInt8>) -> Bool {
        let name = line.prefix(1000).prefix { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }
        return !name.isEmpty && line[name.endIndex...].prefix(1000).first { !ASCII.isBlank($0) } == UInt8(ascii: ":")
    }

    /// The line that an mbox has before a message.
    private static func isMailboxLine(_ line: ArraySlice<UInt8>) -> Bool {
        line.starts(with: "From ".utf8) || line.starts(with: ">From ".utf8)
    }

    /// Whether nothing of the header was left out because of a limit.
    private var isHeaderKept: Bool { stack.last.map { !$0.defects.contains(.headerTooLong) } ?? false }

    /// Whether a line that goes on with these octets is longer than what is kept of a header, in which no field is so far,
    /// and is none itself.
    private func isTooLongForNoHeader(_ piece: UnsafeRawBufferPointer) -> Bool {
        guard let last = stack.indices.last, !stack[last].hasField, isHeaderKept, !headerIsCut else { return false }
        let count = line.count + piece.count
        guard header.count + count > limits.header || headerOctets + count > limits.headers else { return false }
        return !Self.beginsField((line.prefix(2000) + piece.prefix(2000))[...])
    }

    /// What was taken for a header is the body: text without any header is text all the same.
    private mutating func endWithoutHeader(_ receive: (MessageEvent) -> Void) {
        let octets = header + line
        line.removeAll(keepingCapacity: true)
        takeForBody(receive)
        var end = octets.count
        if end > 0, octets[end - 1] == ASCII.lineFeed { end -= 1 }
        if end > 0, octets[end - 1] == ASCII.carriageReturn { end -= 1 }
        held = Array(octets[end...])
        octets[..<end].withUnsafeBytes { give($0, at: offset - octets.count, receive) }
    }

    /// The last open part has no header: its body begins where it begins.
    private mutating func takeForBody(_ receive: (MessageEvent) -> Void) {
        guard let last = stack.indices.last else { return }
        let bits = stack[last].bits
        headerOctets -= header.count
        header.removeAll(keepingCapacity: true)
        stack[last].defects.remove(.headerLongLine)
        stack[last].defects.insert(stack[last].isMessage ? .noHeader : .headerWithoutEnd)
        interpretHeader(at: stack[last].start, receive)
        stack[last].bits = bits
        stack[last].linesBefore = stack[last].startLines
    }

    // MARK: Delimiters

    /// Handles a delimiter line of any open multipart; false for every other line.
    private mutating func atDelimiter(
        _ content: ArraySlice<UInt8>,
        hasEnd: Bool,
        _ receive: (MessageEvent) -> Void
    ) -> Bool {
        guard content.count > 2, content.starts(with: [UInt8(ascii: "-"), UInt8(ascii: "-")]),
            content.count <= Self.delimiterLimit
        else { return false }
        for index in stack.indices.reversed() {
            guard let delimiter = stack[index].delimiter, content.starts(with: delimiter) else { continue }
            var rest = content.dropFirst(delimiter.count)
            let isLast = rest.starts(with: [UInt8(ascii: "-"), UInt8(ascii: "-")])
            if isLast { rest = rest.dropFirst(2) }
            guard rest.allSatisfy(ASCII.isBlank) else { continue }
            if !isLast, partCount >= limits.parts {
                stack[index].defects.insert(.tooManyParts)
                return false
            }
            delimit(at: index, isLast: isLast, hasEnd: hasEnd, receive)
            return true
        }
        return false
    }

    private mutating func delimit(at index: Int, isLast: Bool, hasEnd: Bool, _ receive: (MessageEvent) -> Void) {
        // The line end before the delimiter belongs to it.
        let end = lineStart - lastEnd
        held.removeAll(keepingCapacity: true)
        while stack.count > index + 1 {
            closeLast(at: end, lines: lineCount - (hasEnd ? 1 : 0) - (lastEnd > 0 ? 1 : 0), receive)
        }
        header.removeAll(keepingCapacity: true)
        headerIsCut = false
        if isLast {
            stack[index].delimiter = nil
            return
        }
        stack[index].hasPart = true
        partCount += 1
        open(at: offset, isMessage: false, isInDigest: stack[index].isDigest, receive)
    }

    // MARK: Headers

    private mutating func endHeader(_ receive: (MessageEvent) -> Void) {
        let content = interpretHeader(at: offset, receive)
        guard let last = stack.indices.last else { return }
        guard content.isMultipart || content.isMessage && content.encoding == .identity else { return }
        guard stack.count < limits.depth else {
            stack[last].defects.insert(.tooDeep)
            return
        }
        guard partCount < limits.parts else {
            stack[last].defects.insert(.tooManyParts)
            return
        }
        if content.isMessage {
            stack[last].isComposite = true
            partCount += 1
            open(at: offset, isMessage: true, isInDigest: false, receive)
        } else {
            enterMultipart(content, at: last)
        }
    }

    private mutating func enterMultipart(_ content: ContentFields, at last: Int) {
        // It ends in no blank (RFC 2046 §5.1.1), and behind delimiters they don't count.
        let plain = content.type["boundary"] ?? content.type["boundary*"].map { ExtendedParameter($0).octets }
        let boundary = ASCII.trim((plain ?? [])[...])
        guard !boundary.isEmpty else {
            stack[last].defects.insert(.noBoundary)
            return
        }
        if boundary.count > 70 { stack[last].defects.insert(.boundaryLength) }
        guard boundary.count <= Self.maximumBoundary else { return }
        let delimiter = Array("--".utf8) + boundary
        if stack.contains(where: { $0.delimiter == delimiter }) { stack[last].defects.insert(.sameBoundary) }
        stack[last].delimiter = delimiter
        stack[last].isComposite = true
        stack[last].isMultipart = true
        stack[last].isDigest = ASCII.equal(content.type.value, "multipart/digest")
    }

    /// The header of the last open part ends.
    @discardableResult
    private mutating func interpretHeader(at position: Int, _ receive: (MessageEvent) -> Void) -> ContentFields {
        guard let last = stack.indices.last else { return ContentFields() }
        let block = HeaderBlock(header, maximumFields: limits.fields)
        header.removeAll(keepingCapacity: header.capacity <= 16 * 1024)
        headerIsCut = false
        let content = ContentFields(block, isInDigest: stack[last].isInDigest)
        for field in block.fields {
            let start = stack[last].start
            receive(
                .field(
                    (start + field.whole.lowerBound)..<(start + field.whole.upperBound),
                    name: block.octets[field.name],
                    value: block.octets[field.value]
                )
            )
        }
        var defects = Defects(block, content)
        if stack[last].isMessage, !stack[last].hasField { defects.insert(.noHeader) }
        if stack[last].bits >= 0x80, String(validating: block.octets, as: UTF8.self) == nil {
            defects.insert(.headerNotUTF8)
        }
        let encoding = content.transferEncoding ?? []
        stack[last].isSevenBit = !ASCII.equal(encoding, "8bit") && !ASCII.equal(encoding, "binary")
        stack[last].defects.formUnion(defects)
        stack[last].isInHeader = false
        stack[last].bits = 0
        stack[last].bodyStart = position
        stack[last].linesBefore = lineCount
        receive(.headerEnd(at: position, block, content))
        return content
    }

    // MARK: Ends

    /// The last open part ends in its header.
    private mutating func closeHeader(at position: Int, lines: Int, _ receive: (MessageEvent) -> Void) {
        guard let last = stack.indices.last else { return }
        let start = stack[last].start
        if !stack[last].hasField, stack[last].strayLines > 0, isHeaderKept {
            let octets = header.prefix(max(0, position - start))
            takeForBody(receive)
            octets.withUnsafeBytes { give($0, at: start, receive) }
            return
        }
        if position > start { stack[last].defects.insert(.headerWithoutEnd) }
        interpretHeader(at: max(start, position), receive)
        stack[last].linesBefore = lines
    }

    private mutating func closeLast(at position: Int, lines: Int, _ receive: (MessageEvent) -> Void) {
        guard let last = stack.indices.last else { return }
        if stack[last].isInHeader {
            closeHeader(at: position, lines: lines, receive)
        }
        let open = stack.removeLast()
        var defects = open.defects
        if !open.isComposite, open.isSevenBit, open.bits >= 0x80 { defects.insert(.eightBitBody) }
        if open.isMultipart, !open.hasPart { defects.insert(.noPart) }
        if open.isMultipart, open.hasPart, open.delimiter != nil { defects.insert(.noFinalBoundary) }
        let end = max(open.bodyStart, open.floor, position)
        if let parent = stack.indices.last { stack[parent].floor = end }
        receive(.partEnd(body: open.bodyStart..<end, lines: max(0, lines - open.linesBefore), defects))
    }
}
