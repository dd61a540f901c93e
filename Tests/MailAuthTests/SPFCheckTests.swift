import DNS
import MailAuth
import Testing

@Suite struct SPFCheckTests {
    private func check(
        _ zoneText: String,
        _ address: String = "192.0.2.1",
        sender: String = "user@e.test",
        failing: [String] = []
    ) async throws -> SPFOutcome {
        let octetsOfAddress = AddressText.parse4(octets(address)) ?? AddressText.parse6(octets(address))
        let query = SPFQuery(
            address: try #require(octetsOfAddress),
            mailFrom: octets(sender),
            helo: octets("helo.test"),
            receiver: octets("mx.receiver.test"),
            secondsSince1970: 1_700_000_000
        )
        return await SPFCheck.run(query, lookup: try zone(zoneText, failing: failing))
    }

    @Test(arguments: [
        ("e.test. TXT \"v=spf1 ip4:192.0.2.0/28 -all\"", "192.0.2.15", SPFResult.pass),
        ("e.test. TXT \"v=spf1 ip4:192.0.2.0/28 -all\"", "192.0.2.16", .fail),
        ("e.test. TXT \"v=spf1 ip4:192.0.2.0/28 ~all\"", "::ffff:192.0.2.3", .pass),
        ("e.test. TXT \"v=spf1 ip6:2001:db8::/33 ~all\"", "2001:db8:7fff::1", .pass),
        ("e.test. TXT \"v=spf1 ip6:2001:db8::/33 ~all\"", "2001:db8:8000::1", .softfail),
        ("e.test. TXT \"v=spf1 ip4:0.0.0.0/0\"", "2001:db8::1", .neutral),
        ("e.test. TXT \"v=spf1\"", "192.0.2.1", .neutral),
        ("e.test. TXT \"v=spf\" \"1 ip4:192.0\" \".2.1 -all\"", "192.0.2.1", .pass),
        ("e.test. TXT \"other\"", "192.0.2.1", .none),
        ("e.test. A 192.0.2.1", "192.0.2.1", .none),
        ("other.test. A 192.0.2.1", "192.0.2.1", .none),
        ("e.test. TXT \"v=spf1 a -all\"\ne.test. TXT \"v=spf1 mx -all\"", "192.0.2.1", .permerror),
        ("e.test. TXT \"v=spf1 a -all\"\ne.test. A 192.0.2.1", "192.0.2.1", .pass),
        ("e.test. TXT \"v=spf1 a//64 -all\"\ne.test. AAAA 2001:db8::1", "2001:db8::2", .pass),
        ("e.test. TXT \"v=spf1 mx/24 -all\"\ne.test. MX 10 m.test.\nm.test. A 192.0.2.9", "192.0.2.1", .pass),
        ("e.test. TXT \"v=spf1 mx -all\"\ne.test. MX 0 .", "192.0.2.1", .fail),
        ("e.test. TXT \"v=spf1 include:i.test -all\"\ni.test. TXT \"v=spf1 ?ip4:192.0.2.1 -all\"", "192.0.2.1", .fail),
        (
            "e.test. TXT \"v=spf1 ?include:i.test -all\"\ni.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"", "192.0.2.1",
            .neutral
        ),
        ("e.test. TXT \"v=spf1 include:i.test ?all\"", "192.0.2.1", .permerror),
        ("e.test. TXT \"v=spf1 include:i.test ?all\"\ni.test. TXT \"v=spf1 moo\"", "192.0.2.1", .permerror),
        ("e.test. TXT \"v=spf1 redirect=r.test\"\nr.test. TXT \"v=spf1 -all\"", "192.0.2.1", .fail),
        ("e.test. TXT \"v=spf1 redirect=r.test\"", "192.0.2.1", .permerror),
        ("e.test. TXT \"v=spf1 redirect=r.test ~all\"", "192.0.2.1", .softfail),
        ("e.test. TXT \"v=spf1 exists:%{ir}.l.test -all\"\n1.2.0.192.l.test. A 127.0.0.1", "192.0.2.1", .pass),
        ("e.test. TXT \"v=spf1 a:c.test -all\"\nc.test. CNAME d.test.\nd.test. A 192.0.2.1", "192.0.2.1", .pass),
        ("e.test. TXT \"v=spf1 a:a..test -all\"", "192.0.2.1", .fail),
        (
            "e.test. TXT \"v=spf1 ptr -all\"\n1.2.0.192.in-addr.arpa. PTR m.e.test.\nm.e.test. A 192.0.2.1",
            "192.0.2.1", .pass
        ),
        (
            "e.test. TXT \"v=spf1 ptr -all\"\n1.2.0.192.in-addr.arpa. PTR m.e.test.\nm.e.test. A 192.0.2.9",
            "192.0.2.1", .fail
        ),
        (
            "e.test. TXT \"v=spf1 ptr -all\"\n1.2.0.192.in-addr.arpa. PTR me.test.\nme.test. A 192.0.2.1", "192.0.2.1",
            .fail
        ),
        (
            "e.test. TXT \"v=spf1 exists:%{p}.l.test -all\"\n1.2.0.192.in-addr.arpa. PTR m.e.test.\nm.e.test. A 192.0.2.1\nm.e.test.l.test. A 127.0.0.1",
            "192.0.2.1", .pass
        ),
    ]) func results(_ zoneText: String, _ address: String, _ result: SPFResult) async throws {
        let outcome = try await check(zoneText, address)
        #expect(outcome.result == result, "\(outcome.reason)")
    }

