import CLinux

/// Decodes base64 as mail has it (RFC 2045 §6.8), in pieces and tolerantly: sixteen characters at a time, and one at a
/// time around padding and stray characters. For text that must be exact there is `Base64.decode`.
package struct Base64Decoder: Sendable {
    /// What is wrong with the text so far. Decoding goes on all the same.
    package struct Defects: OptionSet, Sendable, Hashable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Characters outside the alphabet; they are left out.
        package static let strayCharacters = Self(rawValue: 1)
        /// The text goes on behind its padding; what stands there is left out.
        package static let dataAfterPadding = Self(rawValue: 2)
        /// The last group isn't filled up.
        package static let missingPadding = Self(rawValue: 4)
        /// The last group is too short to mean anything.
        package static let truncated = Self(rawValue: 8)
    }

    private var bits: UInt32 = 0
    /// Characters of the group that has begun.
    private var count = 0
    private var isPadded = false
    package private(set) var defects: Defects = []

    private static let isBlank: UInt8 = 64
    private static let isPadding: UInt8 = 65
    private static let isStray: UInt8 = 66
    /// What each character is: its value, or one of those above.
    private static let classes: [UInt8] = (0...255).map { (octet: Int) in
        let octet = UInt8(truncatingIfNeeded: octet)
        if let value = Base64.value(of: octet) { return UInt8(truncatingIfNeeded: value) }
        switch octet {
        case UInt8(ascii: "="): return isPadding
        case UInt8(ascii: " "), 0x09, 0x0A, 0x0D: return isBlank
        default: return isStray
        }
    }

    private static let scratch = 3072

    package init() {}

    /// Decodes the next piece and appends what it means.
    package mutating func decode(_ input: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: Self.scratch, alignment: 16) { scratch in
            var position = 0
            while position < input.count {
                var written = 0
                while position < input.count, written + 16 <= Self.scratch {
                    if isPadded {
                        pass(input[position...])
                        position = input.count
                        break
                    }
                    if count == 0 {
                        Self.groups(input, &position, scratch, &written)
                        guard position < input.count, written + 16 <= Self.scratch else { break }
                    }
                    if let octet = one(input[position]) {
                        scratch[written] = octet
                        written += 1
                    }
                    position += 1
                }
                output.append(contentsOf: scratch[..<written])
            }
        }
        bits &= 0xFF_FFFF
    }

    /// Whole groups of the alphabet and the line ends between them, up to the first that has anything else in it.
    private static func groups(
        _ input: UnsafeBufferPointer<UInt8>,
        _ position: inout Int,
        _ scratch: UnsafeMutableRawBufferPointer,
        _ written: inout Int
    ) {
        guard let source = input.baseAddress, let target = scratch.baseAddress else { return }
        var added = 0
        position += CLinux_base64_decode(
            source + position,
            input.count - position,
            target.assumingMemoryBound(to: UInt8.self) + written,
            scratch.count - written,
            &added
        )
        written += added
    }

    /// What stands behind the padding, which ends the data (RFC 2045 §6.8): nothing but more of it should.
    private mutating func pass(_ rest: Slice<UnsafeBufferPointer<UInt8>>) {
        guard !defects.contains(.dataAfterPadding) else { return }
        let isData = rest.contains { character in
            let value = Self.classes[Int(character)]
            return value != Self.isBlank && value != Self.isPadding
        }
        if isData { defects.insert(.dataAfterPadding) }
    }

    /// One character; the octet that it completes.
    private mutating func one(_ character: UInt8) -> UInt8? {
        let value = Self.classes[Int(character)]
        switch value {
        case Self.isBlank: return nil
        case Self.isStray:
            defects.insert(.strayCharacters)
            return nil
        case Self.isPadding:
            // Where no octet ends it's no padding.
            guard count >= 2 else {
                defects.insert(count == 1 ? .truncated : .strayCharacters)
                return nil
            }
            isPadded = true
            count = 0
            return nil
        default:
            bits = bits << 6 | UInt32(value)
            count = (count + 1) % 4
            return count == 1 ? nil : UInt8(truncatingIfNeeded: bits >> UInt32((4 - count) % 4 * 2))
        }
    }

    /// The end: checks whether the last group is complete.
    package mutating func finish() {
        if count == 1 { defects.insert(.truncated) } else if count > 1 { defects.insert(.missingPadding) }
        count = 0
    }
}
