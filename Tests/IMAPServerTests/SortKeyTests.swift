import Testing

@testable import IMAPServer

@Suite struct SortKeyTests {
    private static func key(_ text: String) -> [UInt8] { SortKey.octets(Array(text.utf8), maximum: 512) }

    @Test func lettersWithMarksStandByThoseWithout() {
        let words = ["apfel", "az", "äpfel", "b", "fz", "oz", "öl", "ø", "p", "sz", "šek", "z", "ždár", "ζ", "日"]
        #expect(words.map { Self.key($0) }.sorted { $0.lexicographicallyPrecedes($1) } == words.map { Self.key($0) })
        #expect(Self.key("é") != Self.key("è") && Self.key("plain") == Array("plain".utf8))
    }

    /// Octets that are no text are compared all the same.
    @Test func anyOctets() {
        #expect(SortKey.octets([0xFF, 0x61, 0xC3], maximum: 512) == Array("\u{FFFD}a\u{FFFD}".utf8))
        #expect(SortKey.octets([UInt8](repeating: 0x61, count: 1000), maximum: 512).count == 512)
        #expect(SortKey.octets([UInt8](repeating: 0xC3, count: 1000), maximum: 512).count <= 4 * 512)
    }
}
