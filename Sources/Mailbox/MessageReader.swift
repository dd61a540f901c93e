import NIOCore

/// Reads one message with CRLF line ends, from any offset. The file may be renamed or removed meanwhile.
///
/// A file that has CRLF throughout is read as it is. Otherwise lines are given their CRLF on the way, which is made for
/// reading forward: going back starts again at the message's first octet. One call at a time.
package final class MessageReader: @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private static let chunk = 64 * 1024

    /// Octets of the message with CRLF line ends.
    package let octets: Int

    private let file: OpenFile
    private let start: Int
    private let length: Int
    /// Nil where the octets on disk are those of the message.
    private let decoding: LineNormaliser?

    private var normaliser: LineNormaliser
    private var consumed = 0
    /// Decoded octets, the first of which is at `outputOffset` of the message.
    private var output: [UInt8] = []
    private var outputOffset = 0

    /// - Parameters:
    ///   - range: of the file.
    ///   - octets: with CRLF line ends; nil to count them.
    init(
        _ file: OpenFile,
        range: Range<Int>,
        octets: Int?,
        unquotes: Bool = false
    ) throws(MailboxError) {
        self.file = file
        start = range.lowerBound
        length = range.count
        normaliser = LineNormaliser(unquotes: unquotes)
        let known: Int
        if let octets { known = octets } else { known = try Self.count(file, range: range, unquotes: unquotes) }
        self.octets = known
        decoding = known == range.count && !unquotes ? nil : normaliser
    }

    /// The descriptor and range to send from directly; nil where lines must be given their CRLF.
    package var direct: (file: OpenFile, range: Range<Int>)? {
        decoding == nil ? (file, start..<(start + length)) : nil
    }

    /// Reads up to `count` octets from an offset: fewer only at the end.
    package func read(at offset: Int, count: Int) throws(MailboxError) -> ByteBuffer {
        guard offset >= 0, offset < octets, count > 0 else { return ByteBuffer() }
        let count = min(count, octets - offset)
        guard decoding != nil else { return try readDirectly(at: offset, count: count) }
        return try readDecoded(at: offset, count: count)
    }

    private func readDirectly(at offset: Int, count: Int) throws(MailboxError) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        var failure: MailboxError?
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { memory in
            do throws(MailboxError) {
                return try file.read(
                    into: UnsafeMutableRawBufferPointer(rebasing: memory[..<count]),
                    at: start + offset
                )
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        return buffer
    }

    private func readDecoded(at offset: Int, count: Int) throws(MailboxError) -> ByteBuffer {
        if offset < outputOffset { rewind() }
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        var position = offset
        let end = offset + count
        while position < end {
            let available = outputOffset + output.count
            if position < available {
                let slice = output[(position - outputOffset)..<(min(end, available) - outputOffset)]
                buffer.writeBytes(slice)
                position += slice.count
            } else if try !decodeNext() {
                break
            }
        }
        return buffer
    }

    private func rewind() {
        if let decoding { normaliser = decoding }
        consumed = 0
        output = []
        outputOffset = 0
    }

    /// Replaces `output` by what the next chunk of the file becomes; false at the end.
    private func decodeNext() throws(MailboxError) -> Bool {
        guard consumed < length else { return false }
        let raw = try file.read(min(Self.chunk, length - consumed), at: start + consumed)
        guard !raw.isEmpty else { return false }
        consumed += raw.count
        outputOffset += output.count
        output.removeAll(keepingCapacity: true)
        normaliser.feed(raw[...], into: &output)
        if consumed >= length { normaliser.finish(into: &output) }
        return true
    }

    /// Counts the octets that a range has with CRLF line ends.
    static func count(_ file: OpenFile, range: Range<Int>, unquotes: Bool) throws(MailboxError) -> Int {
        var normaliser = LineNormaliser(unquotes: unquotes)
        var output: [UInt8] = []
        var total = 0
        var offset = range.lowerBound
        while offset < range.upperBound {
            let raw = try file.read(min(chunk, range.upperBound - offset), at: offset)
            if raw.isEmpty { break }
            offset += raw.count
            output.removeAll(keepingCapacity: true)
            normaliser.feed(raw[...], into: &output)
            total += output.count
        }
        output.removeAll(keepingCapacity: true)
        normaliser.finish(into: &output)
        return total + output.count
    }
}
