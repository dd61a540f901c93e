import DNS
import MIME
import MailAuth
import Testing

@testable import MailAuth

struct KnownRecordsTests {
    /// A zone whose answers are read by what was read before.
    private struct RememberingLookup: MailAuthLookup {
        let zone: ZoneLookup
        let knownRecords: KnownRecords?

        func txt(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { try await zone.txt(name) }
        func ip4Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
            try await zone.ip4Addresses(name)
        }
        func ip6Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
            try await zone.ip6Addresses(name)
        }
        func mailExchanges(_ name: DomainName) async throws(MailAuthLookupError) -> [MailExchange] {
            try await zone.mailExchanges(name)
        }
        func pointers(_ name: DomainName) async throws(MailAuthLookupError) -> [DomainName] {
            try await zone.pointers(name)
        }
    }

    private let now = 1_600_000_000

    private func verify(
        _ octets: [UInt8],
        _ zone: ZoneLookup,
        _ known: KnownRecords,
        limits: SignatureLimits = SignatureLimits()
    ) async -> [DKIMResult] {
        let lookup = RememberingLookup(zone: zone, knownRecords: known)
        return await DKIMVerifier.verify(hashed(octets), lookup: lookup, now: now, limits: limits).map(\.result)
    }

    @Test func keyIsReadOnceForAllThatItSigns() async throws {
        let known = KnownRecords()
        let zone = try zone(DKIMExamples.zone)
        for _ in 0..<3 { #expect(await verify(crlf(DKIMExamples.rfc8463), zone, known) == [.pass, .pass]) }
        #expect(known.keyCount == 2)
        // What was read says nothing of a message.
        let changed = crlf(DKIMExamples.rfc8463.replacing("hungry", with: "thirsty"))
        #expect(await verify(changed, zone, known) == [.fail, .fail])
        // Limits hold for what was read under others.
        var strict = SignatureLimits()
        strict.minimumKeyBits = 4096
        #expect(await verify(crlf(DKIMExamples.rfc6376), zone, known) == [.pass])
        #expect(await verify(crlf(DKIMExamples.rfc6376), zone, known, limits: strict) == [.permerror])
    }

    @Test func anotherRecordIsAnotherKey() async throws {
        let known = KnownRecords()
        let octets = crlf(DKIMExamples.rfc6376)
        #expect(await verify(octets, try zone(DKIMExamples.zone), known) == [.pass])
        let revoked = try zone("brisbane._domainkey.example.com. TXT \"v=DKIM1; p=\"")
        #expect(await verify(octets, revoked, known) == [.permerror])
        let testing = try zone(DKIMExamples.zone.replacing("v=DKIM1; ", with: "v=DKIM1; t=y; "))
        let lookup = RememberingLookup(zone: testing, knownRecords: known)
        for _ in 0..<2 {
            let outcome = await DKIMVerifier.verify(hashed(octets), lookup: lookup, now: now).first
            #expect(outcome?.result == .pass && outcome?.isTesting == true)
        }
    }

    @Test func recordsOfSPFAreReadOnce() async throws {
        let known = KnownRecords()
        let zone = try zone("a.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"\nb.test. TXT \"v=spf1 ip4:192.0.2.300 -all\"")
        let lookup = RememberingLookup(zone: zone, knownRecords: known)
        for _ in 0..<2 {
            for (domain, address, result) in [
                ("a.test", [192, 0, 2, 1] as [UInt8], SPFResult.pass), ("a.test", [192, 0, 2, 2], .fail),
                ("b.test", [192, 0, 2, 1], .permerror),
            ] {
                let query = SPFQuery(address: address, mailFrom: Array("x@\(domain)".utf8), helo: [])
                #expect(await SPFCheck.run(query, lookup: lookup).result == result)
            }
        }
    }

    @Test(arguments: [
        ("example.org", true), ("a_b.example-1.org", true), ("xn--bcher-kva.example", true), ("bücher.example", true),
        ("", false), (".", false), ("example.org.", false), ("a..b", false), ("-a.test", false), ("a-.test", false),
        ("a.-b", false), ("a.b-", false), ("a b.test", false), ("a(b", false), ("a。b", false), ("ü(.test", false),
    ])
    func hostNames(_ text: String, _ isHost: Bool) {
        #expect(MailDomain.isHostName(Array(text.utf8)) == isHost)
        #expect((MailDomain.hostName(Array(text.utf8)) != nil) == isHost)
    }

    @Test func longNames() {
        let label = String(repeating: "a", count: 63)
        for (text, isHost) in [
            (label, true), (label + "a", false), (Array(repeating: label, count: 4).joined(separator: "."), false),
            (Array(repeating: label, count: 3).joined(separator: ".") + "." + String(repeating: "b", count: 61), true),
            (Array(repeating: label, count: 3).joined(separator: ".") + "." + String(repeating: "b", count: 62), false),
        ] {
            #expect(MailDomain.isHostName(Array(text.utf8)) == isHost)
            #expect((MailDomain.hostName(Array(text.utf8)) != nil) == isHost)
        }
    }
}
