import Cryptography
import MIME
import MailAuth
import Testing

struct DKIMSignerTests {
    private static let now = 1_600_000_000

    @Test(arguments: Canonicalization.allCases, Canonicalization.allCases)
    func roundTrips(_ header: Canonicalization, _ body: Canonicalization) async throws {
        let lookup = try NamedKey.zone()
        let messages = [
            DKIMExamples.message, "From: a@example.org\n\n", "From: a@example.org\n",
            "From:\n\ta@example.org\n\n\n\n \n\nx",
            "X: \u{e9}\nFrom: \u{e9} <a@example.org>\nFrom: b@example.org\n\n\tx  y \n.\n\n",
        ]
        for text in messages {
            let octets = crlf(text)
            var fields: [UInt8] = []
            for key in [NamedKey.rsa, NamedKey.ed25519] {
                var signer = DKIMSigner(key.signing.name)
                signer.headerCanonicalization = header
                signer.bodyCanonicalization = body
                signer.lifetime = 600
                signer.identity = Array("who = ever;@mail.example.org".utf8)
                fields += try signer.field(for: hashed(octets, [signer.bodyHashMethod]), now: Self.now, by: key.signing)
            }
            let outcomes = await DKIMVerifier.verify(hashed(fields + octets), lookup: lookup, now: Self.now + 5)
            #expect(outcomes.map(\.result) == [.pass, .pass], "\(text): \(outcomes.map(\.reason))")
            #expect(MailAuthTests.text(outcomes.first?.signature?.identity) == "who = ever;@mail.example.org")
            #expect(outcomes.first?.signature?.expiresAt == Self.now + 600)
            let late = await DKIMVerifier.verify(hashed(fields + octets), lookup: lookup, now: Self.now + 6000)
            #expect(late.map(\.result) == [.policy, .policy])
        }
    }

    @Test func linesAreShort() throws {
        let octets = crlf(DKIMExamples.message)
        let signer = DKIMSigner(NamedKey.rsa.signing.name)
        let field = try signer.field(
            for: hashed(octets, [signer.bodyHashMethod]),
            now: Self.now,
            by: NamedKey.rsa.signing
        )
        let lines = String(decoding: field, as: UTF8.self).split(separator: "\r\n")
        #expect(lines.count > 5)
        #expect(lines.allSatisfy { $0.utf8.count <= 78 })
    }

    @Test func addedFieldsBreakSignatures() async throws {
        let octets = crlf(DKIMExamples.message)
        let signer = DKIMSigner(NamedKey.ed25519.signing.name)
        let field = try signer.field(
            for: hashed(octets, [signer.bodyHashMethod]),
            now: Self.now,
            by: NamedKey.ed25519.signing
        )
        let lookup = try NamedKey.zone()
        for name in ["From", "Subject", "Reply-To", "Content-Type"] {
            let added = Array("\(name): another\r\n".utf8) + field + octets
            let outcomes = await DKIMVerifier.verify(hashed(added), lookup: lookup, now: Self.now)
            #expect(outcomes.map(\.result) == [.fail], "\(name)")
        }
        for name in ["Received", "List-Id"] {
            let added = Array("\(name): another\r\n".utf8) + field + octets
            let outcomes = await DKIMVerifier.verify(hashed(added), lookup: lookup, now: Self.now)
            #expect(outcomes.map(\.result) == [.pass], "\(name)")
        }
    }

    @Test func whatCannotBeSigned() throws {
        let signer = DKIMSigner(NamedKey.ed25519.signing.name)
        #expect(throws: DKIMSigningError.badHeader) {
            try signer.field(
                for: hashed(Array("To: a\r\n\r\n".utf8), [signer.bodyHashMethod]),
                now: 0,
                by: NamedKey.ed25519.signing
            )
        }
        #expect(throws: DKIMSigningError.noBodyHash) {
            try signer.field(for: hashed(crlf(DKIMExamples.message)), now: 0, by: NamedKey.ed25519.signing)
        }
        for identity in ["alice@example.net", "alice", "alice@", "@xample.org", "alice@example.org.", ""] {
            var other = signer
            other.identity = octets(identity)
            #expect(throws: DKIMSigningError.badIdentity) {
                try other.field(
                    for: hashed(crlf(DKIMExamples.message), [other.bodyHashMethod]),
                    now: 0,
                    by: NamedKey.ed25519.signing
                )
            }
        }
        let key = try #require(PrivateKey.generate(.ed25519))
        let weak = try #require(PrivateKey.generate(.ecdsaP256))
        for (domain, selector) in [("", "a"), ("a..b", "s"), ("example.org", "s;x=y"), ("example.org", "a b")] {
            #expect(throws: DKIMSigningError.badName) {
                try SigningKey(domain: Array(domain.utf8), selector: Array(selector.utf8), key: key)
            }
        }
        #expect(throws: DKIMSigningError.badKey) {
            try SigningKey(domain: Array("example.org".utf8), selector: Array("s".utf8), key: weak)
        }
    }

    @Test func recordsAreSplit() throws {
        let key = try #require(PrivateKey.generate(.rsa, bits: 2048))
        let signing = try SigningKey(domain: Array("example.org".utf8), selector: Array("s1".utf8), key: key)
        let line = String(decoding: signing.masterFileLine, as: UTF8.self)
        #expect(line.hasPrefix("s1._domainkey.example.org. IN TXT ( \"v=DKIM1; k=rsa; p="))
        let strings = line.split(separator: "\"").enumerated().filter { $0.offset % 2 == 1 }.map(\.element.utf8.count)
        #expect(strings.count == 2)
        #expect(strings.allSatisfy { $0 <= 255 })
        let record = try DKIMKeyRecord(signing.record)
        #expect(try record.publicKey(for: .rsaSHA256, limits: SignatureLimits()).bits == 2048)
    }
}
