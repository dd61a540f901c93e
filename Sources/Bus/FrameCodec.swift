import Encodings
import NIOCore

extension ByteBuffer {
    /// Appends a frame.
    package mutating func writeFrame(_ frame: Frame) {
        writeFrameHead(frame)
        if let body = frame.body { writeImmutableBuffer(body) }
    }

    /// Appends a frame up to its body, which must follow.
    mutating func writeFrameHead(_ frame: Frame) {
        writeString(frame.verb)
        writeInteger(UInt8(ascii: "\n"))
        for field in frame.fields {
            writeString(field.name)
            writeStaticString(": ")
            writePercentCoded(field.value)
            writeInteger(UInt8(ascii: "\n"))
        }
        if let body = frame.body {
            writeStaticString("size: ")
            writeString(String(body.readableBytes))
            writeStaticString("\n\n")
        } else {
            writeInteger(UInt8(ascii: "\n"))
        }
    }
}

/// Parses frames from a growing buffer.
package struct FrameParser: Sendable {
    private var limits: FrameLimits
    /// A head that was read and whose body is not complete yet.
    private var pending: (frame: Frame, size: Int)?
    /// Octets of the head that were searched for its end already.
    private var searched = 0

    package init(limits: FrameLimits = FrameLimits()) { self.limits = limits }

    /// The next frame, or nil where more octets are needed; the buffer keeps what belongs to later frames.
    package mutating func next(from buffer: inout ByteBuffer) throws(FrameError) -> Frame? {
        if pending == nil {
            guard let length = try findHead(in: buffer.readableBytesUInt8Span) else { return nil }
            pending = try parse(buffer.readableBytesUInt8Span.extracting(first: length))
            buffer.moveReaderIndex(forwardBy: length)
        }
        guard let (frame, size) = pending else { return nil }
        if size < 0 {
            pending = nil
            return frame
        }
        guard let body = buffer.readSlice(length: size) else { return nil }
        pending = nil
        var whole = frame
        whole.body = body
        return whole
    }

    /// How many octets the head has, with the empty line; nil where its end has not arrived.
    private mutating func findHead(in octets: Span<UInt8>) throws(FrameError) -> Int? {
        var position = min(searched, octets.count)
        while position < octets.count {
            if octets[position] == .lineFeed, Self.isEmptyLine(endingAt: position, octets) {
                guard position < limits.head else { throw .headTooLong }
                searched = 0
                return position + 1
            }
            position += 1
        }
        searched = position
        guard octets.count <= limits.head else { throw .headTooLong }
        return nil
    }

    /// Whether this LF is directly behind another one, or with a CR between them.
    private static func isEmptyLine(endingAt position: Int, _ octets: Span<UInt8>) -> Bool {
        guard position >= 1 else { return false }
        if octets[position - 1] == .lineFeed { return true }
        return position >= 2 && octets[position - 1] == .carriageReturn && octets[position - 2] == .lineFeed
    }

    /// The size is -1 where the frame has no body.
    ///
    /// - Parameter head: lines that all have their ends, the empty one last.
    private func parse(_ head: Span<UInt8>) throws(FrameError) -> (Frame, Int) {
        var verb: String?
        var fields: [Frame.Field] = []
        var size = -1
        var start = 0
        for position in head.indices where head[position] == .lineFeed {
            let end = position > start && head[position - 1] == .carriageReturn ? position - 1 : position
            let line = head.extracting(start..<end)
            start = position + 1
            guard verb != nil else {
                // Empty lines in front of a frame are passed over.
                if end == position, line.isEmpty { continue }
                verb = Self.verb(line)
                if verb == nil { throw .malformedVerb }
                continue
            }
            if line.isEmpty { continue }
            guard fields.count < limits.fields else { throw .tooManyFields }
            guard let field = Self.field(line) else { throw .malformedField }
            guard field.name == "size" else {
                fields.append(field)
                continue
            }
            guard size < 0, let count = Int(field.value), count >= 0 else { throw .malformedSize }
            guard count <= limits.body else { throw .bodyTooLong }
            size = count
        }
        guard let verb else { throw .malformedVerb }
        return (Frame(verb, fields), size)
    }

    private static func verb(_ line: Span<UInt8>) -> String? {
        guard (1...32).contains(line.count) else { return nil }
        for index in line.indices {
            switch line[index] {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): break
            default: return nil
            }
        }
        return text(line)
    }

    private static func field(_ line: Span<UInt8>) -> Frame.Field? {
        var colon = 0
        search: while true {
            guard colon < line.count else { return nil }
            switch line[colon] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                colon += 1
            case UInt8(ascii: ":"): break search
            default: return nil
            }
        }
        guard (1...64).contains(colon) else { return nil }
        var start = colon + 1
        if start < line.count, line[start] == UInt8(ascii: " ") { start += 1 }
        let value = line.extracting(droppingFirst: start)
        var isCoded = false
        for index in value.indices where value[index] == UInt8(ascii: "%") { isCoded = true }
        guard let decoded = isCoded ? decode(value) : text(value) else { return nil }
        return Frame.Field(text(line.extracting(first: colon)), decoded)
    }

    private static func decode(_ value: Span<UInt8>) -> String? {
        value.withUnsafeBufferPointer { PercentCoding.decode($0) }.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func text(_ octets: Span<UInt8>) -> String {
        octets.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }
}

extension UInt8 {
    fileprivate static let lineFeed = UInt8(ascii: "\n")
    fileprivate static let carriageReturn = UInt8(ascii: "\r")
}
