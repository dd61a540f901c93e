import MIME
import MailAuth
import Testing

struct ARCTests {
    private static let now = 1_600_000_000
    private static let results = AuthenticationResults(
        authservID: Array("mx.example.org".utf8),
        entries: [
            .init(method: "spf", result: "pass", properties: [.init("smtp", "mailfrom", Array("a@b.example".utf8))])
        ]
    )

    private func validate(_ octets: [UInt8], failing: [String] = []) async throws -> ARCOutcome {
        await ARCValidator.validate(hashed(octets), lookup: try NamedKey.zone(failing: failing), now: Self.now)
    }

    private func sealed(_ octets: [UInt8], _ key: NamedKey) async throws -> [UInt8] {
        let sealer = ARCSealer(key.signing.name)
        let outcome = try await validate(octets)
        let message = hashed(octets, [sealer.bodyHashMethod])
        return try sealer.fields(for: message, after: outcome, results: Self.results, now: Self.now, by: key.signing)
            + octets
    }

    private func chain(_ hops: Int) async throws -> [UInt8] {
        var octets = crlf(DKIMExamples.message)
        for hop in 0..<hops {
            octets = Array("Received: by hop\(hop).example.org\r\n".utf8) + octets
            octets = try await sealed(octets, hop % 2 == 0 ? .rsa : .ed25519)
        }
        return octets
    }

    @Test func chains() async throws {
        #expect(try await validate(crlf(DKIMExamples.message)).result == .none)
        for hops in [1, 2, 5] {
            let outcome = try await validate(try await chain(hops))
            #expect(outcome.result == .pass, "\(outcome.reason)")
            #expect(outcome.chain.sets.map(\.instance) == Array(1...hops))
            #expect(outcome.oldestPass == 0)
            #expect(outcome.seals.map(\.instance) == Array(1...hops).reversed())
        }
    }

    @Test func fiftySets() async throws {
        let octets = try await chain(50)
        let outcome = try await validate(octets)
        #expect(outcome.result == .pass, "\(outcome.reason)")
        await #expect(throws: ARCSealingError.chainIsAtItsEnd) { try await sealed(octets, .rsa) }
    }

    @Test func changedBodies() async throws {
        // Changed before the last hop sealed it: the chain holds, but only from there.
        let changed = try await chain(2) + Array("A footer.\r\n".utf8)
        let broken = try await validate(changed)
        #expect(broken.result == .fail)
        #expect(broken.reason.contains("i=2"))
        let first = try await chain(1)
        let sealer = ARCSealer(NamedKey.rsa.signing.name)
        let outcome = try await validate(first)
        let footer = first + Array("A footer.\r\n".utf8)
        let fields = try sealer.fields(
            for: hashed(footer, [sealer.bodyHashMethod]),
            after: outcome,
            results: Self.results,
            now: Self.now,
            by: NamedKey.rsa.signing
        )
        let later = try await validate(fields + footer)
        #expect(later.result == .pass, "\(later.reason)")
        #expect(later.oldestPass == 2)
    }

    @Test(arguments: [
        ("i=2; a", "i=3; a", "not complete"), ("cv=pass", "cv=none", "cv="), ("cv=none", "cv=pass", "cv="),
        ("cv=none", "cv=fail", "cv="), ("cv=pass", "cv=fail", "broken"), ("cv=pass", "cv=good", "cv="),
        ("spf=pass", "spf=fail", "seal of instance"), ("ARC-Seal: i=2", "ARC-Seal: i=0", "no instance"),
        ("ARC-Seal: i=2", "ARC-Seal: i=1", "two fields"), ("ARC-Seal: i=2;", "ARC-Seal: i=2; h=from;", "h="),
        ("ARC-Seal: i=2", "X-Seal: i=2", "not complete"), ("i=2; mx", "x=2; mx", "no instance"),
        ("hungry", "thirsty", "body"), ("ARC-Seal: i=2;", "ARC-Seal: i=2; new=1;", "seal of instance 2"),
        ("Is dinner", "Was dinner", "signature"), ("From: ", "Look here\r\nFrom: ", "no field"),
        ("h=from", "h=arc-seal:from", "ARC-Seal"),
    ])
    func broken(_ old: String, _ new: String, _ reason: String) async throws {
        let text = String(decoding: try await chain(2), as: UTF8.self)
        let parts = text.split(separator: old, maxSplits: 1, omittingEmptySubsequences: false)
        #expect(parts.count == 2)
        let outcome = try await validate(Array(parts.joined(separator: new).utf8))
        #expect(outcome.result == .fail)
        #expect(outcome.reason.contains(reason), "\(outcome.reason)")
        #expect(!outcome.isTemporary)
    }