    @Test(arguments: ["a", "mx", "include:a.test", "exists:a.test", "redirect=a.test"])
    func errorsOfTheDNSAreTemporary(_ term: String) async throws {
        let records = "e.test. TXT \"v=spf1 \(term)\"\na.test. A 192.0.2.7\ne.test. MX 10 a.test."
        let failing = term == "a" ? ["nothing.test"] : ["a.test"]
        let outcome = try await check(records, failing: failing)
        #expect(outcome.result == (term == "a" ? .neutral : .temperror))
        #expect(try await check(records, failing: ["e.test"]).result == .temperror)
    }

    @Test func errorsOfPTRDoNotMatch() async throws {
        let outcome = try await check("e.test. TXT \"v=spf1 ptr -all\"", failing: ["1.2.0.192.in-addr.arpa"])
        #expect(outcome.result == .fail)
    }

    @Test func tenTermsMayAsk() async throws {
        let addresses = (0..<10).map { "a:h\($0).test" }.joined(separator: " ")
        let hosts = (0...10).map { "h\($0).test. A 198.51.100.\($0)" }.joined(separator: "\n")
        let ten = try await check("e.test. TXT \"v=spf1 \(addresses) ip4:192.0.2.1 -all\"\n\(hosts)")
        #expect(ten.result == .pass)
        #expect(ten.lookups == 10)
        let eleven = try await check("e.test. TXT \"v=spf1 \(addresses) a:h10.test ip4:192.0.2.1 -all\"\n\(hosts)")
        #expect(eleven.result == .permerror)
        #expect(eleven.reason == "more than 10 terms need DNS lookups")
    }

    @Test func loopsEnd() async throws {
        #expect(try await check("e.test. TXT \"v=spf1 include:e.test\"").result == .permerror)
        #expect(try await check("e.test. TXT \"v=spf1 redirect=e.test\"").result == .permerror)
    }

    @Test func twoLookupsMayFindNothing() async throws {
        let two = try await check("e.test. TXT \"v=spf1 a:n1.test mx:n2.test ip4:192.0.2.1 -all\"")
        #expect(two.result == .pass)
        #expect(two.voidLookups == 2)
        let three = try await check("e.test. TXT \"v=spf1 a:n1.test mx:n2.test exists:n3.test ip4:192.0.2.1 -all\"")
        #expect(three.result == .permerror)
    }

    @Test func tenMailExchanges() async throws {
        let records = { (count: Int) in
            "e.test. TXT \"v=spf1 mx -all\"\n"
                + (0..<count).map { "e.test. MX \($0) m\($0).test.\nm\($0).test. A 192.0.2.\($0)" }.joined(
                    separator: "\n"
                )
        }
        #expect(try await check(records(10), "192.0.2.9").result == .pass)
        #expect(try await check(records(11), "192.0.2.9").result == .permerror)
    }

    @Test func tenNamesOfAnAddress() async throws {
        let names = (0..<11).map { "1.2.0.192.in-addr.arpa. PTR m\($0).x\($0).test.\nm\($0).x\($0).test. A 192.0.2.1" }
        let records = { (index: Int) in
            "e.test. TXT \"v=spf1 ptr:x\(index).test -all\"\n" + names.joined(separator: "\n")
        }
        #expect(try await check(records(9)).result == .pass)
        #expect(try await check(records(10)).result == .fail)
    }

