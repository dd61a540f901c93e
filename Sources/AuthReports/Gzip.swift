import CZlib

/// Why octets could not be unpacked.
package enum GzipError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not gzip or ZIP, or damaged.
    case malformed
    /// More octets than the caller takes.
    case tooLong

    package var description: String {
        switch self {
        case .malformed: "the gzip or ZIP file is damaged, or of a kind that isn't read"
        case .tooLong: "more octets than are unpacked"
        }
    }
}

/// Compressed reports: gzip (RFC 1952), and ZIP as some senders still use it.
package enum Gzip {
    private static let chunk = 65_536

    /// zlib's state points back at the stream, which therefore must stay where it is.
    private static func newStream() -> UnsafeMutablePointer<z_stream> {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        return stream
    }

    /// A gzip file of the octets; nil only without memory.
    package static func compress(_ octets: [UInt8]) -> [UInt8]? {
        let stream = newStream()
        defer { stream.deallocate() }
        let size = CInt(MemoryLayout<z_stream>.size)
        // 16 more than the window's bits asks for gzip's header.
        guard deflateInit2_(stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, size) == Z_OK else {
            return nil
        }
        defer { deflateEnd(stream) }
        var result: [UInt8] = []
        var input = octets
        return input.withUnsafeMutableBufferPointer { input -> [UInt8]? in
            stream.pointee.next_in = input.baseAddress
            var left = input.count
            var status = Z_OK
            while status == Z_OK {
                if stream.pointee.avail_in == 0 {
                    stream.pointee.avail_in = UInt32(clamping: min(left, 1 << 30))
                    left -= Int(stream.pointee.avail_in)
                }
                status = step(stream, &result, most: .max) { deflate($0, left == 0 ? Z_FINISH : Z_NO_FLUSH) }
            }
            return status == Z_STREAM_END ? result : nil
        }
    }

    /// What a gzip file holds, or the report in a ZIP archive; octets that are neither, as they are.
    ///
    /// - Parameter most: the most octets to unpack.
    package static func unpacked(_ octets: [UInt8], most: Int) throws(GzipError) -> [UInt8] {
        var left = most
        return try unpacked(octets, left: &left)
    }

    /// The same for one of several that share what may be unpacked.
    ///
    /// - Parameter left: the most octets to unpack; those that were are taken off, also where it fails.
    static func unpacked(_ octets: [UInt8], left: inout Int) throws(GzipError) -> [UInt8] {
        if octets.starts(with: [0x1F, 0x8B]) { return try inflated(octets[...], windowBits: 15 + 16, left: &left) }
        if ZIPArchive.isOne(octets[...]) { return try report(in: ZIPArchive(octets), octets, left: &left) }
        return try taken(octets[...], left: &left)
    }

    /// Octets that are as they are.
    private static func taken(_ octets: ArraySlice<UInt8>, left: inout Int) throws(GzipError) -> [UInt8] {
        guard octets.count <= left else { throw .tooLong }
        left -= octets.count
        return Array(octets)
    }

    /// The report in a ZIP archive, stored or deflated.
    private static func report(in archive: ZIPArchive, _ octets: [UInt8], left: inout Int) throws(GzipError) -> [UInt8]
    {
        guard let file = archive.report, !file.isEncrypted else { throw .malformed }
        switch file.method {
        case 0:
            guard file.packedOctets <= octets.count - file.start else { throw .malformed }
            return try taken(octets[file.start..<(file.start + file.packedOctets)], left: &left)
        case 8: return try inflated(octets[file.start...], windowBits: -15, left: &left)
        default: throw .malformed
        }
    }

    private static func inflated(
        _ octets: ArraySlice<UInt8>,
        windowBits: CInt,
        left: inout Int
    ) throws(GzipError) -> [UInt8] {
        let stream = newStream()
        defer { stream.deallocate() }
        guard inflateInit2_(stream, windowBits, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw .malformed
        }
        defer { inflateEnd(stream) }
        let most = left
        var result: [UInt8] = []
        defer { left -= min(most, result.count) }
        var input = Array(octets)
        guard input.count <= 1 << 30 else { throw .tooLong }
        let status = input.withUnsafeMutableBufferPointer { input in
            stream.pointee.next_in = input.baseAddress
            stream.pointee.avail_in = UInt32(clamping: input.count)
            var status = Z_OK
            while status == Z_OK, result.count <= most {
                status = step(stream, &result, most: most) { inflate($0, Z_NO_FLUSH) }
                // A gzip file may be several, one behind the other (RFC 1952 §2.2).
                if status == Z_STREAM_END, windowBits > 15, isFollowed(stream) { status = inflateReset(stream) }
            }
            return status
        }
        guard result.count <= most else { throw .tooLong }
        guard status == Z_STREAM_END else { throw .malformed }
        return result
    }

    /// Whether another gzip file follows the one that has ended.
    private static func isFollowed(_ stream: UnsafeMutablePointer<z_stream>) -> Bool {
        let rest = UnsafeBufferPointer(start: stream.pointee.next_in, count: Int(stream.pointee.avail_in))
        return rest.starts(with: [0x1F, 0x8B])
    }

    /// One call of zlib with room for a chunk, which is appended; one octet more than `most` is enough to see it.
    private static func step(
        _ stream: UnsafeMutablePointer<z_stream>,
        _ result: inout [UInt8],
        most: Int,
        _ call: (UnsafeMutablePointer<z_stream>) -> CInt
    ) -> CInt {
        let room = most - result.count >= chunk ? chunk : max(1, most - result.count + 1)
        var status = Z_OK
        let piece = [UInt8](unsafeUninitializedCapacity: room) { output, count in
            stream.pointee.next_out = output.baseAddress
            stream.pointee.avail_out = UInt32(clamping: room)
            status = call(stream)
            count = room - Int(stream.pointee.avail_out)
        }
        result += piece
        // Without input and output, zlib can go no further: the octets end too soon.
        return status == Z_BUF_ERROR && !piece.isEmpty ? Z_OK : status
    }
}
