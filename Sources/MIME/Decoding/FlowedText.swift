/// Undoes the flowing of text/plain with format=flowed (RFC 3676 §4), in pieces of any size: lines of one paragraph are
/// joined, stuffed spaces taken away, and quoted paragraphs begin with their marks and a space. Keeps some octets only.
package struct FlowedText: Sendable {
    private enum Place {
        /// Within the marks at a line's start.
        case quote(depth: Int)
        /// Behind them, and the space that may be stuffed there.
        case start(depth: Int)
        case content(depth: Int)
    }

    private let deletesSpaces: Bool
    private var place = Place.quote(depth: 0)
    /// The depth of the paragraph whose last line was soft; nil where none is open.
    private var open: Int?
    /// What may become the separator of a signature.
    private var head: [UInt8] = []
    private var hasSpace = false
    private var hasReturn = false

    /// Deeper quotes are shown no deeper.
    private static let depthLimit = 100
    private static let separator = Array("-- ".utf8)

    /// - Parameter deletesSpaces: whether the space at the end of a soft line isn't part of the text (`DelSp=yes`).
    package init(deletesSpaces: Bool) { self.deletesSpaces = deletesSpaces }

    /// For a part that says so in its type; nil for all others.
    package init?(_ type: ParameterizedValue) {
        guard ASCII.equal(type.value, "text/plain"), let format = type["format"], ASCII.equal(format, "flowed") else {
            return nil
        }
        self.init(deletesSpaces: type["delsp"].map { ASCII.equal($0, "yes") } ?? false)
    }

    /// Takes the next piece and appends text whose lines end in LF.
    package mutating func feed(_ octets: some Sequence<UInt8>, into text: inout [UInt8]) {
        let done: Void? = octets.withContiguousStorageIfAvailable { run($0, into: &text) }
        if done == nil { Array(octets).withUnsafeBufferPointer { run($0, into: &text) } }
    }

    /// Words are taken together.
    private mutating func run(_ octets: UnsafeBufferPointer<UInt8>, into text: inout [UInt8]) {
        var position = 0
        while position < octets.count {
            if case .content = place, !hasReturn {
                let start = position
                while position < octets.count, Self.isOrdinary(octets[position]) { position += 1 }
                if position > start {
                    if hasSpace { text.append(ASCII.space) }
                    hasSpace = false
                    text.append(contentsOf: octets[start..<position])
                }
                guard position < octets.count else { return }
            }
            take(octets[position], into: &text)
            position += 1
        }
    }

    private static func isOrdinary(_ octet: UInt8) -> Bool {
        octet != ASCII.space && octet != ASCII.carriageReturn && octet != ASCII.lineFeed
    }

    /// The end; a last line without an end has none in the text either.
    package mutating func finish(into text: inout [UInt8]) {
        if case .quote(let depth) = place, depth > 0 { begin(depth, into: &text) }
        flushHead(into: &text)
        if hasReturn { put(ASCII.carriageReturn, into: &text) }
        if hasSpace { text.append(ASCII.space) }
        if open != nil, case .quote(0) = place { text.append(ASCII.lineFeed) }
        self = FlowedText(deletesSpaces: deletesSpaces)
    }

    private mutating func take(_ octet: UInt8, into text: inout [UInt8]) {
        if octet == ASCII.lineFeed { return endLine(into: &text) }
        if hasReturn {
            hasReturn = false
            content(ASCII.carriageReturn, into: &text)
        }
        if octet == ASCII.carriageReturn {
            hasReturn = true
        } else {
            content(octet, into: &text)
        }
    }

    private mutating func content(_ octet: UInt8, into text: inout [UInt8]) {
        switch place {
        case .quote(let depth):
            if octet == UInt8(ascii: ">") {
                place = .quote(depth: min(depth + 1, Self.depthLimit))
            } else if octet == ASCII.space {
                place = .start(depth: depth)
            } else {
                place = .start(depth: depth)
                start(octet, depth, into: &text)
            }
        case .start(let depth): start(octet, depth, into: &text)
        case .content: put(octet, into: &text)
        }
    }

    private mutating func start(_ octet: UInt8, _ depth: Int, into text: inout [UInt8]) {
        let held = head + [octet]
        if Self.separator.starts(with: held) {
            head = held
        } else {
            flushHead(into: &text)
            if case .start = place { begin(depth, into: &text) }
            put(octet, into: &text)
        }
    }

    /// The line is no separator: what was held is content.
    private mutating func flushHead(into text: inout [UInt8]) {
        guard case .start(let depth) = place, !head.isEmpty else { return }
        let held = head
        head = []
        begin(depth, into: &text)
        for octet in held { put(octet, into: &text) }
    }

    /// The line's content begins: it goes on with the open paragraph, or begins another.
    private mutating func begin(_ depth: Int, into text: inout [UInt8]) {
        place = .content(depth: depth)
        if let open {
            if open == depth { return }
            text.append(ASCII.lineFeed)
        }
        open = nil
        text += [UInt8](repeating: UInt8(ascii: ">"), count: depth)
        if depth > 0 { text.append(ASCII.space) }
    }

    private mutating func put(_ octet: UInt8, into text: inout [UInt8]) {
        if hasSpace { text.append(ASCII.space) }
        hasSpace = octet == ASCII.space
        if !hasSpace { text.append(octet) }
    }

    private mutating func endLine(into text: inout [UInt8]) {
        hasReturn = false
        let isSeparator = head == Self.separator
        var depth = 0
        switch place {
        case .quote(let found), .start(let found):
            depth = found
            if isSeparator {
                // It ends the paragraph before it (§4.3).
                if open != nil { text.append(ASCII.lineFeed) }
                open = nil
                head = []
                begin(depth, into: &text)
                text += Self.separator
            } else if head.isEmpty {
                begin(depth, into: &text)
            } else {
                flushHead(into: &text)
            }
        case .content(let found): depth = found
        }
        if hasSpace, !isSeparator {
            if !deletesSpaces { text.append(ASCII.space) }
            open = depth
        } else {
            text.append(ASCII.lineFeed)
            open = nil
        }
        hasSpace = false
        place = .quote(depth: 0)
    }
}
