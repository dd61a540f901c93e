/// A file in the midst of a text, in uuencode or yEnc.
package struct EnclosedFile: Sendable, Equatable {
    package enum Encoding: String, Sendable {
        case uuencode, yEnc
    }

    package var encoding: Encoding
    /// As the text has it: not safe as a path.
    package var name: [UInt8]
    /// Decoded.
    package var octets = 0
    package var defects: TransferDefects = []
    /// Where it is one part of a file in yEnc.
    package var part: YEncPart?
}

/// Tells text and the files within it apart, in pieces of any size; keeps one line of at most 4 KiB.
///
/// A line that begins a uuencoded file counts as one only when a line of the encoding follows.
package struct EnclosedFileReader {
    package enum Event {
        /// Text outside of files, as it came.
        case text([UInt8])
        case begin(EnclosedFile)
        case content([UInt8])
        case end(EnclosedFile)
    }

    private enum Decoder {
        case uuencode(UUDecoder)
        case yEnc(YEncDecoder)
    }

    private var lines = WholeLines()
    private var decoder: Decoder?
    private var file: EnclosedFile?
    /// A line that may begin a uuencoded file.
    private var heldBegin: [UInt8]?

    package init() {}

    /// Takes the next piece of a decoded text.
    package mutating func feed(_ octets: some Sequence<UInt8>, to receive: (Event) -> Void) {
        let done: Void? = octets.withContiguousStorageIfAvailable { run($0, receive) }
        if done == nil { Array(octets).withUnsafeBufferPointer { run($0, receive) } }
    }

    private mutating func run(_ octets: UnsafeBufferPointer<UInt8>, _ receive: (Event) -> Void) {
        var rest = octets[...]
        while !rest.isEmpty {
            if decoder == nil, heldBegin == nil, lines.isAtStart {
                let count = Self.plainLines(rest)
                if count > 0 {
                    receive(.text(Array(rest.prefix(count))))
                    rest = rest.dropFirst(count)
                    continue
                }
            }
            if let line = lines.add(&rest) { take(line, receive) }
        }
    }

    /// How many octets the whole lines have at the front that begin no file; long ones don't count.
    private static func plainLines(_ octets: Slice<UnsafeBufferPointer<UInt8>>) -> Int {
        var rest = octets
        while let first = rest.first {
            if first == UInt8(ascii: "b") || first == UInt8(ascii: "="), mayBegin(rest) { break }
            guard let end = rest.prefix(EncodedLines.limit).firstIndex(of: ASCII.lineFeed) else { break }
            rest = rest[(end + 1)...]
        }
        return octets.count - rest.count
    }

    private static func mayBegin(_ octets: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        for begin in [UUDecoder.begin, YEncDecoder.begin] {
            if octets.prefix(begin.count).elementsEqual(begin.prefix(octets.count)) { return true }
        }
        return false
    }

    /// The end of the text.
    package mutating func finish(to receive: (Event) -> Void) {
        if let line = lines.rest() { take(line, receive) }
        if let heldBegin { receive(.text(heldBegin)) }
        heldBegin = nil
        if decoder != nil { end(receive) }
        self = EnclosedFileReader()
    }

    private mutating func take(_ line: (octets: [UInt8], isStart: Bool), _ receive: (Event) -> Void) {
        if decoder != nil { return decode(line.octets, receive) }
        let content = Self.withoutEnd(line.octets)
        if let begin = heldBegin {
            heldBegin = nil
            if line.isStart, UUDecoder.isContent(content), let name = UUDecoder.name(inBegin: Self.withoutEnd(begin)) {
                start(.uuencode(UUDecoder()), EnclosedFile(encoding: .uuencode, name: name), receive)
                decode(begin, receive)
                return decode(line.octets, receive)
            }
            receive(.text(begin))
        }
        if line.isStart, UUDecoder.name(inBegin: content) != nil {
            heldBegin = line.octets
        } else if line.isStart, let name = YEncDecoder.name(inBegin: content) {
            start(.yEnc(YEncDecoder()), EnclosedFile(encoding: .yEnc, name: name), receive)
            decode(line.octets, receive)
        } else {
            receive(.text(line.octets))
        }
    }

    private mutating func start(_ decoder: Decoder, _ file: EnclosedFile, _ receive: (Event) -> Void) {
        self.decoder = decoder
        self.file = file
        receive(.begin(file))
    }

    private mutating func decode(_ line: [UInt8], _ receive: (Event) -> Void) {
        var content: [UInt8] = []
        var isOver = false
        line.withUnsafeBufferPointer { octets in
            switch decoder {
            case .uuencode(var inner):
                decoder = nil
                inner.decode(octets, into: &content)
                isOver = inner.state == .after
                decoder = .uuencode(inner)
            case .yEnc(var inner):
                decoder = nil
                inner.decode(octets, into: &content)
                isOver = inner.state == .after
                decoder = .yEnc(inner)
            case nil: return
            }
        }
        if !content.isEmpty {
            file?.octets += content.count
            receive(.content(content))
        }
        if isOver { end(receive) }
    }

    private mutating func end(_ receive: (Event) -> Void) {
        guard var file else { return }
        var rest: [UInt8] = []
        switch decoder {
        case .uuencode(var inner):
            inner.finish(into: &rest)
            file.defects = inner.defects
        case .yEnc(var inner):
            inner.finish(into: &rest)
            file.defects = inner.defects
            file.part = inner.part
        case nil: break
        }
        if !rest.isEmpty {
            file.octets += rest.count
            receive(.content(rest))
        }
        decoder = nil
        self.file = nil
        receive(.end(file))
    }

    private static func withoutEnd(_ line: [UInt8]) -> [UInt8] {
        var line = line
        if line.last == ASCII.lineFeed { line.removeLast() }
        if line.last == ASCII.carriageReturn { line.removeLast() }
        return line
    }

    /// Lines with their ends; long ones come in several pieces.
    private struct WholeLines {
        private var line: [UInt8] = []
        private var isStart = true

        /// Whether no line has begun.
        var isAtStart: Bool { line.isEmpty && isStart }

        /// Takes octets up to the line's end, or to the limit; the line where that is reached.
        mutating func add(_ octets: inout Slice<UnsafeBufferPointer<UInt8>>) -> (octets: [UInt8], isStart: Bool)? {
            let room = octets.prefix(EncodedLines.limit - line.count)
            let end = room.firstIndex(of: ASCII.lineFeed)
            let piece = end.map { octets[...$0] } ?? room
            line.append(contentsOf: piece)
            octets = octets[piece.endIndex...]
            guard end != nil || line.count >= EncodedLines.limit else { return nil }
            return take(startsNext: end != nil)
        }

        mutating func rest() -> (octets: [UInt8], isStart: Bool)? { line.isEmpty ? nil : take(startsNext: true) }

        private mutating func take(startsNext: Bool) -> (octets: [UInt8], isStart: Bool) {
            defer {
                line.removeAll(keepingCapacity: true)
                isStart = startsNext
            }
            return (line, isStart)
        }
    }
}
