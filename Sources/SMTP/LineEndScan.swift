/// Finds line ends eight octets at a time: message bodies are long, and nothing else in them matters here.
enum LineEndScan {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highBits: UInt64 = 0x8080_8080_8080_8080
    private static let carriageReturns = ones &* UInt64(UInt8.carriageReturn)
    private static let lineFeeds = ones &* UInt64(UInt8.lineFeed)

    /// The offset of the first CR or LF at or after `start`; the count of `bytes` where there is none.
    static func firstLineEnd(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var offset = start
        while bytes.count - offset >= 8 {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            let matches = zeroOctets(word ^ carriageReturns) | zeroOctets(word ^ lineFeeds)
            if matches != 0 { return offset + matches.trailingZeroBitCount / 8 }
            offset += 8
        }
        while offset < bytes.count {
            if bytes[offset] == .carriageReturn || bytes[offset] == .lineFeed { return offset }
            offset += 1
        }
        return bytes.count
    }

    /// The lowest bit set is the high bit of the first octet that is zero; bits above it may be wrong.
    private static func zeroOctets(_ word: UInt64) -> UInt64 {
        (word &- ones) & ~word & highBits
    }
}
