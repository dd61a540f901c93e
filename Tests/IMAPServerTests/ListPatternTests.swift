import Testing

@testable import IMAPServer

@Suite struct ListPatternTests {
    @Test(arguments: [
        ("*", ["", "A", "A.B"], []), ("%", ["", "A", "A%B"], ["A.B"]), ("A", ["A"], ["", "a", "AA", "A.B"]),
        ("A.%", ["A.", "A.B"], ["A", "A.B.C", "B.A"]), ("A.*", ["A.", "A.B", "A.B.C"], ["A", "B.A"]),
        ("%.%", ["A.B", "."], ["A", "A.B.C"]), ("*%*C", ["C", "A.B.C"], ["A", "C.D"]),
        ("A%%B", ["AB", "AxxB"], ["A.B"]),
        ("inbox", ["INBOX"], ["inbox", "INBOX.A"]), ("InBox.%", ["INBOX.A"], ["INBOX", "inbox.A"]),
        ("inboxes", ["inboxes"], ["INBOXes"]), ("", [""], ["A"]),
    ])
    func patterns(pattern: String, matching: [String], others: [String]) {
        let pattern = ListPattern(Array(pattern.utf8), delimiter: UInt8(ascii: "."))
        for name in matching { #expect(pattern.matches(name.utf8), "\(name)") }
        for name in others { #expect(!pattern.matches(name.utf8), "\(name)") }
    }

    /// A pattern as long as a command may be, for each of many folders.
    @Test func longPatternsAreNotTriedOnShortNames() {
        let pattern = ListPattern(Array(repeating: UInt8(ascii: "a"), count: 1 << 20), delimiter: UInt8(ascii: "."))
        let name = Array(repeating: UInt8(ascii: "a"), count: 250)
        #expect((0..<10_000).allSatisfy { _ in !pattern.matches(name) })
    }
}
