/// Numbers as they are on the wire, their most significant octet first (RFC 1035 §2.3.2).
extension [UInt8] {
    /// The octets of a number.
    package init(integer value: some FixedWidthInteger & UnsignedInteger) {
        self = Swift.withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    /// Adds a number.
    package mutating func append(integer value: some FixedWidthInteger & UnsignedInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    /// Puts a number in the place of the two octets at a position that is there.
    package mutating func set(integer value: UInt16, at position: Int) {
        self[position] = UInt8(value >> 8)
        self[position + 1] = UInt8(truncatingIfNeeded: value)
    }
}
