import MailAuth
import Testing

@Suite struct SenderRewritingTests {
    private let rewriting = SenderRewriting(secrets: [Array("tops3cr3t".utf8)])
    private let now = 1_400_000_000

    private func forward(_ sender: String, _ forwarder: String = "f.test") throws -> String {
        String(
            decoding: try rewriting.forward(octets(sender), by: octets(forwarder), secondsSince1970: now),
            as: UTF8.self
        )
    }

    private func reverse(_ address: String, days: Int = 0) throws -> String {
        let time = now + days * 86_400
        return String(decoding: try rewriting.reverse(octets(address), secondsSince1970: time), as: UTF8.self)
    }

    /// The hash is the start of HMAC-SHA1("tops3cr3t", "2lexample.comtest") in base64, as Python computes it.
    @Test func known() throws {
        let rewritten = try forward("test@example.com")
        #expect(rewritten == "SRS0=7bn1=2L=example.com=test@f.test")
        #expect(try reverse(rewritten) == "test@example.com")
    }

    @Test func twoForwarders() throws {
        let first = try forward("u@e.test", "f.test")
        let second = try forward(first, "g.test")
        #expect(second.hasPrefix("SRS1="))
        #expect(second.contains("=f.test=="))
        let third = try forward(second, "h.test")
        #expect(third.hasPrefix("SRS1="))
        #expect(third.contains("=f.test=="))
        #expect(try reverse(third) == first)
        #expect(try reverse(second) == first)
        #expect(try reverse(first) == "u@e.test")
    }

    @Test func ownAddressesStay() throws { #expect(try forward("u@F.test") == "u@F.test") }

    @Test func caseDoesNotMatter() throws {
        let rewritten = try forward("User@e.test")
        #expect(try reverse(rewritten.lowercased()) == "user@e.test")
        #expect(try reverse(rewritten.uppercased()) == "USER@E.TEST")
    }

    @Test func age() throws {
        let rewritten = try forward("u@e.test")
        #expect(try reverse(rewritten, days: 21) == "u@e.test")
        #expect(throws: SenderRewritingError.expired) { try reverse(rewritten, days: 22) }
        #expect(throws: SenderRewritingError.expired) { try reverse(rewritten, days: -1) }
        // Times repeat after 1024 days.
        #expect(try reverse(rewritten, days: 1024) == "u@e.test")
    }

    @Test func secretsRollOver() throws {
        let old = try forward("u@e.test")
        let newer = SenderRewriting(secrets: [octets("new"), octets("tops3cr3t")])
        #expect(try newer.reverse(octets(old), secondsSince1970: now) == octets("u@e.test"))
        let newest = SenderRewriting(secrets: [octets("new")])
        #expect(throws: SenderRewritingError.badHash) { try newest.reverse(octets(old), secondsSince1970: now) }
        #expect(throws: SenderRewritingError.noSecret) {
            try SenderRewriting(secrets: [[]]).forward(octets("u@e.test"), by: octets("f.test"), secondsSince1970: now)
        }
    }

    @Test func limits() throws {
        let local = String(repeating: "a", count: 64 - 5 - 5 - 3 - 7)
        #expect(try forward("\(local)@e.test").prefix { $0 != "@" }.count == 64)
        #expect(throws: SenderRewritingError.tooLong) { try forward("\(local)a@e.test") }
    }

    @Test(arguments: [
        ("u@e.test", SenderRewritingError.notRewritten), ("SRS0=aaaa=AA=e.test@f.test", .malformed),
        ("SRS0=aaaa=AA=e.test=@f.test", .malformed), ("SRS1=aaaa==@f.test", .malformed),
        ("SRS2=a=b=c=d@f.test", .notRewritten),
        ("SRS0=aaa=AA=e.test=u@f.test", .badHash), ("SRS0==AA=e.test=u@f.test", .badHash),
        ("SRS0@f.test", .notRewritten),
        ("SRS0=aaaaa=AA=e.test=u@f.test", .badHash), ("@f.test", .malformedAddress), ("nothing", .malformedAddress),
        ("SRS0=aaaa=AA=e.test=u> SIZE=1@f.test", .malformedAddress),
    ]) func refused(_ address: String, _ error: SenderRewritingError) {
        #expect(throws: error) { try reverse(address) }
    }

    @Test(arguments: ["\"a b\"@e.test", "a>@e.test", "a b@e.test", "a\\b@e.test", "a@b@e.test", "a\r\nb@e.test"])
    func notRewritten(_ address: String) {
        #expect(throws: SenderRewritingError.malformedAddress) { try forward(address) }
    }

    @Test func changesAreNoticed() throws {
        var generator = FixedGenerator(0)
        let rewritten = octets(try forward("user@example.test"))
        for _ in 0..<5000 {
            let changed = mutated(rewritten, &generator)
            if let sender = try? rewriting.reverse(changed, secondsSince1970: now) {
                #expect(String(decoding: sender, as: UTF8.self).lowercased() == "user@example.test")
            }
        }
    }
}
