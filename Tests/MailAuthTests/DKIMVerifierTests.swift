import Cryptography
import DNS
import MIME
import MailAuth
import Testing

struct DKIMVerifierTests {
    private static let now = 1_600_000_000

    private func verify(
        _ octets: [UInt8],
        _ lookup: ZoneLookup,
        now: Int = now,
        limits: SignatureLimits = SignatureLimits()
    ) async -> [DKIMOutcome] {
        await DKIMVerifier.verify(hashed(octets, limits: limits), lookup: lookup, now: now, limits: limits)
    }

    @Test func publishedExamples() async throws {
        let lookup = try zone(DKIMExamples.zone)
        for (text, count) in [(DKIMExamples.rfc6376, 1), (DKIMExamples.rfc8463, 2)] {
            let outcomes = await verify(crlf(text), lookup)
            #expect(outcomes.map(\.result) == Array(repeating: .pass, count: count), "\(outcomes.map(\.reason))")
        }
        let outcomes = await verify(crlf(DKIMExamples.rfc6376), lookup)
        #expect(text(outcomes.first?.signature?.identity) == "joe@football.example.com")
        #expect(outcomes.first?.keyBits == 1024)
    }

    @Test func everySplitGivesTheSame() async throws {
        let lookup = try zone(DKIMExamples.zone)
        let octets = crlf(DKIMExamples.rfc8463)
        for split in octets.indices {
            let hasher = MessageHasher()
            hasher.feed(octets[..<split])
            hasher.feed(octets[split...])
            let message = hasher.finish()
            #expect(message.bodyHashes.count == 1)
            let outcomes = await DKIMVerifier.verify(message, lookup: lookup, now: Self.now)
            #expect(outcomes.map(\.result) == [.pass, .pass], "\(split)")
        }
        let hasher = MessageHasher()
        for octet in octets { hasher.feed([octet]) }
        let outcomes = await DKIMVerifier.verify(hasher.finish(), lookup: lookup, now: Self.now)
        #expect(outcomes.map(\.result) == [.pass, .pass])
    }

    @Test func changesAreSeen() async throws {
        let lookup = try zone(DKIMExamples.zone)
        let octets = crlf(DKIMExamples.rfc6376)
        let text = String(decoding: octets, as: UTF8.self)
        for (old, new, reason) in [
            ("hungry", "thirsty", "body"), ("dinner", "supper", "signature"), ("Joe SixPack", "Jack", "signature"),
            ("b=AuUo", "b=BuUo", "signature"),
        ] {
            let changed = Array(text.split(separator: old, maxSplits: 1).joined(separator: new).utf8)
            #expect(changed != octets)
            let outcomes = await verify(changed, lookup)
            #expect(outcomes.map(\.result) == [.fail], "\(old)")
            #expect(outcomes.first?.reason.contains(reason) == true)
        }
        // An unsigned field may come and go.
        let outcomes = await verify(Array("X-New: yes\r\n".utf8) + octets, lookup)
        #expect(outcomes.map(\.result) == [.pass])
    }

    /// A signature of our own, changed before it's verified.
    private func outcome(
        record: String? = nil,
        signature change: (String) -> String = { $0 },
        limits: SignatureLimits = SignatureLimits(),
        prepare: (inout DKIMSigner) -> Void = { _ in }
    ) async throws -> DKIMOutcome? {
        let octets = crlf(DKIMExamples.message)
        var signer = DKIMSigner(NamedKey.rsa.signing.name)
        prepare(&signer)
        let field = try signer.field(
            for: hashed(octets, [signer.bodyHashMethod]),
            now: Self.now,
            by: NamedKey.rsa.signing
        )
        let changed = Array(change(String(decoding: field, as: UTF8.self)).utf8)
        let key = String(decoding: NamedKey.rsa.signing.record.drop { $0 != 0x70 }, as: UTF8.self)
        let text = (record ?? "v=DKIM1; k=rsa; KEY").split(separator: "KEY", omittingEmptySubsequences: false)
            .joined(separator: key)
        let strings = stride(from: 0, to: text.utf8.count, by: 200).map {
            "\"" + String(decoding: text.utf8.dropFirst($0).prefix(200), as: UTF8.self) + "\""
        }
        let lookup = try zone("rsa._domainkey.example.org. TXT \(strings.joined(separator: " "))")
        return await verify(changed + octets, lookup, limits: limits).first
    }

