import Testing

@testable import MIME

@Suite struct OctetMatcherTests {
    @Test(arguments: [
        ("", "abc", nil), ("a", "", nil), ("b", "abc", 2), ("abab", "abacabab", 8), ("aab", "aaaab", 5),
        ("abc", "ababab", nil),
        ("abcabd", "abcabcabd", 9),
    ])
    func itEndsWhereItStandsFirst(wanted: String, text: String, end: Int?) {
        var matcher = OctetMatcher(Array(wanted.utf8))
        var found: Int?
        for (place, octet) in text.utf8.enumerated() where matcher.feed(octet) {
            found = place + 1
            break
        }
        #expect(found == end)
    }
}
