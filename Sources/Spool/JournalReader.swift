import Files
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// Reads the records of one segment. What can't be read is an error, never the journal's end: that an acknowledged
/// message is not there must not look like its never having been.
struct JournalReader {
    let segment: JournalSegment
    /// Its number among the journal's files.
    let number: Int
    let header: JournalSegment.Header

    /// What is read at once. Octets; larger buffers are given back to the kernel, and faulted in again, each time.
    private static let window = 1 << 18

    /// Gives every record to the closure, up to the first that is torn.
    ///
    /// - Returns: where the last whole record ends.
    /// - Throws: `corrupt` where a record is bad that had been synced; `failed`.
    @discardableResult
    func read(_ body: (JournalRecord.Found) throws(SpoolError) -> Void) throws(SpoolError) -> Int {
        var end = JournalSegment.start
        var window = ByteBuffer()
        var offset = end
        while true {
            while var record = JournalRecord.next(from: &window, of: header) {
                record.offset = end
                try body(record)
                end += record.length
            }
            // A record is taken once it's whole in the window; none is larger than a segment.
            let length = window.getInteger(at: window.readerIndex, as: UInt32.self).map { Int($0) } ?? 0
            let missing = max(header.format.header + length - window.readableBytes, 0)
            if length > segment.size || missing == 0 && window.readableBytes >= header.format.header { break }
            let more = try octets(at: offset, maximum: max(Self.window, missing))
            if more.readableBytes == 0 { break }
            offset += more.readableBytes
            window.discardReadBytes()
            window.writeImmutableBuffer(more)
        }
        try lookBehind(end)
        return end
    }

    private func octets(at offset: Int, maximum: Int) throws(SpoolError) -> ByteBuffer {
        let count = min(maximum, max(0, segment.size - offset))
        do throws(FileError) {
            return try segment.disk.read(count, from: segment.file, at: offset)
        } catch {
            throw SpoolError(error)
        }
    }

    /// A record that is bad because it was being written when the power failed belongs to the last batch. One that was
    /// written later tells by where its batch begins that the bad one had been synced.
    private func lookBehind(_ end: Int) throws(SpoolError) {
        guard header.format != .first else { return }
        var offset = end + 1
        var window = ByteBuffer()
        while offset < segment.size {
            let more = try octets(at: offset + window.readableBytes, maximum: Self.window)
            window.writeImmutableBuffer(more)
            guard window.readableBytes > header.format.header else { return }
            let isLast = more.readableBytes == 0
            try search(&window, at: &offset, end: end, isLast: isLast)
            if isLast { return }
        }
    }

    /// Where a record may begin, by its generation in octets 8 to 15: how many octets there is none in, at least.
    private static func find(_ generation: UInt64, in octets: UnsafeRawBufferPointer) -> Int {
        let last = withUnsafeBytes(of: generation) { $0[7] }
        var index = 0
        while index + 16 <= octets.count {
            guard let base = octets.baseAddress,
                let found = memchr(base + index + 15, CInt(last), octets.count - index - 15)
            else { break }
            index = UnsafeRawPointer(found) - base - 15
            if octets.loadUnaligned(fromByteOffset: index + 8, as: UInt64.self) == generation { return index }
            index += 1
        }
        return max(0, octets.count - 15)
    }

    /// Goes through a window as far as whole records can be told from it.
    private func search(
        _ window: inout ByteBuffer,
        at offset: inout Int,
        end: Int,
        isLast: Bool
    ) throws(SpoolError) {
        while window.readableBytes > header.format.header {
            let skipped = window.withUnsafeReadableBytes { Self.find(header.generation.bigEndian, in: $0) }
            window.moveReaderIndex(forwardBy: skipped)
            offset += skipped
            guard window.readableBytes > header.format.header else { break }
            let length = window.getInteger(at: window.readerIndex, as: UInt32.self).map { Int($0) } ?? 0
            let whole = header.format.header + length
            if length > 0, offset + whole <= segment.size {
                // The rest of it is still to be read.
                if window.readableBytes < whole, !isLast { break }
                var copy = window
                let record = JournalRecord.next(from: &copy, of: header)
                if let record, record.batchStart > end {
                    throw .corrupt(
                        "journal/\(number) has a bad record at octet \(end), and a good one at octet \(offset)"
                    )
                }
            }
            window.moveReaderIndex(forwardBy: 1)
            offset += 1
        }
        window.discardReadBytes()
    }
}
