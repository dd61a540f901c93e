/// The types that exist at a name, as windows of 256 bits (RFC 4034 §4.1.2).
package struct TypeBitmap: Hashable, Sendable {
    private let windows: [UInt8]

    /// Windows as they are on the wire; nil where they are cut short.
    init?(_ windows: some Sequence<UInt8>) {
        let windows = Array(windows)
        var position = 0
        while position < windows.count {
            guard position + 1 < windows.count else { return nil }
            position += 2 + Int(windows[position + 1])
        }
        guard position == windows.count else { return nil }
        self.windows = windows
    }

    /// Whether records of a type exist.
    package func contains(_ type: RecordType) -> Bool {
        let window = UInt8(type.rawValue >> 8)
        let octet = Int(type.rawValue & 0xFF) / 8
        let mask = UInt8(0x80) >> UInt8(type.rawValue & 7)
        var position = 0
        while position + 1 < windows.count {
            let count = Int(windows[position + 1])
            if windows[position] == window {
                return octet < count && windows[position + 2 + octet] & mask != 0
            }
            position += 2 + count
        }
        return false
    }

    /// The types that windows name.
    static func types(_ octets: ArraySlice<UInt8>) -> [RecordType] {
        var types: [RecordType] = []
        var rest = octets
        while rest.count > 2 {
            let window = UInt16(rest[rest.startIndex]) << 8
            let length = Int(rest[rest.startIndex + 1])
            for (index, bits) in rest.dropFirst(2).prefix(length).enumerated() {
                for bit in 0..<8 where bits & (0x80 >> UInt8(bit)) != 0 {
                    types.append(RecordType(rawValue: window | UInt16(index * 8 + bit)))
                }
            }
            rest = rest.dropFirst(2 + length)
        }
        return types
    }

    /// Windows as they are on the wire.
    package static func encode(_ types: some Sequence<RecordType>) -> [UInt8] {
        var windows: [UInt8: [UInt8]] = [:]
        for type in types {
            let window = UInt8(type.rawValue >> 8)
            let index = Int(type.rawValue & 0xFF)
            var bits = windows[window] ?? []
            while bits.count <= index / 8 { bits.append(0) }
            bits[index / 8] |= 0x80 >> UInt8(index % 8)
            windows[window] = bits
        }
        return windows.sorted { $0.key < $1.key }.flatMap { [$0.key, UInt8($0.value.count)] + $0.value }
    }
}
