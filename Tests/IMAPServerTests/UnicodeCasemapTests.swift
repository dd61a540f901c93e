import Testing

@testable import IMAPServer

@Suite struct UnicodeCasemapTests {
    private static func fold(_ text: String) -> [UInt8] { UnicodeCasemap.fold(Array(text.utf8)) }

    /// RFC 5051 §2: title case, then the decomposition.
    @Test(arguments: [
        ("ÄPFEL", "äpfel"), ("a\u{308}", "Ä"), ("ﬁle", "FILE"), ("ＡＢＣ", "abc"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("ǆ", "Ǆ"),
        ("ЁЖ", "ёж"), ("①", "1"), ("Ǻ", "a\u{30A}\u{301}"), ("각", "각"),
    ])
    func alike(_ one: String, _ other: String) {
        #expect(Self.fold(one) == Self.fold(other))
    }

    @Test(arguments: [("é", "è"), ("o", "ø"), ("ss", "ß"), ("日", "曰"), ("가", "각")])
    func different(_ one: String, _ other: String) {
        #expect(Self.fold(one) != Self.fold(other))
    }

    @Test func order() {
        let words = ["apfel", "az", "a\u{308}pfel", "b", "Öl", "p", "s", "sz", "Šek", "z", "_", "ζ", "日"]
        let sorted = words.map { UnicodeCasemap.order(Self.fold($0)) }
        #expect(sorted.sorted { $0.lexicographicallyPrecedes($1) } == sorted)
        #expect(TextMatcher.contains(Self.fold("Caf\u{E9}s"), Self.fold("CAFE\u{301}")))
    }

    /// Octets that are no text are compared all the same.
    @Test func anyOctets() {
        #expect(UnicodeCasemap.fold([0xFF, 0x41, 0xC3]) == Array("\u{FFFD}a\u{FFFD}".utf8))
        #expect(UnicodeCasemap.fold([]) == [])
    }
}