    @Test func failureIsSealedOnce() async throws {
        let broken = try await chain(2) + Array("A footer.\r\n".utf8)
        let octets = try await sealed(broken, .ed25519)
        let outcome = try await validate(octets)
        #expect(outcome.result == .fail)
        #expect(outcome.endsInFailure)
        #expect(String(decoding: octets, as: UTF8.self).contains("cv=fail"))
        await #expect(throws: ARCSealingError.chainIsAtItsEnd) { try await sealed(octets, .rsa) }
    }

    /// However the chain was broken: a gap, a field twice, a seal that can't be read.
    @Test(arguments: [("ARC-Seal: i=1", "X-Seal: i=1"), ("i=1; mx", "i=2; mx"), ("cv=none", "cv=else")])
    func unsoundChainsAreSealedOnce(_ old: String, _ new: String) async throws {
        let text = String(decoding: try await chain(2), as: UTF8.self)
        let parts = text.split(separator: old, maxSplits: 1, omittingEmptySubsequences: false)
        #expect(parts.count == 2)
        let octets = try await sealed(Array(parts.joined(separator: new).utf8), .ed25519)
        #expect(try await validate(octets).endsInFailure)
        await #expect(throws: ARCSealingError.chainIsAtItsEnd) { try await sealed(octets, .rsa) }
    }

    @Test func lookupsThatFail() async throws {
        let outcome = try await validate(try await chain(2), failing: ["rsa._domainkey.example.org"])
        #expect(outcome.result == .fail)
        #expect(outcome.isTemporary)
    }

    @Test func fields() async throws {
        let header = HeaderBlock(try await chain(1))
        let value = try #require(header.first("arc-authentication-results"))
        let payload = try #require(ARCAuthenticationResults.payload(value[...]))
        #expect(try AuthenticationResults(field: payload) == Self.results)
        #expect(header.first("arc-seal")?.starts(with: Array("i=1; a=rsa-sha256; cv=none;".utf8)) == true)
    }

    /// RFC 8617 appendix B.2 shows this set; its keys are nowhere published.
    @Test func publishedExample() async throws {
        let text = """
            ARC-Seal: i=1; a=rsa-sha256; cv=none; d=lists.example.org; s=dk-lists; t=12345;
             b=QUJD
            ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=lists.example.org; s=dk-lists; t=12345;
             h=List-ID:DKIM-Signature:From:To:Date:Subject:Message-ID; bh=QUJD; b=QUJD
            ARC-Authentication-Results: i=1; lists.example.org;
             spf=pass smtp.mfrom=jqd@d1.example;
             dkim=pass (1024-bit key) header.i=@d1.example;
             dmarc=pass
            From: jqd@d1.example

            """
        let outcome = try await validate(crlf(text))
        #expect(outcome.chain.sets.count == 1)
        #expect(outcome.result == .fail)
        #expect(outcome.reason.contains("there is no key at dk-lists._domainkey.lists.example.org"))
    }

    @Test func randomChangesNeverTrap() async throws {
        var generator = FixedGenerator(8617)
        let lookup = try NamedKey.zone()
        let octets = try await chain(3)
        let header = octets.count - crlf(DKIMExamples.message).count
        for _ in 0..<500 {
            let changed = mutated(Array(octets[..<header]), &generator) + octets[header...]
            _ = await ARCValidator.validate(hashed(changed), lookup: lookup, now: Self.now)
        }
    }
}
