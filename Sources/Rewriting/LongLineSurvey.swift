import MIME
import NIOCore
import SMTP

/// What has to be changed in a message so that no line has more than 998 octets (RFC 5321 §4.5.3.1.6), of binary mail (RFC 3030)
/// so that it consists of lines at all, and for hosts without 8BITMIME so that its bodies have octets below 128 only (RFC 6152 §3).
package struct LongLineSurvey {
    /// One change.
    package struct Edit {
        package enum Change {
            /// Other octets stand there: fields that say how a body is encoded.
            case replace([UInt8])
            /// A header field is folded.
            case fold
            /// A body is encoded as quoted-printable.
            case encode
            /// A body of any octets is encoded as base64.
            case encodeBinary
            /// A body in quoted-printable gets shorter lines.
            case encodeAgain
            /// A body in base64 gets lines of 76 characters.
            case rewrap
            /// Lines get line ends with a space behind them, where nothing says what they mean.
            case breakLines
        }

        /// Octets from the start of the message.
        package let range: Range<Int>
        package let change: Change
    }

    /// Why it can't be done.
    package enum Obstacle {
        /// Within what is signed (RFC 1847 §2.1: not to be changed by anybody).
        case signed
        /// The same, of binary mail.
        case signedBinary
        /// The same, of mail with octets above 127.
        case signedEightBit
        /// A body with such octets in an encoding that isn't known.
        case eightBitEncoding(String)
        case field(String)
        case encoding(String)
        /// Behind what is looked at of a header.
        case header
        /// A delimiter, say.
        case line

        /// Whether the host's lack of 8BITMIME is the reason.
        package var isAboutEightBit: Bool {
            switch self {
            case .signedEightBit, .eightBitEncoding: true
            case .signed, .signedBinary, .field, .encoding, .header, .line: false
            }
        }

        package var text: String {
            let limit = "a line of more than \(DataEncoder.lineLimit) octets, which SMTP doesn't carry"
            switch self {
            case .signed: return "the signed part has \(limit), and to break it would break the signature"
            case .signedBinary:
                return
                    "the signed part is binary, which the host doesn't take, and to encode it would break the signature"
            case .signedEightBit:
                return
                    "the signed part has octets above 127, which the host doesn't take, and to encode it would break the signature"
            case .eightBitEncoding(let name):
                return "a part has octets above 127, which the host doesn't take, and it can't be encoded anew: \(name)"
            case .field(let name): return "the header field \(name) has \(limit), and it can't be folded"
            case .encoding(let name): return "a part has \(limit), and it can't be encoded anew: \(name)"
            case .header: return "a part with a very long header has \(limit), and it can't be folded or encoded anew"
            case .line: return "the message has \(limit), and it can't be broken"
            }
        }
    }

    /// A part whose end has not come.
    private struct Open {
        let start: Int
        let isMessage: Bool
        /// Whether it's what a signature is over, or within that.
        let isSigned: Bool
        var content = ContentFields()
        /// Parts within it so far.
        var children = 0
        /// The body's lines.
        var lines = LineLengths()
        /// What lies around its parts.
        var surroundings = LineLengths()
        var surroundingsStart: Int?
        var surroundingsEnd = 0
        var hasMIMEVersion = false
        var encodingFields: [Range<Int>] = []
        var folds: [Range<Int>] = []
        /// Where fields may be added.
        var fieldsEnd = 0
        /// Whether not even an empty line stands where the header should.
        var hasNoHeader = false
    }

    /// What is no encoding (RFC 2045 §6.2), and a field without a word.
    private static let plainEncodings: [StaticString] = ["7bit", "8bit", "binary", ""]

    private var parser = MessageParser()
    private var lines = LongLines()
    private var stack: [Open] = []
    /// What is behind the part of a header that is looked at.
    private var tails: [(range: Range<Int>, isWithin: Bool)] = []
    /// Parts that are signed.
    private var signed: [Range<Int>] = []
    private let hostname: String
    private let encodesBinary: Bool
    private let encodesEightBit: Bool
    /// Octets of a line that are allowed, without its end.
    private let limit: Int
    package private(set) var edits: [Edit] = []
    package private(set) var obstacle: Obstacle?
    /// Whether the message has a signature over header and body (DKIM, ARC).
    package private(set) var isSealed = false
    /// Whether such a signature doesn't hold any more.
    package private(set) var breaksSeal = false
    package private(set) var foldedFields = 0
    package private(set) var changedBodies = 0

    /// - Parameters:
    ///   - hostname: names us where a body was encoded.
    ///   - encodesBinary: whether the message may hold anything, where only lines may be (RFC 3030 §3).
    ///   - encodesEightBit: whether bodies may have no octets above 127.
    ///   - breaksLongLines: false for mailboxes, which take lines of any length.
    package init(
        hostname: String,
        encodesBinary: Bool = false,
        encodesEightBit: Bool = false,
        breaksLongLines: Bool = true
    ) {
        self.hostname = hostname
        self.encodesBinary = encodesBinary
        self.encodesEightBit = encodesEightBit
        limit = breaksLongLines ? DataEncoder.lineLimit : .max
    }

    package mutating func feed(_ piece: ByteBuffer) {
        var parser = parser
        self.parser = MessageParser()
        piece.withUnsafeReadableBytes { octets in
            lines.feed(octets)
            parser.feed(octets) { receive($0) }
        }
        self.parser = parser
    }

    /// The end: what is to be changed, in the message's order.
    package mutating func finish() {
        var parser = parser
        self.parser = MessageParser()
        parser.finish { receive($0) }
        lines.finish()
        sortEdits()
        changeOthers()
        sortEdits()
    }

    private mutating func sortEdits() {
        edits.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
    }

    /// Lines that no part and no field has: those behind what is looked at of a header, and delimiters.
    private mutating func changeOthers() {
        if limit == .max { return }
        var edits = edits[...]
        for line in lines.found {
            while let edit = edits.first, edit.range.upperBound <= line.range.lowerBound { edits.removeFirst() }
            if let edit = edits.first, edit.range.overlaps(line.range) { continue }
            if signed.contains(where: { $0.overlaps(line.range) }) { return block(.signed) }
            if let tail = tails.first(where: { $0.range.contains(line.range.lowerBound) }) {
                guard line.isFoldable else { return block(.header) }
                breaksSeal = breaksSeal || tail.isWithin
                foldedFields += 1
                self.edits.append(Edit(range: line.range, change: .breakLines))
            } else {
                // White space behind a boundary doesn't count (RFC 2046 §5.1.1).
                guard line.textEnd - line.range.lowerBound <= limit else { return block(.line) }
                breaksSeal = true
                self.edits.append(Edit(range: line.textEnd..<line.contentEnd, change: .replace([])))
            }
        }
    }

    private mutating func receive(_ event: MessageEvent) {
        switch event {
        case .partBegin(let start, let isMessage): begin(at: start, isMessage: isMessage)
        case .field(let range, let name, let value): field(range, name, value)
        case .headerEnd(let position, let header, let content):
            guard let last = stack.indices.last else { return }
            stack[last].content = content
            stack[last].hasNoHeader = position == stack[last].start
            let end = stack[last].start + header.octets.count
            if end < position { tails.append((end..<position, stack.count > 1)) }
            betweenFields(last, header)
        case .body(_, let octets):
            guard let last = stack.indices.last else { return }
            stack[last].lines.feed(octets)
        case .outside(let start, let octets):
            guard let last = stack.indices.last else { return }
            surroundings(last, at: start, octets)
        case .partEnd(let body, _, let defects): end(body, isHeaderCut: defects.contains(.headerTooLong))
        }
    }

    private mutating func begin(at start: Int, isMessage: Bool) {
        var isSigned = false
        if let parent = stack.indices.last {
            closeSurroundings(parent)
            // The signature is over the first part (RFC 1847 §2.1).
            let isFirst = stack[parent].children == 0
            let isMultipartSigned = ASCII.equal(stack[parent].content.type.value, "multipart/signed")
            isSigned = stack[parent].isSigned || isMultipartSigned && isFirst
            stack[parent].children += 1
        }
        var open = Open(start: start, isMessage: isMessage, isSigned: isSigned)
        open.fieldsEnd = start
        stack.append(open)
    }

    private mutating func field(_ range: Range<Int>, _ name: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) {
        guard let last = stack.indices.last else { return }
        stack[last].fieldsEnd = range.upperBound
        if ASCII.equal(name, "mime-version") { stack[last].hasMIMEVersion = true }
        if ASCII.equal(name, "content-transfer-encoding") { stack[last].encodingFields.append(range) }
        if stack.count == 1, ASCII.equal(name, "dkim-signature") || ASCII.equal(name, "arc-message-signature") {
            isSealed = true
        }
        guard range.count > limit else { return }
        let field = Array(name) + [UInt8(ascii: ":")] + Array(value)
        var lines = LineLengths()
        field.withUnsafeBytes { lines.feed($0) }
        guard lines.longest > limit else { return }
        if stack[last].isSigned { return block(.signed) }
        guard let folded = FieldFolding.fold(field) else {
            return block(.field(Self.shown(name)))
        }
        breaksSeal = breaksSeal || folded.isChanged || stack.count > 1
        foldedFields += 1
        stack[last].folds.append(range)
    }

    /// Lines of a header that are no fields' are broken: nobody knows what they mean.
    private mutating func betweenFields(_ last: Int, _ header: HeaderBlock) {
        var start = 0
        for field in header.fields.map(\.whole) + [header.octets.count..<header.octets.count] {
            let gap = start..<field.lowerBound
            start = field.upperBound
            guard gap.count > limit else { continue }
            var lines = LineLengths()
            header.octets[gap].withUnsafeBytes { lines.feed($0) }
            guard lines.longest > limit else { continue }
            if stack[last].isSigned { return block(.signed) }
            breaksSeal = true
            let begin = stack[last].start
            edits.append(Edit(range: (begin + gap.lowerBound)..<(begin + gap.upperBound), change: .breakLines))
        }
    }

    /// As the sender is told of it.
    private static func shown(_ octets: ArraySlice<UInt8>) -> String {
        String(decoding: octets.prefix(60), as: UTF8.self)
    }

    private mutating func block(_ obstacle: Obstacle) { self.obstacle = self.obstacle ?? obstacle }

    // MARK: Bodies

    /// - Parameter isHeaderCut: nobody has seen all fields that say how the body is encoded.
    private mutating func end(_ body: Range<Int>, isHeaderCut: Bool) {
        if let last = stack.indices.last { closeSurroundings(last) }
        guard let open = stack.popLast() else { return }
        defer { edits += open.folds.map { Edit(range: $0, change: .fold) } }
        if open.isSigned, stack.last?.isSigned != true { signed.append(open.start..<max(open.start, body.upperBound)) }
        if encodesBinary, encodeBinary(open, body, isHeaderCut: isHeaderCut) { return }
        if encodesEightBit, encodeEightBit(open, body, isHeaderCut: isHeaderCut) { return }
        guard open.lines.longest > limit else { return }
        if open.isSigned { return block(.signed) }
        if isHeaderCut { return block(.header) }
        breaksSeal = true
        changedBodies += 1
        let encoding = open.content.transferEncoding ?? Array("7bit".utf8)
        switch open.content.encoding {
        case .base64: edits.append(Edit(range: body, change: .rewrap))
        case .quotedPrintable: edits.append(Edit(range: body, change: .encodeAgain))
        case .uuencode, .yEnc: block(.encoding(Self.shown(encoding[...])))
        case .identity:
            guard Self.plainEncodings.contains(where: { ASCII.equal(encoding, $0) }) else {
                return block(.encoding(Self.shown(encoding[...])))
            }
            if open.content.isMultipart || ASCII.equal(open.content.mainType, "message") {
                // These types may not be encoded (RFC 2045 §6.4).
                edits.append(Edit(range: body, change: .breakLines))
            } else {
                encode(open, body, from: encoding)
            }
        }
    }

    /// Makes a part base64 whose octets are no lines; one with parts within says that they are lines now.
    ///
    /// - Returns: whether that is all that is to be done about it.
    private mutating func encodeBinary(_ open: Open, _ body: Range<Int>, isHeaderCut: Bool) -> Bool {
        let isBinary = open.content.transferEncoding.map { ASCII.equal($0, "binary") } ?? false
        let isComposite = open.content.isMultipart || ASCII.equal(open.content.mainType, "message")
        // Before an empty body the header may end without the line that ends it.
        guard !body.isEmpty,
            isComposite ? isBinary : isBinary || open.lines.isBinary && open.content.encoding == .identity
        else { return false }
        guard mayChange(open, isHeaderCut: isHeaderCut, signed: .signedBinary) else { return true }
        if isComposite {
            replaceEncoding(open, by: encodesEightBit ? "7bit" : "8bit", from: "binary")
            return false
        }
        replaceEncoding(open, by: "base64", from: isBinary ? "binary" : "8bit")
        edits.append(Edit(range: body, change: .encodeBinary))
        return true
    }

    /// Makes a part with octets above 127 quoted-printable, where it's text, or base64; one with parts within says that they have none
    /// now. What is wrong already, such as base64 with such octets, stays.
    ///
    /// - Returns: whether that is all that is to be done about it.
    private mutating func encodeEightBit(_ open: Open, _ body: Range<Int>, isHeaderCut: Bool) -> Bool {
        let label = open.content.transferEncoding ?? []
        let isComposite = open.content.isMultipart || ASCII.equal(open.content.mainType, "message")
        if isComposite {
            // Parts within a signature that are of seven bits may have any label.
            guard ASCII.equal(label, "8bit"), !body.isEmpty, !open.isSigned, !isHeaderCut else { return false }
            breaksSeal = true
            replaceEncoding(open, by: "7bit", from: "8bit")
            return false
        }
        let encoding = open.content.encoding
        guard open.lines.hasEightBit, encoding != .base64, encoding != .quotedPrintable else { return false }
        guard Self.plainEncodings.contains(where: { ASCII.equal(label, $0) }) else {
            block(.eightBitEncoding(Self.shown(label[...])))
            return true
        }
        guard mayChange(open, isHeaderCut: isHeaderCut, signed: .signedEightBit) else { return true }
        // What says 7bit, or nothing, is 8bit in truth.
        let former = ASCII.equal(label, "binary") ? "binary" : "8bit"
        let isText = open.content.isText
        replaceEncoding(open, by: isText ? "quoted-printable" : "base64", from: former)
        edits.append(Edit(range: body, change: isText ? .encode : .encodeBinary))
        return true
    }

    /// Whether a part may get another encoding; it's counted then.
    ///
    /// - Parameter signed: what is in the way where a signature is over it.
    private mutating func mayChange(_ open: Open, isHeaderCut: Bool, signed: Obstacle) -> Bool {
        if open.isSigned || isHeaderCut {
            block(open.isSigned ? signed : .header)
            return false
        }
        breaksSeal = true
        changedBodies += 1
        return true
    }

    /// Makes the part quoted-printable, and says so as sendmail and others do.
    private mutating func encode(_ open: Open, _ body: Range<Int>, from encoding: [UInt8]) {
        let former = encoding.isEmpty ? "7bit" : String(decoding: encoding.map(ASCII.lower), as: UTF8.self)
        replaceEncoding(open, by: "quoted-printable", from: former)
        edits.append(Edit(range: body, change: .encode))
    }

    private mutating func replaceEncoding(_ open: Open, by encoding: String, from former: String) {
        var fields = ""
        if open.isMessage, !open.hasMIMEVersion { fields += "MIME-Version: 1.0\r\n" }
        fields += "Content-Transfer-Encoding: \(encoding)\r\n"
        fields += "X-MIME-Autoconverted: from \(former) to \(encoding) by \(hostname)\r\n"
        if open.hasNoHeader { fields += "\r\n" }
        for range in open.encodingFields { edits.append(Edit(range: range, change: .replace([]))) }
        edits.append(Edit(range: open.fieldsEnd..<open.fieldsEnd, change: .replace(Array(fields.utf8))))
    }

    // MARK: Around parts

    private mutating func surroundings(_ last: Int, at start: Int, _ octets: UnsafeRawBufferPointer) {
        if stack[last].surroundingsStart == nil { stack[last].surroundingsStart = start }
        stack[last].surroundingsEnd = start + octets.count
        stack[last].surroundings.feed(octets)
    }

    private mutating func closeSurroundings(_ last: Int) {
        defer {
            stack[last].surroundings = LineLengths()
            stack[last].surroundingsStart = nil
        }
        guard let start = stack[last].surroundingsStart,
            stack[last].surroundings.longest > limit
        else { return }
        if stack[last].isSigned { return block(.signed) }
        breaksSeal = true
        edits.append(Edit(range: start..<stack[last].surroundingsEnd, change: .breakLines))
    }
}

