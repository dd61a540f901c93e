import DNS
import Testing

@testable import DNSSEC

@Suite struct ValidatorTests {
    private func zones() throws -> TestZones { try TestZones(SignedZones.parent, SignedZones.child) }

    @Test(arguments: SignedZones.algorithms)
    func everyAlgorithm(text: String) throws {
        let records = try TestZones.parse(text)
        let sets = RecordSet.sets(of: records)
        let keySet = try #require(sets.first { $0.type == .dnskey })
        let keys = keySet.records.compactMap(ZoneKey.init)
        let trusted = TrustedKeys(zone: keySet.name, keys: keys, ValidationPolicy())
        for set in sets where set.type != .nsec {
            let signature = try trusted.verify(set, now: TestZones.now, ValidationPolicy(), ValidationBudget())
            #expect(signature.keyTag == keys.first?.keyTag)
            var changed = set
            changed.records[0] = try #require(try TestZones.parse("\(set.name) 60 A 192.0.2.10").first)
            #expect(throws: Bogus.self) {
                try trusted.verify(changed, now: TestZones.now, ValidationPolicy(), ValidationBudget())
            }
        }
    }

    @Test func sha1OnlyAsPolicyAllows() throws {
        let sets = RecordSet.sets(of: try TestZones.parse(SignedZones.algorithms[0]))
        let set = try #require(sets.first { $0.type == .dnskey })
        var policy = ValidationPolicy()
        policy.acceptsSHA1 = false
        let trusted = TrustedKeys(zone: set.name, keys: set.records.compactMap(ZoneKey.init), policy)
        #expect(throws: Bogus.self) { try trusted.verify(set, now: TestZones.now, policy, ValidationBudget()) }
    }

    @Test(arguments: [
        ("a.signed.test", RecordType.a), ("A.SIGNED.TEST", .a), ("alias.signed.test", .cname), ("signed.test", .ns),
        ("a.sub.signed.test", .a), ("b.c.sub.signed.test", .a), ("sub.signed.test", .ds), ("sub.signed.test", .dnskey),
        ("x.w.signed.test", .txt), ("x.w.sub.signed.test", .txt),
    ])
    func answersAreSecure(name: String, type: RecordType) async throws {
        #expect(try await zones().judge(name, type) == .secure)
    }

    @Test(arguments: [
        ("a.signed.test", RecordType.mx), ("missing.signed.test", .a), ("c.signed.test", .a), ("x.w.signed.test", .a),
        ("zz.signed.test", .a), ("!.signed.test", .a), ("ins.signed.test", .ds), ("a.signed.test", .ds),
        ("a.sub.signed.test", .mx), ("missing.sub.signed.test", .a), ("c.sub.signed.test", .a),
        ("x.w.sub.signed.test", .a), ("deep.below.missing.sub.signed.test", .a), ("ins.sub.signed.test", .ds),
        ("sub.signed.test", .mx),
    ])
    func denialsAreSecure(name: String, type: RecordType) async throws {
        #expect(try await zones().judge(name, type) == .secure)
    }

    /// What is asked about signatures can't be proven; that a name isn't there must be, since it counts for all types.
    @Test func signaturesAskedForByThemselves() async throws {
        #expect(try await zones().judge("a.signed.test", .rrsig) == .insecure(nil))
        #expect(try await zones().judge("missing.signed.test", .rrsig) == .secure)
        let forging = try zones()
        forging.change = { _, type, reply in
            if type == .rrsig { reply = SecurityReply(code: .nameError, answers: [], authorities: []) }
        }
        guard case .bogus = try await forging.judge("a.signed.test", .rrsig) else {
            Issue.record("a forged NXDOMAIN is believed")
            return
        }
    }

    @Test func insecureDelegations() async throws {
        let zones = try zones()
        #expect(try await zones.judge("ns.ins.signed.test", .a) == .insecure(nil))
        #expect(try await zones.judge("www.ins.sub.signed.test", .a, code: .noError) != .secure)
        let optedOut = try TestZones(SignedZones.parent, SignedZones.childOptedOut)
        // The child's keys are the same, so that the parent's DS records fit.
        #expect(try await optedOut.judge("missing.sub.signed.test", .a) == .insecure(nil))
        #expect(try await optedOut.judge("a.sub.signed.test", .a) == .secure)
    }

    @Test func withoutAnAnchorNothingIsValidated() async throws {
        let zones = try zones()
        #expect(try await zones.judge("a.sub.signed.test", .a, anchor: "sub.signed.test") == .secure)
        #expect(try await zones.judge("a.signed.test", .a, anchor: "sub.signed.test") == .insecure(nil))
        let negative: Set<DomainName> = [try DomainName("sub.signed.test")]
        #expect(try await zones.judge("a.sub.signed.test", .a, negative: negative) == .insecure(nil))
        #expect(try await zones.judge("a.signed.test", .a, negative: negative) == .secure)
    }

    /// A signature that claims to be of a zone above the anchor doesn't make an answer unsigned.
    @Test func anIslandIsNotLeftByAForgedSigner() async throws {
        let zones = try zones()
        zones.change = { name, type, reply in
            guard type == .a || type == .mx else { return }
            let soa = "sub.signed.test. 60 SOA ns.sub.signed.test. root.sub.signed.test. 1 60 60 60 60"
            let times = "60 20370101000000 20260101000000 1 signed.test. AAAA"
            let forged = type == .a ? "\(name) 60 A 192.0.2.66\n\(name) 60 RRSIG A 13 4 \(times)" : ""
            let denial = "\(soa)\nsub.signed.test. 60 RRSIG SOA 13 3 \(times)"
            reply = SecurityReply(
                code: .noError,
                answers: (try? TestZones.parse(forged)) ?? [],
                authorities: type == .a ? [] : (try? TestZones.parse(denial)) ?? []
            )
            #expect(reply.answers.count + reply.authorities.count == 2)
        }
        #expect(try await zones.judge("a.sub.signed.test", .a, anchor: "sub.signed.test").bogusCode == 10)
        #expect(try await zones.judge("a.sub.signed.test", .mx, anchor: "sub.signed.test").bogusCode == 10)
    }

    @Test func timesCount() async throws {
        let zones = try zones()
        #expect(try await zones.judge("a.signed.test", .a, now: 2_300_000_000).bogusCode == 7)
        #expect(try await zones.judge("a.signed.test", .a, now: 1_700_000_000).bogusCode == 8)
    }

    @Test func deniedWhatExists() async throws {
        let zones = try zones()
        // The right records for a wrong claim.
        #expect(try await zones.judge("a.signed.test", .mx, code: .nameError).bogusCode == 12)
        #expect(try await zones.judge("a.sub.signed.test", .mx, code: .nameError).bogusCode == 12)
        zones.change = { name, type, reply in
            guard type == .txt else { return }
            reply.answers = []
        }
        #expect(try await zones.judge("x.w.signed.test", .txt).bogusCode == 12)
        #expect(try await zones.judge("x.w.sub.signed.test", .txt).bogusCode == 12)
    }

    @Test func whatIsTakenAwayIsMissed() async throws {
        let zones = try zones()
        zones.change = { name, type, reply in
            guard type == .a || type == .mx || type == .txt else { return }
            reply.authorities.removeAll { $0.type == .nsec || $0.type == .nsec3 }
        }
        #expect(try await zones.judge("missing.signed.test", .a).bogusCode == 12)
        #expect(try await zones.judge("missing.sub.signed.test", .a).bogusCode == 12)
        #expect(try await zones.judge("x.w.signed.test", .txt).bogusCode == 12)
        zones.change = { _, type, reply in
            if type == .a { reply.answers.removeAll { $0.type == .rrsig } }
        }
        #expect(try await zones.judge("a.signed.test", .a).bogusCode == 10)
        zones.change = { _, type, reply in
            if type == .dnskey { reply.answers = [] }
        }
        #expect(try await zones.judge("a.signed.test", .a).bogusCode == 9)
        zones.change = { name, type, reply in
            if type == .ds { reply = SecurityReply(code: .noError, answers: [], authorities: []) }
        }
        #expect(try await zones.judge("a.sub.signed.test", .a).bogusCode == 12)
    }

    @Test func aForgedRecordIsBogus() async throws {
        let zones = try zones()
        let forged = try #require(try TestZones.parse("a.signed.test 60 A 192.0.2.66").first)
        zones.change = { _, type, reply in
            if type == .a { reply.answers.append(forged) }
        }
        #expect(try await zones.judge("a.signed.test", .a).bogusCode == 6)
    }

    /// KeyTrap (CVE-2023-50387): many keys of one tag, many signatures; each pair would be tried.
    @Test func checksAreBounded() async throws {
        let zones = try zones()
        let budget = ValidationBudget(signatures: 10, failures: 5)
        zones.change = { _, type, reply in
            guard type == .a, let signature = reply.answers.first(where: { $0.type == .rrsig }) else { return }
            var data = signature.data
            data[data.count - 1] ^= 1
            let wrong = try? ResourceRecord(name: signature.name, type: .rrsig, timeToLive: 60, wireData: data)
            reply.answers =
                reply.answers.filter { $0.type == .a } + Array(repeating: wrong, count: 100).compactMap { $0 }
        }
        let verdict = try await zones.judge("a.signed.test", .a, budget: budget)
        #expect(verdict.bogusCode == 6)
        #expect(budget.isExhausted)
    }

    @Test func tooManyIterationsCountAsUnsigned() throws {
        let line =
            "12sikpc21cpenossgqfmj5pae6mr1lsc.sub.signed.test. 300 NSEC3 1 0 151 - 79h70ji9nbkhemomk186qolgfhqhjlgn A"
        let zone = try DomainName("sub.signed.test")
        let proof = HashedDenial(zone: zone, try TestZones.parse(line), ValidationPolicy(), ValidationBudget())
        #expect(proof.noName(try DomainName("x.sub.signed.test")) == .tooExpensive)
        #expect(proof.noData(try DomainName("x.sub.signed.test"), .a) == .tooExpensive)
        #expect(proof.cut(try DomainName("x.sub.signed.test")) == .insecure)
    }

    /// RFC 5155 appendix A: the hashes of its example zone.
    @Test(arguments: [
        ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"), ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
        ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"), ("xx.example", "t644ebqk9bibcna874givr6joj62mlhv"),
    ])
    func hashesOfNames(name: String, expected: String) throws {
        let owner = "\(expected).example. 60 NSEC3 1 0 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A"
        let record = try #require(try TestZones.parse(owner).first)
        let hash = NameHash.hash(try DomainName(name), salt: [0xAA, 0xBB, 0xCC, 0xDD], iterations: 12)
        #expect(NextSecure3(record)?.hash == hash)
    }

    /// RFC 4034 appendix and section 5.4: a key, its tag and its DS record.
    @Test func digestOfAKey() throws {
        let key = try #require(
            try TestZones.parse(
                """
                dskey.example.com. 86400 IN DNSKEY 256 3 5 ( AQOeiiR0GOMYkDshWoSKz9Xz fwJr1AYtsmx3TGkJaNXVbfi/
                2pHm822aJ5iI9BMzNXxeYCmZ DRD99WYwYqUSdjMmmAphXdvx egXd/M5+X7OrzKBaMbCVdFLU
                Uh6DhweJBjEVv5f2wwjM9Xzc nOf+EPbtG9DMBmADjFDc2w/r ljwvFw== )
                """
            ).first
        )
        #expect(ZoneKey(key)?.keyTag == 60485)
        let signer = try #require(
            try TestZones.parse(
                "dskey.example.com. 86400 IN DS 60485 5 1 ( 2BB183AF5F22588179A53B0A 98631FAD1A292118 )"
            ).first.flatMap(DelegationSigner.init)
        )
        #expect(try signer.matches(#require(ZoneKey(key)), key))
    }

    @Test func keysAreAskedForOnce() async throws {
        let zones = try zones()
        let cache = KeyCache()
        _ = try await zones.judge("a.sub.signed.test", .a, cache: cache)
        _ = try await zones.judge("b.c.sub.signed.test", .a, cache: cache)
        #expect(zones.asked.filter { $0.hasSuffix("DNSKEY") } == ["signed.test. DNSKEY", "sub.signed.test. DNSKEY"])
    }
}
