import DNS
import MIME
import MailAuth
import Testing

@Suite struct DMARCCheckTests {
    private func check(
        _ zoneText: String,
        from domain: String,
        spf: String? = nil,
        dkim: [String] = [],
        sample: Int = 0,
        failing: [String] = []
    ) async throws -> DMARCOutcome {
        let identifiers =
            (spf.map { [DMARCIdentifier(.spf, domain: octets($0), passed: true)] } ?? [])
            + dkim.map { DMARCIdentifier(.dkim, domain: octets($0), passed: true) }
        return await DMARCCheck.run(
            author: .domain(octets(domain)),
            identifiers: identifiers,
            sample: sample,
            lookup: try zone(zoneText, failing: failing)
        )
    }

    private let plain = "_dmarc.e.test. TXT \"v=DMARC1; p=reject; sp=quarantine; np=none\"\nsub.e.test. A 192.0.2.1\n"

    @Test func alignment() async throws {
        #expect(try await check(plain, from: "e.test", spf: "e.test").result == .pass)
        #expect(try await check(plain, from: "e.test", spf: "bounce.e.test").result == .pass)
        #expect(try await check(plain, from: "sub.e.test", dkim: ["other.e.test"]).result == .pass)
        #expect(try await check(plain, from: "e.test", spf: "e2.test", dkim: ["te.test", "test"]).result == .fail)
        #expect(try await check(plain, from: "E.Test", spf: "e.tEST").result == .pass)
        let strict = "_dmarc.e.test. TXT \"v=DMARC1; p=reject; adkim=s; aspf=r\""
        #expect(try await check(strict, from: "e.test", dkim: ["sub.e.test"]).result == .fail)
        #expect(try await check(strict, from: "e.test", spf: "sub.e.test").result == .pass)
    }

    @Test func whatDoesNotPassDoesNotCount() async throws {
        let outcome = await DMARCCheck.run(
            author: .domain(octets("e.test")),
            identifiers: [DMARCIdentifier(.spf, domain: octets("e.test"), passed: false)],
            sample: 0,
            lookup: try zone(plain)
        )
        #expect(outcome.result == .fail)
        #expect(outcome.disposition == .reject)
    }

    @Test func policies() async throws {
        let own = try await check(plain, from: "e.test")
        #expect((own.policyTag, own.disposition) == ("p", .reject))
        let below = try await check(plain, from: "sub.e.test")
        #expect((below.policyTag, below.disposition) == ("sp", .quarantine))
        #expect(below.policyDomain == (try DomainName("e.test")))
        let missing = try await check(plain, from: "nowhere.e.test")
        #expect((missing.policyTag, missing.disposition) == ("np", .none))
        #expect(missing.result == .fail)
        // A name without records, but with names below it, exists (RFC 8020).
        let empty = try await check(plain + "x.empty.e.test. A 192.0.2.1", from: "empty.e.test")
        #expect(empty.policyTag == "sp")
        #expect(try await check("e.test. A 192.0.2.1", from: "e.test").result == .none)
    }

    @Test func percentageAndTesting() async throws {
        let some = "_dmarc.e.test. TXT \"v=DMARC1; p=reject; pct=30\""
        #expect(try await check(some, from: "e.test", sample: 29).disposition == .reject)
        #expect(try await check(some, from: "e.test", sample: 30).disposition == .quarantine)
        let testing = "_dmarc.e.test. TXT \"v=DMARC1; p=quarantine; t=y\""
        #expect(try await check(testing, from: "e.test").disposition == .none)
        #expect(try await check(testing, from: "e.test").policy == .quarantine)
    }

