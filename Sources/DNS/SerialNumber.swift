/// A zone's version: a number on a circle of 2^32, half of which lies ahead of any other (RFC 1982).
package struct SerialNumber: RawRepresentable, Hashable, Sendable {
    /// The number as the SOA record has it.
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package init(_ value: UInt32) { rawValue = value }

    /// Whether this version came after the other one. Neither of two that are 2^31 apart came after the other.
    package func isAfter(_ other: SerialNumber) -> Bool {
        let ahead = rawValue &- other.rawValue
        return ahead != 0 && ahead < 0x8000_0000
    }

    /// The next version.
    package var next: SerialNumber { SerialNumber(rawValue &+ 1) }
}

extension SerialNumber: CustomStringConvertible {
    package var description: String { String(rawValue) }
}
