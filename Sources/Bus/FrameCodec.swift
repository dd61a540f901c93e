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
            guard let head = try readHead(from: &buffer) else { return nil }
            pending = try parseHead(head)
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

    /// The head with its last line's end, without the empty line.
    private mutating func readHead(from buffer: inout ByteBuffer) throws(FrameError) -> ByteBufferView? {
        let view = buffer.readableBytesView
        var position = view.startIndex + min(searched, view.count)
        while let end = view[position...].firstIndex(of: UInt8(ascii: "\n")) {
            let next = end + 1
            // The empty line: this LF directly behind another one, or with a CR between them.
            let before = end - 1
            let isEmpty =
                before >= view.startIndex
                && (view[before] == UInt8(ascii: "\n")
                    || (view[before] == UInt8(ascii: "\r") && before - 1 >= view.startIndex
                        && view[before - 1] == UInt8(ascii: "\n")))
            if isEmpty {
                let head = view[view.startIndex..<next]
                guard head.count <= limits.head else { throw .headTooLong }
                buffer.moveReaderIndex(forwardBy: head.count)
                searched = 0
                return head
            }
            position = next
        }
        searched = position - view.startIndex
        guard view.count <= limits.head else { throw .headTooLong }
        return nil
    }

    /// The size is -1 where the frame has no body.
    private func parseHead(_ head: ByteBufferView) throws(FrameError) -> (Frame, Int) {
        var lines = head.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true).makeIterator()
        guard let first = lines.next(), let verb = Self.verb(first) else { throw .malformedVerb }
        var frame = Frame(verb)
        var size = -1
        while let line = lines.next() {
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if line.isEmpty { break }
            guard frame.fields.count < limits.fields else { throw .tooManyFields }
            guard let field = Self.field(line) else { throw .malformedField }
            guard field.name == "size" else {
                frame.fields.append(field)
                continue
            }
            guard size < 0, let count = Int(field.value), count >= 0 else { throw .malformedSize }
            guard count <= limits.body else { throw .bodyTooLong }
            size = count
        }
        return (frame, size)
    }

    private static func verb(_ line: ByteBufferView) -> String? {
        let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        let isVerb = line.allSatisfy { octet in
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(octet)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
                || octet == UInt8(ascii: "-")
        }
        return isVerb && (1...32).contains(line.count) ? String(decoding: line, as: UTF8.self) : nil
    }

    private static func field(_ line: ByteBufferView) -> Frame.Field? {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let name = line[line.startIndex..<colon]
        let isName = name.allSatisfy { octet in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octet)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
                || octet == UInt8(ascii: "-")
        }
        guard isName, (1...64).contains(name.count) else { return nil }
        var value = line[(colon + 1)...]
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        guard let decoded = decodeValue(value) else { return nil }
        return Frame.Field(String(decoding: name, as: UTF8.self), decoded)
    }

    private static func decodeValue(_ value: ByteBufferView) -> String? {
        guard value.contains(UInt8(ascii: "%")) else { return String(decoding: value, as: UTF8.self) }
        return PercentCoding.decode(value).map { String(decoding: $0, as: UTF8.self) }
    }
}