    /// RFC 9989 §4.10: at most eight names, those between the whole and the last seven labels left out.
    @Test func theWalk() async throws {
        let outcome = try await check(plain, from: "a.b.c.d.f.g.h.i.j.k.e.test")
        #expect(
            outcome.steps.map { SPFTexts.plain($0.name) } == [
                "_dmarc.a.b.c.d.f.g.h.i.j.k.e.test", "_dmarc.g.h.i.j.k.e.test", "_dmarc.h.i.j.k.e.test",
                "_dmarc.i.j.k.e.test", "_dmarc.j.k.e.test", "_dmarc.k.e.test", "_dmarc.e.test", "_dmarc.test",
            ]
        )
        #expect(outcome.organizationalDomain == (try DomainName("e.test")))
    }

    @Test func publicSuffixes() async throws {
        let suffix = """
            _dmarc.bank. TXT "v=DMARC1; p=reject; psd=y; np=reject; sp=quarantine"
            one.bank. A 192.0.2.1
            two.bank. A 192.0.2.1
            _dmarc.div.three.bank. TXT "v=DMARC1; p=none; psd=n"
            _dmarc.three.bank. TXT "v=DMARC1; p=reject"
            """
        let one = try await check(suffix, from: "www.one.bank", dkim: ["two.bank"])
        #expect(one.result == .fail)
        #expect(one.organizationalDomain == (try DomainName("one.bank")))
        #expect(one.policyDomain == (try DomainName("bank")))
        #expect(try await check(suffix, from: "one.bank", dkim: ["mail.one.bank"]).result == .pass)
        let division = try await check(suffix, from: "x.div.three.bank", dkim: ["three.bank"])
        #expect(division.result == .fail)
        #expect(division.disposition == .none)
        #expect(division.organizationalDomain == (try DomainName("div.three.bank")))
    }

    @Test func severalRecordsAreNone() async throws {
        let two =
            "_dmarc.e.test. TXT \"v=DMARC1; p=reject\"\n_dmarc.e.test. TXT \"v=DMARC1; p=none\"\n_dmarc.e.test. TXT \"x\""
        #expect(try await check(two, from: "e.test").result == .none)
        let other = "_dmarc.e.test. TXT \"v=spf1 -all\"\n_dmarc.e.test. TXT \"v=DMARC1; p=reject\""
        #expect(try await check(other, from: "e.test").result == .fail)
    }

    @Test func errorsOfTheDNSAreTemporary() async throws {
        #expect(try await check(plain, from: "e.test", failing: ["_dmarc.e.test"]).result == .temperror)
        #expect(try await check(plain, from: "e.test", failing: ["_dmarc.test"]).result == .temperror)
        let aligned = try await check(plain, from: "e.test", spf: "x.e.test", failing: ["_dmarc.x.e.test"])
        #expect(aligned.result == .temperror)
        let both = try await check(
            plain,
            from: "e.test",
            spf: "x.e.test",
            dkim: ["e.test"],
            failing: ["_dmarc.x.e.test"]
        )
        #expect(both.result == .pass)
    }

    @Test(arguments: [
        (["Ann <ann@E.test>"], DMARCAuthor.domain(octets("e.test"))), ([], .noField),
        (["a@e.test", "a@e.test"], .severalFields),
        (["a@e.test, b@e.test"], .domain(octets("e.test"))), (["a@e.test, b@f.test"], .severalDomains),
        (["\"a@bank.test\" <a@e.test>"], .domain(octets("e.test"))), (["Group:;"], .noAddress), (["ann"], .noAddress),
        (["ann@b\u{fc}cher.test"], .domain(octets("xn--bcher-kva.test"))),
        (["ann@b\u{fc}cher.test, b@xn--bcher-kva.test"], .domain(octets("xn--bcher-kva.test"))),
        (["ann@\u{2028}.test"], .noDomain),
        ([""], .noAddress), (["<ann@bank.test@e.test>"], .noDomain), (["ann@bank.test@e.test"], .noDomain),
        (["ann@bank.test <ann@e.test>"], .domain(octets("e.test"))), (["<ann@e.test bank.test>"], .noDomain),
        (["Doe, John <john@e.test>"], .domain(octets("e.test"))), (["Ann, b@e.test"], .domain(octets("e.test"))),
        (["Doe, John, Jr. <john@e.test>, Ann <ann@E.test>"], .domain(octets("e.test"))),
        (["ann@bank.test, John <john@e.test>"], .severalDomains), (["<a@bank.test> b@e.test"], .severalDomains),
        (["a@bank.test b@e.test"], .severalDomains), (["<a@bank.test <b@e.test>"], .severalDomains),
        (["=?utf-8?q?a=2Cb=40bank.test?= <b@e.test>"], .domain(octets("e.test"))),
        (["\"Ann <ann@e.test>"], .domain(octets("e.test"))), (["Ann (x <ann@e.test>"], .domain(octets("e.test"))),
        (["Ann <ann@e.test"], .domain(octets("e.test"))), (["Mail Delivery System"], .noAddress),
        (["ann@[192.0.2.1]"], .noDomain), (["ann@e.test\0.bank.test"], .noDomain),
        (["CEO <ceo@e.test>, x@[192.0.2.1]"], .severalDomains), (["x@-.test, ceo@e.test"], .severalDomains),
        (["ceo@E.test."], .domain(octets("e.test"))), (["ceo@e.test., b@e.test"], .domain(octets("e.test"))),
        (["ceo@e.test.."], .noDomain), (["CEO <ceo@e.test>, Ann"], .domain(octets("e.test"))),
        ([String(repeating: "a@e.test,", count: 1000) + "b@bank.test"], .tooLong),
    ]) func authors(_ fields: [String], _ author: DMARCAuthor) async throws {
        #expect(DMARCAuthor(fields: fields.map(octets)) == author)
        let header = HeaderBlock(octets(fields.map { "From: \($0)\r\n" }.joined() + "\r\n"))
        #expect(DMARCAuthor(header) == author)
    }

    @Test func noAuthorIsAnError() async throws {
        let outcome = await DMARCCheck.run(author: .severalFields, identifiers: [], sample: 0, lookup: try zone(plain))
        #expect(outcome.result == .permerror)
    }

    @Test func reportDestinations() async throws {
        let record = try #require(
            DMARCRecord(
                parsing: octets(
                    "v=DMARC1; p=none; rua=mailto:a@sub.e.test,mailto:b@third.test,mailto:c@no.test,mailto:d@moved.test"
                )
            )
        )
        let lookup = try zone(
            """
            _dmarc.e.test. TXT "v=DMARC1; p=none"
            e.test._report._dmarc.third.test. TXT "v=DMARC1"
            e.test._report._dmarc.moved.test. TXT "v=DMARC1; rua=mailto:new@moved.test"
            e.test._report._dmarc.no.test. TXT "v=spf1"
            """
        )
        let verdicts = try await DMARCReportDestination.verify(
            record.aggregateReports,
            policyDomain: try DomainName("e.test"),
            lookup: lookup
        )
        #expect(verdicts.map(\.isAccepted) == [true, true, false, true])
        #expect(text(verdicts.last?.uri.mailbox) == "new@moved.test")
    }
}

enum SPFTexts {
    static func plain(_ name: DomainName) -> String { String(name.description.dropLast()) }
}