    @Test(arguments: [
        ("v=DKIM1; k=rsa; KEY", DKIMResult.pass, "good"), ("KEY", .pass, "good"), ("h=sha1:sha256; KEY", .pass, "good"),
        ("s=email; KEY", .pass, "good"), ("s=tlsrpt:*; n=hello; x=unknown; KEY", .pass, "good"),
        ("v=DKIM1; k=ed25519; KEY", .permerror, "not for rsa"), ("h=sha1; KEY", .permerror, "SHA-256"),
        ("s=tlsrpt; KEY", .permerror, "not for mail"), ("v=DKIM1; p=", .permerror, "revoked"),
        ("v=DKIM1; k=rsa", .permerror, "no key"), ("v=DKIM2; KEY", .permerror, "v=DKIM1"),
        ("k=rsa; v=DKIM1; KEY", .permerror, "v=DKIM1"), ("v=DKIM1; p=####", .permerror, "base64"),
        ("v=DKIM1; p=AAAA", .permerror, "no RSA key"), ("v=spf1 -all", .permerror, ""),
        ("v=DKIM1; t=s; KEY", .pass, "good"),
    ])
    func keyRecords(_ record: String, _ result: DKIMResult, _ reason: String) async throws {
        let outcome = try await outcome(record: record)
        #expect(outcome?.result == result, "\(outcome?.reason ?? "")")
        #expect(outcome?.reason.contains(reason) == true || reason.isEmpty, "\(outcome?.reason ?? "")")
    }