/// Finds lines that are too long, whatever they belong to.
private struct LongLines {
    struct Line {
        /// With its end.
        let range: Range<Int>
        let contentEnd: Int
        /// Without white space behind it.
        let textEnd: Int
        /// Whether it has white space wherever it must be broken.
        let isFoldable: Bool
    }

    private(set) var found: [Line] = []
    private var offset = 0
    private var start = 0
    private var textEnd = 0
    private var last: UInt8 = 0
    private var breaker = LineBreaker()
    private var broken: [UInt8] = []

    mutating func feed(_ octets: UnsafeRawBufferPointer) {
        for index in octets.indices {
            let octet = octets[index]
            breaker.feed(octets[index...index], into: &broken)
            offset += 1
            if octet == ASCII.lineFeed, last == ASCII.carriageReturn {
                endLine(offset - 2)
                last = 0
                continue
            }
            // A CR counts when it turns out to end no line.
            if last == ASCII.carriageReturn { textEnd = offset - 1 }
            if octet != ASCII.carriageReturn, !ASCII.isBlank(octet) { textEnd = offset }
            last = octet
        }
        broken.removeAll(keepingCapacity: true)
    }

    mutating func finish() {
        breaker.finish(into: &broken)
        if offset > start { endLine(offset) }
    }

    private mutating func endLine(_ contentEnd: Int) {
        if contentEnd - start > DataEncoder.lineLimit {
            found.append(
                Line(
                    range: start..<offset,
                    contentEnd: contentEnd,
                    textEnd: max(start, textEnd),
                    isFoldable: !breaker.isChanged
                )
            )
        }
        start = offset
        textEnd = offset
    }
}

