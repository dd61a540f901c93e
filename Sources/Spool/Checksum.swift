import CLinux
import NIOCore

/// CRC-32C, which finds torn and rotten octets; not a defence against anybody.
package struct Checksum: Equatable, Sendable {
    /// Of all octets so far.
    package private(set) var value: UInt32 = 0

    /// The checksum of nothing.
    package init() {}

    /// Adds octets behind those so far.
    package mutating func add(_ octets: UnsafeRawBufferPointer) {
        value = CLinux_crc32c(value, octets.baseAddress, octets.count)
    }

    /// Adds the readable octets of a buffer.
    package mutating func add(_ octets: ByteBuffer) {
        octets.withUnsafeReadableBytes { add($0) }
    }

    /// Adds the UTF-8 of a text.
    package mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
    }

    /// Eight hexadecimal digits.
    package var text: String { Self.text(value) }

    static func text(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 8 - digits.utf8.count) + digits
    }
}