    @Test func explanation() async throws {
        let records = """
            e.test. TXT "v=spf1 -all exp=why.%{d}"
            why.e.test. TXT "%{i} is not one of %{d}'s " "hosts, says %{r} at %{t}: %{S}"
            """
        let outcome = try await check(records)
        #expect(
            text(outcome.explanation)
                == "192.0.2.1 is not one of e.test's hosts, says mx.receiver.test at 1700000000: user%40e.test"
        )
        #expect(try await check("e.test. TXT \"v=spf1 -all exp=no.test\"").explanation == nil)
        #expect(try await check("e.test. TXT \"v=spf1 -all exp=x.test\"\nx.test. TXT \"%{\"").explanation == nil)
        #expect(try await check("e.test. TXT \"v=spf1 -all exp=x.test\"\nx.test. TXT \"\\252\"").explanation == nil)
        #expect(try await check("e.test. TXT \"v=spf1 ~all exp=x.test\"\nx.test. TXT \"why\"").explanation == nil)
        let two = "e.test. TXT \"v=spf1 -all exp=x.test\"\nx.test. TXT \"one\"\nx.test. TXT \"two\""
        #expect(try await check(two).explanation == nil)
    }

    @Test func theExplanationIsTheDecidingRecords() async throws {
        let records = """
            e.test. TXT "v=spf1 include:i.test -all exp=own.test"
            i.test. TXT "v=spf1 -all exp=other.test"
            r.test. TXT "v=spf1 redirect=i.test exp=own.test"
            own.test. TXT "own"
            other.test. TXT "other"
            """
        #expect(text(try await check(records).explanation) == "own")
        #expect(text(try await check(records, sender: "user@r.test").explanation) == "other")
    }

    @Test func theNullSenderIsPostmaster() async throws {
        let outcome = try await check(
            "helo.test. TXT \"v=spf1 exists:%{l}.ok.test -all\"\npostmaster.ok.test. A 127.0.0.1",
            sender: ""
        )
        #expect(outcome.result == .pass)
        let helo = SPFQuery(address: [192, 0, 2, 1], helo: octets("helo.test"))
        let lookup = try zone("helo.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"")
        #expect(await SPFCheck.run(helo, lookup: lookup).result == .pass)
    }

    @Test(arguments: [
        "user@", "user@localhost", "user@a..test", "user@[192.0.2.1]", "user@\(String(repeating: "a", count: 64)).test",
    ])
    func namesThatAreNone(_ sender: String) async throws {
        #expect(try await check("e.test. TXT \"v=spf1 -all\"", sender: sender).result == .none)
    }

    @Test func internationalDomains() async throws {
        let records =
            "xn--bcher-kva.test. TXT \"v=spf1 exists:%{d}.l.test -all\"\nxn--bcher-kva.test.l.test. A 127.0.0.1"
        #expect(try await check(records, sender: "user@b\u{fc}cher.test").result == .pass)
    }

    @Test func trace() async throws {
        let outcome = try await check(
            "e.test. TXT \"v=spf1 a:h.test include:i.test -all\"\nh.test. A 192.0.2.9\ni.test. TXT \"v=spf1 ip4:192.0.2.1\""
        )
        #expect(outcome.trace.map(\.kind) == [.record, .directive, .record, .directive, .directive])
        #expect(outcome.trace.map(\.depth) == [0, 0, 1, 1, 0])
        #expect(outcome.trace[1].note == "does not match: h.test is 192.0.2.9")
        #expect(outcome.trace[4].note == "matches: i.test says pass")
        #expect(text(outcome.mechanism) == "include:i.test")
    }

    @Test func receivedSPF() async throws {
        let lookup = try zone("e.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"")
        let query = SPFQuery(
            address: [192, 0, 2, 1],
            mailFrom: octets("\"odd) \"@e.test"),
            helo: octets("h(elo.test"),
            receiver: octets("mx.test")
        )
        let field = ReceivedSPF.field(await SPFCheck.run(query, lookup: lookup), of: query)
        #expect(
            text(field) == """
                Received-SPF: pass\r
                 (mx.test: e.test lists 192.0.2.1 as a permitted sender)\r
                 receiver=mx.test;\r
                 client-ip=192.0.2.1;\r
                 envelope-from="\\"odd) \\"@e.test";\r
                 helo="h(elo.test";\r
                 identity=mailfrom;\r
                 mechanism="ip4:192.0.2.1"\r

                """
        )
    }

    @Test func randomRecordsNeverTrap() async throws {
        var generator = FixedGenerator(4408)
        let seed = octets(
            "v=spf1 a:%{d} mx/8 include:e.test exists:%{p}.%{l3r-}.e.test ptr ip4:1.2.3.4/7 redirect=e.test exp=e.test"
        )
        let name = try DomainName("e.test")
        for _ in 0..<2000 {
            let text = mutated(seed, &generator).prefix(255)
            let record = try ResourceRecord(
                name: name,
                type: .txt,
                timeToLive: 1,
                wireData: [UInt8(text.count)] + text
            )
            let query = SPFQuery(address: [1, 2, 3, 4], mailFrom: mutated(octets("a-b@e.test"), &generator), helo: [])
            _ = await SPFCheck.run(query, lookup: ZoneLookup([record]))
        }
    }
}
