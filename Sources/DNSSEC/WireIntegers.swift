/// A number as it is on the wire, its most significant octet first.
func octets(_ value: some FixedWidthInteger & UnsignedInteger) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}
