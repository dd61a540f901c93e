import Encodings
import MIME
import SMTP

/// Makes the changes that a `LongLineSurvey` found to be needed, while the message goes by. It keeps one header field at a
/// time.
package struct LongLineRewriter {
    /// The change that is being made.
    private enum Work {
        case none
        case fold([UInt8])
        case encode(QuotedPrintableEncoder)
        case encodeBinary(Base64Encoder)
        case encodeAgain(TransferDecoder, QuotedPrintableEncoder)
        case rewrap(column: Int)
        case breakLines(LineBreaker)
    }

    private var edits: ArraySlice<LongLineSurvey.Edit>
    private var offset = 0
    /// The first of the edits has begun.
    private var isWithin = false
    private var work = Work.none

    /// - Parameter edits: in the message's order; none overlaps another.
    package init(_ edits: [LongLineSurvey.Edit]) { self.edits = edits[...] }

    /// Takes the next octets and appends what stands in their place.
    package mutating func feed(_ octets: UnsafeRawBufferPointer, into output: inout [UInt8]) {
        var rest = octets[...]
        while let edit = edits.first {
            // Whoever finds edits that overlap has the first of them.
            if !isWithin, offset > edit.range.lowerBound {
                edits.removeFirst()
                continue
            }
            if offset < edit.range.lowerBound {
                guard !rest.isEmpty else { return }
                let piece = rest.prefix(edit.range.lowerBound - offset)
                output.append(contentsOf: piece)
                rest = rest.dropFirst(piece.count)
                offset += piece.count
                continue
            }
            guard !rest.isEmpty || edit.range.isEmpty else { return }
            if !isWithin { begin(edit.change, into: &output) }
            isWithin = true
            let piece = rest.prefix(edit.range.upperBound - offset)
            advance(piece, into: &output)
            rest = rest.dropFirst(piece.count)
            offset += piece.count
            guard offset == edit.range.upperBound else { return }
            end(into: &output)
            isWithin = false
            edits.removeFirst()
        }
        output.append(contentsOf: rest)
        offset += rest.count
    }

    /// The end of the message: what stands behind its last octet.
    package mutating func finish(into output: inout [UInt8]) {
        feed(UnsafeRawBufferPointer(start: nil, count: 0), into: &output)
    }

    private mutating func begin(_ change: LongLineSurvey.Edit.Change, into output: inout [UInt8]) {
        switch change {
        case .replace(let octets): output += octets
        case .fold: work = .fold([])
        case .encode: work = .encode(QuotedPrintableEncoder())
        case .encodeBinary: work = .encodeBinary(Base64Encoder())
        case .encodeAgain: work = .encodeAgain(TransferDecoder(.quotedPrintable), QuotedPrintableEncoder())
        case .rewrap: work = .rewrap(column: 0)
        case .breakLines: work = .breakLines(LineBreaker())
        }
    }

    private mutating func advance(_ piece: Slice<UnsafeRawBufferPointer>, into output: inout [UInt8]) {
        switch work {
        case .none: break
        case .fold(let field): work = .fold(field + piece)
        case .encode(var encoder):
            encoder.encode(piece, into: &output)
            work = .encode(encoder)
        case .encodeBinary(var encoder):
            encoder.encode(piece, into: &output)
            work = .encodeBinary(encoder)
        case .encodeAgain(var decoder, var encoder):
            var text: [UInt8] = []
            decoder.decode(piece, into: &text)
            encoder.encode(text, into: &output)
            work = .encodeAgain(decoder, encoder)
        case .rewrap(var column):
            for octet in piece where !ASCII.isWhitespace(octet) {
                output.append(octet)
                column += 1
                if column == Self.base64Line {
                    output += [ASCII.carriageReturn, ASCII.lineFeed]
                    column = 0
                }
            }
            work = .rewrap(column: column)
        case .breakLines(var breaker):
            breaker.feed(piece, into: &output)
            work = .breakLines(breaker)
        }
    }

    private static let base64Line = 76

    private mutating func end(into output: inout [UInt8]) {
        switch work {
        case .none: break
        case .fold(let field): output += FieldFolding.fold(field)?.octets ?? field
        case .encode(var encoder): encoder.finish(into: &output)
        case .encodeBinary(var encoder): encoder.finish(into: &output)
        case .encodeAgain(var decoder, var encoder):
            var text: [UInt8] = []
            decoder.finish(into: &text)
            encoder.encode(text, into: &output)
            encoder.finish(into: &output)
        case .rewrap(let column):
            if column > 0 { output += [ASCII.carriageReturn, ASCII.lineFeed] }
        case .breakLines(var breaker): breaker.finish(into: &output)
        }
        work = .none
    }
}

/// Breaks lines that are too long: before white space where there is some, else with a space put in.
struct LineBreaker {
    private var line: [UInt8] = []
    /// Whether the beginning of this line went out as one of its own.
    private var isCut = false
    /// Whether a space was put into this line.
    private(set) var isChanged = false

    mutating func feed(_ octets: Slice<UnsafeRawBufferPointer>, into output: inout [UInt8]) {
        for octet in octets {
            if !isCut, line.isEmpty { isChanged = false }
            line.append(octet)
            if octet == ASCII.lineFeed, line.dropLast().last == ASCII.carriageReturn {
                endLine(line.dropLast(2), into: &output)
            } else if line.count > DataEncoder.lineLimit + 1 {
                cut(into: &output)
            }
        }
    }

    mutating func finish(into output: inout [UInt8]) {
        if line.count > DataEncoder.lineLimit { cut(into: &output) }
        endLine(line[...], into: &output)
    }

    /// White space behind the last word would be a line of its own, which a header may not have (RFC 5322 §3.2.2).
    private mutating func endLine(_ content: ArraySlice<UInt8>, into output: inout [UInt8]) {
        if !isCut || !content.allSatisfy(ASCII.isBlank) { output += line }
        line.removeAll(keepingCapacity: true)
        isCut = false
    }

    private mutating func cut(into output: inout [UInt8]) {
        let room = line.prefix(DataEncoder.lineLimit)
        let blank = room.lastIndex(where: ASCII.isBlank) ?? 0
        let isFolded = room[..<blank].contains { !ASCII.isBlank($0) }
        let end = isFolded ? blank : DataEncoder.lineLimit - 1
        output += line[..<end]
        output += [ASCII.carriageReturn, ASCII.lineFeed]
        line.removeFirst(end)
        isCut = true
        guard !isFolded else { return }
        line.insert(ASCII.space, at: 0)
        isChanged = true
    }
}