/// The lengths of lines as SMTP has them: only CRLF ends one (RFC 5321 §2.3.8).
package struct LineLengths {
    private var current = 0
    private var last: UInt8 = 0
    /// Octets, without the line's end.
    private(set) var longest = 0
    /// Whether there is something that lines don't have: NUL, or CR and LF that don't stand together.
    private(set) var isBinary = false
    /// Whether there are octets above 127.
    private(set) var hasEightBit = false

    mutating func feed(_ octets: UnsafeRawBufferPointer) {
        for octet in octets {
            if octet == ASCII.lineFeed, last == ASCII.carriageReturn {
                current = 0
            } else {
                if octet == 0 || octet == ASCII.lineFeed || last == ASCII.carriageReturn { isBinary = true }
                // A CR counts when it turns out to end no line.
                if last == ASCII.carriageReturn { current += 1 }
                if octet != ASCII.carriageReturn { current += 1 }
                longest = max(longest, current)
            }
            if octet > 0x7f { hasEightBit = true }
            last = octet
        }
    }

    /// Whether whole lines, or the beginning of the last one, have one that is too long. Looks at a fraction of the octets
    /// where lines are short.
    package static func areTooLong(_ octets: ByteBufferView) -> Bool {
        var start = octets.startIndex
        while octets.endIndex - start > DataEncoder.lineLimit {
            // The last line end that still ends a line in time.
            var end = min(start + DataEncoder.lineLimit + 1, octets.endIndex - 1)
            while end > start, octets[end] != ASCII.lineFeed || octets[end - 1] != ASCII.carriageReturn { end -= 1 }
            if end == start { return !isEndPending(octets, from: start) }
            start = end + 1
        }
        return false
    }

    /// Whether what is left is a line of 998 octets whose end hasn't come.
    private static func isEndPending(_ octets: ByteBufferView, from start: Int) -> Bool {
        octets.endIndex - start == DataEncoder.lineLimit + 1 && octets.last == ASCII.carriageReturn
    }
}