    /// What d= and s= name is a domain and nothing else, else Authentication-Results would carry what they hold.
    @Test(
        arguments: [
            "d=a.test(.b.test", "d=a.test).b.test", "d=a.test;b", "d=a,b.test", "d=\"a.test\"", "d=a..test",
            "d=.a.test",
            "d=a.test.", "d=a@b.test", "d=a b.test", "d=-a.test", "d=a-.test", "d=a/b.test", "d=a:b.test", "d=<a.test>",
            "d=[192.0.2.1]", "d=a\\.test", "d=a%2Etest", "d=a\u{3002}test", "d=a*.test", "d=a=b.test", "d=a'b.test",
            "s=a(", "s=a)b", "s=a;b", "s=\"a\"", "s=a@b", "s=a..b", "s=.a", "s=a.", "s=-a", "s=a/b", "s=*",
        ]
    )
    func namesAreDomains(tag: String) async throws {
        let isDomain = tag.hasPrefix("d")
        let outcome = try await outcome(signature: {
            $0.replacing(isDomain ? "d=example.org" : "s=rsa", with: tag)
        })
        #expect(outcome?.result != .pass)
        let isWhole =
            outcome?.signature.map { isDomain ? text($0.domain) != "example.org" : text($0.selector) != "rsa" } ?? false
        // A semicolon ends the value, whose beginning may be a domain.
        #expect(!isWhole || tag.contains(";"), "\(outcome?.reason ?? "")")
        let entry = outcome.map { AuthenticationResults.Entry($0) }
        let values = entry?.properties.filter { ["d", "s"].contains(text($0.name)) }.map { text($0.value) } ?? []
        #expect(
            values.allSatisfy { $0?.allSatisfy { "abcdefghijklmnopqrstuvwxyz.".contains($0) } ?? false },
            "\(values)"
        )
    }

    @Test(arguments: ["i=@x(.example.org", "i=a@\"x.example.org", "i=a@example.org)", "i=a@x..example.org"])
    func identitiesAreAtDomains(tag: String) async throws {
        let outcome = try await outcome(signature: { $0.replacing("v=1;", with: "v=1; \(tag);") })
        #expect(outcome?.result == .permerror && outcome?.signature == nil)
    }

    @Test func flagsOfKeys() async throws {
        let below = try await outcome(record: "t=s; KEY", prepare: { $0.identity = Array("a@sub.example.org".utf8) })
        #expect(below?.result == .permerror)
        let fine = try await outcome(prepare: { $0.identity = Array("a@sub.example.org".utf8) })
        #expect(fine?.result == .pass)
        let elsewhere = try await outcome(
            signature: { $0.replacing("i=a@sub.example.org", with: "i=a@example.net") },
            prepare: { $0.identity = Array("a@sub.example.org".utf8) }
        )
        #expect(elsewhere?.reason.contains("i=") == true)
        #expect(elsewhere?.result == .permerror)
        let testing = try await outcome(record: "t=y; KEY", signature: { $0.replacing("bh=", with: "bh=AAAA") })
        #expect(testing?.result == .fail)
        #expect(testing?.isTesting == true)
    }

    /// What is added to a header and is no field would be the body to some.
    @Test(arguments: [
        ("Look here\r\n", false), (" look here\r\n", false), ("Look here: now\r\n", false), (": look\r\n", false),
        ("A\u{1}: b\r\n", false), ("X-Good: fine\r\n", true), ("X-Good : fine\r\n\tand more\r\n", true),
        ("From mailbox Thu Jan  1 00:00:00 2026\r\n", true), ("From mailbox\r\n", true),
        ("From mailbox\r\nLook here\r\n", false),
    ]) func linesThatAreNoFields(_ added: String, _ isFine: Bool) async throws {
        let signed = crlf(DKIMExamples.rfc8463)
        let lookup = try zone(DKIMExamples.zone)
        let wanted: [DKIMResult] = isFine ? [.pass, .pass] : [.permerror]
        #expect(await verify(octets(added) + signed, lookup).map(\.result) == wanted)
        // Not on top, but in the midst or at the end of the header.
        for mark in ["From: ", "\r\n\r\n"] where !added.hasPrefix("From") && !added.hasPrefix(" ") {
            let text = String(decoding: signed, as: UTF8.self)
            let place = try #require(text.firstRange(of: mark)?.lowerBound)
            let isEnd = mark != "From: "
            let changed = text[..<place] + (isEnd ? "\r\n" + added.dropLast() : added) + text[place...]
            #expect(await verify(Array(changed.utf8), lookup).map(\.result) == wanted, "\(changed)")
        }
        let signer = DKIMSigner(NamedKey.ed25519.signing.name)
        let message = hashed(octets(added) + crlf(DKIMExamples.message), [signer.bodyHashMethod])
        #expect(((try? signer.field(for: message, now: 0, by: NamedKey.ed25519.signing)) != nil) == isFine)
    }

    @Test func smallKeys() async throws {
        var limits = SignatureLimits()
        limits.minimumKeyBits = 2048
        let outcome = try await outcome(limits: limits)
        #expect(outcome?.result == .permerror)
        #expect(outcome?.reason.contains("1024 bits") == true)
    }

    @Test(arguments: [
        ("v=1", "v=2", DKIMResult.neutral), ("a=rsa-sha256", "a=rsa-sha1", .permerror),
        ("a=rsa-sha256", "a=rsa-md5", .neutral), ("d=example.org;", "", .permerror),
        ("s=rsa", "s=none", .permerror), ("s=rsa", "s=", .permerror), ("d=example.org", "d=..", .neutral),
        ("from:from:", "", .permerror), ("c=relaxed/relaxed", "c=loose", .neutral), ("t=1600000000", "t=x", .neutral),
        ("t=1600000000", "t=1600000000; x=1500000000", .neutral),
        ("t=1600000000", "t=1500000000;x=1599999000", .policy),
        ("t=1600000000", "t=1600001000", .policy), ("v=1;", "v=1; v=1;", .neutral), ("bh=", "bh=*", .neutral),
        ("v=1;", "v=1; q=http/get;", .neutral), ("v=1;", "v=1; l=99999;", .fail),
        ("v=1;", "v=1; l=99999999999999999999999;", .neutral), ("v=1;", "v=1; unknown=x;", .fail),
        ("v=1;", "v=1; i=@example.com;", .permerror), ("v=1;", "", .permerror), ("v=1;", "nothing;", .neutral),
    ])
    func signatures(_ old: String, _ new: String, _ result: DKIMResult) async throws {
        let outcome = try await outcome(signature: { text in
            let changed = text.replacing(old, with: new)
            #expect(changed != text)
            return changed
        })
        #expect(outcome?.result == result, "\(new): \(outcome?.reason ?? "")")
    }

    @Test func partsOfBodies() async throws {
        let octets = crlf(DKIMExamples.message)
        var signer = DKIMSigner(NamedKey.ed25519.signing.name)
        signer.bodyLength = 20
        let field = try signer.field(
            for: hashed(octets, [signer.bodyHashMethod]),
            now: Self.now,
            by: NamedKey.ed25519.signing
        )
        let longer = field + octets + Array("Buy this!\r\n".utf8)
        let lookup = try NamedKey.zone()
        let outcome = await verify(longer, lookup).first
        #expect(outcome?.result == .pass)
        #expect(outcome?.unsignedOctets ?? 0 > 20)
        #expect(outcome?.reason.contains("unsigned") == true)
        var limits = SignatureLimits()
        limits.requiresWholeBody = true
        #expect(await verify(longer, lookup, limits: limits).first?.result == .policy)
    }

    @Test func lookupsThatFail() async throws {
        let octets = crlf(DKIMExamples.rfc8463)
        let failing = try zone(DKIMExamples.zone, failing: ["test._domainkey.football.example.com"])
        #expect(await verify(octets, failing).map(\.result) == [.pass, .temperror])
        #expect(await verify(octets, try zone("")).map(\.result) == [.permerror, .permerror])
        #expect(await verify(crlf(DKIMExamples.message), failing).isEmpty)
    }

    @Test func severalRecords() async throws {
        let other = NamedKey.zone
        let octets = crlf(DKIMExamples.message)
        let signer = DKIMSigner(NamedKey.rsa.signing.name)
        let field = try signer.field(
            for: hashed(octets, [signer.bodyHashMethod]),
            now: Self.now,
            by: NamedKey.rsa.signing
        )
        let lookup = try other("rsa._domainkey.example.org. TXT \"nothing\"", [])
        #expect(await verify(field + octets, lookup).first?.result == .pass)
    }

    @Test func limits() async throws {
        let lookup = try zone(DKIMExamples.zone)
        let octets = crlf(DKIMExamples.rfc8463)
        let signature = Array(octets.prefix(crlf(DKIMExamples.rfc8463).count - crlf(DKIMExamples.message).count))
        let many = Array((0..<20).map { _ in signature }.joined()) + crlf(DKIMExamples.message)
        let outcomes = await verify(many, lookup)
        #expect(outcomes.count == 11)
        #expect(outcomes.prefix(10).allSatisfy { $0.result == .pass })
        #expect(outcomes.last?.result == .neutral && outcomes.last?.reason.contains("not the 30 below") == true)
        // A header without an end is not kept.
        var limits = SignatureLimits()
        limits.headerOctets = 1000
        let hasher = MessageHasher(limits: limits)
        for _ in 0..<100 { hasher.feed(Array("X-Long: and so on, and so on\r\n".utf8)) }
        let message = hasher.finish()
        #expect(message.isHeaderCut)
        #expect(message.header.octets.count <= 1000)
        let cut = await DKIMVerifier.verify(message, lookup: lookup, now: 0, limits: limits)
        #expect(cut.map(\.result) == [.permerror])
        #expect(DMARCAuthor(message) == .tooLong)
        // As many ways to hash a body as there are signatures.
        let bodies = (0..<20).map { length in
            String(decoding: signature, as: UTF8.self).replacing("v=1;", with: "v=1; l=\(length);")
        }
        #expect(hashed(Array(bodies.joined().utf8) + crlf(DKIMExamples.message)).bodyHashes.count <= 8)
    }

    @Test func copiesNameWhatChanged() async throws {
        let octets = crlf(DKIMExamples.message)
        var signer = DKIMSigner(NamedKey.rsa.signing.name)
        signer.copiesFields = true
        let field = try signer.field(
            for: hashed(octets, [signer.bodyHashMethod]),
            now: Self.now,
            by: NamedKey.rsa.signing
        )
        let lookup = try NamedKey.zone()
        #expect(await verify(field + octets, lookup).first?.result == .pass)
        let changed = String(decoding: octets, as: UTF8.self).replacing("dinner", with: "supper")
        let outcome = await verify(field + Array(changed.utf8), lookup).first
        #expect(outcome?.result == .fail)
        #expect(outcome?.changedFields.map { String(decoding: $0, as: UTF8.self) } == ["Subject"])
    }

    @Test func internationalDomains() async throws {
        guard let key = PrivateKey.generate(.ed25519) else { return }
        let signing = try SigningKey(domain: Array("bücher.example".utf8), selector: Array("straße".utf8), key: key)
        let octets = crlf(DKIMExamples.message)
        let signer = DKIMSigner(signing.name)
        let field = try signer.field(for: hashed(octets, [signer.bodyHashMethod]), now: Self.now, by: signing)
        let record = String(decoding: signing.record, as: UTF8.self)
        let lookup = try zone("xn--strae-oqa._domainkey.xn--bcher-kva.example. TXT \"\(record)\"")
        let outcome = await verify(field + octets, lookup).first
        #expect(outcome?.result == .pass, "\(outcome?.reason ?? "")")
    }

    @Test func randomChangesNeverTrap() async throws {
        var generator = FixedGenerator(6376)
        let lookup = try zone(DKIMExamples.zone)
        let octets = crlf(DKIMExamples.rfc8463)
        let record = Array("v=DKIM1; h=sha256; k=rsa; n=a=20b; s=email; t=y:s; p=11qYAYKxCrfV".utf8)
        var passes = 0
        for _ in 0..<1500 {
            let outcomes = await verify(mutated(octets, &generator), lookup)
            passes += outcomes.count { $0.result == .pass }
            _ = try? DKIMKeyRecord(mutated(record, &generator)).publicKey(for: .rsaSHA256, limits: SignatureLimits())
        }
        #expect(passes < 1500)
    }
}
