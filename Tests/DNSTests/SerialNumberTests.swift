import Testing

@testable import DNS

struct SerialNumberTests {
    /// RFC 1982 §5.1, §5.2, on 32 bits.
    @Test(
        arguments: [
            (1, 0, true), (0, 1, false), (7, 7, false), (44, 0, true), (100, 44, true), (0x8000_0000 + 100, 200, true),
            (0x7FFF_FFFF, 0, true), (0, 0xFFFF_FFFF, true), (0xFFFF_FFFF, 0, false), (50, 0xFFFF_FF00, true),
            // Half the circle apart: neither is after the other.
            (0x8000_0000, 0, false), (0, 0x8000_0000, false),
        ] as [(UInt32, UInt32, Bool)]
    )
    func order(_ one: UInt32, _ other: UInt32, _ isAfter: Bool) {
        #expect(SerialNumber(one).isAfter(SerialNumber(other)) == isAfter)
        if isAfter { #expect(!SerialNumber(other).isAfter(SerialNumber(one))) }
    }

    @Test func next() {
        #expect(SerialNumber(1).next == SerialNumber(2))
        #expect(SerialNumber(.max).next == SerialNumber(0))
        #expect(SerialNumber(.max).next.isAfter(SerialNumber(.max)))
    }
}
