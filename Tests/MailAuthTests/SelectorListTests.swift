import MailAuth
import Testing

struct SelectorListTests {
    @Test func readsWhatItWrites() throws {
        let list = SelectorList([
            .init(selector: "r20261130", algorithm: .rsaSHA256, state: .active, since: 1_796_000_000),
            .init(selector: "e20261130", algorithm: .ed25519SHA256, state: .published, since: 1_796_000_001),
            .init(selector: "old", algorithm: .rsaSHA256, state: .retired, since: 0),
        ])
        #expect(try SelectorList(parsing: list.octets) == list)
        #expect(try SelectorList(parsing: SelectorList().octets) == SelectorList())
    }

    @Test func readsWhatPeopleWrite() throws {
        let list = try SelectorList(parsing: octets("\r\n# x\n\te1  ed25519-sha256\tactive 20261130080000 # why\r\n"))
        #expect(list.entries.map(\.selector) == ["e1"])
        #expect(list.entries.first?.state == .active)
        #expect(list.entries.first?.since == 1_796_025_600)
        #expect(list.entries.first?.keyFile == "e1.pem")
    }

    @Test(arguments: [
        "e1 ed25519-sha256 active", "e1 ed25519-sha256 active 20261130080000 x", "e1 rsa-sha1 active 20261130080000",
        "e1 ed25519-sha256 signing 20261130080000", "e1 ed25519-sha256 active 2026",
        "E1 rsa-sha256 active 20261130080000",
        "../e1 rsa-sha256 active 20261130080000", "a.b rsa-sha256 active 20261130080000",
        "-a rsa-sha256 active 20261130080000", "e1 rsa-sha256 active 20261330080000", "\u{0}",
    ])
    func faults(_ line: String) {
        #expect { try SelectorList(parsing: octets("# a comment\n\(line)\n")) } throws: { error in
            (error as? SelectorList.Malformed)?.line == 2
        }
    }

    @Test func noSelectorTwice() {
        let line = "e1 rsa-sha256 active 20261130080000\n"
        #expect(throws: SelectorList.Malformed.self) { try SelectorList(parsing: octets(line + line)) }
        let many = (0...SelectorList.maximumEntries).map { "s\($0) rsa-sha256 active 20261130080000\n" }.joined()
        #expect(throws: SelectorList.Malformed.self) { try SelectorList(parsing: octets(many)) }
    }

    @Test func whatIsADirectory() {
        for name in ["example.org", "xn--bcher-kva.example", "a"] { #expect(SelectorList.isDomain(name), "\(name)") }
        for name in ["", ".", "..", "Example.org", "a/b", "b\u{fc}cher.example", "a..b", ".a", "a."] {
            #expect(!SelectorList.isDomain(name), "\(name)")
        }
    }
}
