/// How far a file has come that stands between two lines of a text.
enum EnclosedFileState { case before, inside, after }

/// Decodes a file between its begin and its end line, as uuencode and yEnc have it.
protocol EnclosedFileDecoder: Sendable {
    var state: EnclosedFileState { get set }
    var lines: EncodedLines { get set }
    var defects: TransferDefects { get set }

    /// Takes in a line, or a piece of a long one.
    mutating func take(_ line: [UInt8], into output: inout [UInt8])
}

extension EnclosedFileDecoder {
    /// Decodes the next piece and appends what it means.
    mutating func decode(_ input: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        var rest = input[...]
        while !rest.isEmpty {
            if let line = lines.next(&rest) { take(line, into: &output) }
        }
    }

    /// The end of the octets.
    mutating func finish(into output: inout [UInt8]) {
        if let line = lines.last() { take(line, into: &output) }
        if state == .before { defects.insert(.noBegin) } else if state == .inside { defects.insert(.noEnd) }
    }
}

/// Lines of an encoding that is read by lines; what is longer than the limit comes in several pieces.
struct EncodedLines: Sendable {
    private var line: [UInt8] = []
    /// Whether the line goes on that the former piece began.
    private(set) var isContinued = false
    private var willContinue = false

    static let limit = 4096

    /// The next line without its end, taken from the front of the octets; nil when it isn't complete.
    mutating func next(_ octets: inout Slice<UnsafeBufferPointer<UInt8>>) -> [UInt8]? {
        let room = octets.prefix(Self.limit - line.count)
        if let end = room.firstIndex(of: ASCII.lineFeed) {
            line.append(contentsOf: octets[..<end])
            octets = octets[(end + 1)...]
            if line.last == ASCII.carriageReturn { line.removeLast() }
            return take(willContinue: false)
        }
        line.append(contentsOf: room)
        octets = octets[room.endIndex...]
        return line.count == Self.limit ? take(willContinue: true) : nil
    }

    /// The line that has no end; nil when there is none.
    mutating func last() -> [UInt8]? {
        if line.last == ASCII.carriageReturn { line.removeLast() }
        return line.isEmpty ? nil : take(willContinue: false)
    }

    private mutating func take(willContinue: Bool) -> [UInt8] {
        isContinued = self.willContinue
        self.willContinue = willContinue
        defer { line.removeAll(keepingCapacity: true) }
        return line
    }
}
