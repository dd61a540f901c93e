import Cryptography
import Encodings
import LoginClients
import Testing

@testable import JWT

@Suite struct TokenTests {
    private static let requirements = TokenRequirements(issuer: "https://id.example", audiences: ["mail", "other"])
    private static let now = 1_700_000_000

    private static func claims(_ more: String = "", expiry: Int = now + 300) -> String {
        let verified = more.contains("email_verified") ? "" : ",\"email_verified\":true"
        return "{\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":\(expiry),"
            + "\"email\":\"alice@example.test\"\(verified)\(more)}"
    }

    private static func check(
        _ token: String,
        _ keys: KeySet,
        _ requirements: TokenRequirements = requirements
    ) -> Result<String, JWTFault> {
        Result { () throws(JWTFault) in try requirements.account(of: token, keys: keys, now: now) }
    }

    @Test(arguments: [
        (KeyKind.rsa, "RS256"), (.ecdsaP256, "ES256"), (.ecdsaP384, "ES384"), (.ed25519, "EdDSA"), (.ed448, "EdDSA"),
    ])
    func signedTokensAreGood(kind: KeyKind, algorithm: String) throws {
        let issuer = TestToken(key: try #require(PrivateKey.generate(kind)), algorithm: algorithm)
        let keys = try KeySet(json: TestToken.set(issuer.member()))
        let token = issuer.signed(Self.claims())
        #expect(Self.check(token, keys) == .success("alice@example.test"))
        let stranger = TestToken(key: try #require(PrivateKey.generate(kind)), algorithm: algorithm)
        #expect(Self.check(stranger.signed(Self.claims()), keys) == .failure(.signature))
        // A change of any part.
        var parts = token.split(separator: ".").map(String.init)
        parts[1] = TestToken.encode(Self.claims(",\"x\":1").utf8)
        #expect(Self.check(parts.joined(separator: "."), keys) == .failure(.signature))
    }

    /// RFC 7520 §4.2: PS384 and the key of §3.4, made by others.
    @Test func exampleOfPSS() throws {
        let keys = try KeySet(
            json: Array(
                """
                {"keys":[{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig",\
                "n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}]}
                """.utf8
            )
        )
        let message =
            "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9."
            + "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9h"
            + "ZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3"
            + "ZXB0IG9mZiB0by4"
        let signature =
            "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6"
            + "_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3"
            + "lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6G"
            + "YmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"
        // Its payload is no set of claims: the signature was right when that is what is wrong.
        #expect(Self.check("\(message).\(signature)", keys) == .failure(.malformed))
        let wrong = signature.replacing("cu22", with: "cu23")
        #expect(Self.check("\(message).\(wrong)", keys) == .failure(.signature))
    }

    private func issuer(_ change: (inout TestToken) -> Void = { _ in }) throws -> TestToken {
        var issuer = TestToken(key: try #require(PrivateKey.generate(.ecdsaP256)))
        change(&issuer)
        return issuer
    }

    @Test func claimsAreChecked() throws {
        let issuer = try issuer()
        let keys = try KeySet(json: TestToken.set(issuer.member()))
        let cases: [(String, Result<String, JWTFault>)] = [
            (Self.claims(expiry: Self.now - 59), .success("alice@example.test")),
            (Self.claims(expiry: Self.now - 60), .failure(.expired)),
            (Self.claims(",\"nbf\":\(Self.now + 60)"), .success("alice@example.test")),
            (Self.claims(",\"nbf\":\(Self.now + 61)"), .failure(.notYet)),
            (Self.claims(",\"email_verified\":true"), .success("alice@example.test")),
            (Self.claims(",\"email_verified\":\"true\""), .success("alice@example.test")),
            (Self.claims().replacing(",\"email_verified\":true", with: ""), .failure(.unverified("email"))),
            (Self.claims(",\"email_verified\":false"), .failure(.unverified("email"))),
            (Self.claims(",\"email_verified\":\"false\""), .failure(.unverified("email"))),
            (Self.claims().replacing("id.example\"", with: "id.example/\""), .failure(.issuer)),
            (Self.claims().replacing("\"mail\"", with: "\"web\""), .failure(.audience)),
            (Self.claims().replacing("\"mail\"", with: "[\"web\",\"other\"]"), .success("alice@example.test")),
            (Self.claims().replacing("\"mail\"", with: "[]"), .failure(.audience)),
            (Self.claims().replacing("\"exp\"", with: "\"expo\""), .failure(.claim("exp"))),
            (Self.claims().replacing("\"email\"", with: "\"mail\""), .failure(.claim("email"))),
            (Self.claims().replacing("\"alice@example.test\"", with: "7"), .failure(.claim("email"))),
            (Self.claims().replacing("\"alice@example.test\"", with: "\"\""), .failure(.claim("email"))),
            ("[]", .failure(.malformed)), ("", .failure(.malformed)), ("null", .failure(.malformed)),
        ]
        for (claims, result) in cases { #expect(Self.check(issuer.signed(claims), keys) == result, "\(claims)") }
        var picky = Self.requirements
        picky.scope = "imap"
        #expect(Self.check(issuer.signed(Self.claims()), keys, picky) == .failure(.scope))
        for scope in [",\"scope\":\"openid imap\"", ",\"scp\":[\"imap\"]"] {
            #expect(Self.check(issuer.signed(Self.claims(scope)), keys, picky) == .success("alice@example.test"))
        }
    }

    /// `none`, and a shared secret that everybody has: the public key (RFC 8725 §2.1).
    @Test func otherAlgorithmsAreRefused() throws {
        let issuer = try issuer()
        let keys = try KeySet(json: TestToken.set(issuer.member()))
        for algorithm in ["none", "None", "HS256", "HS512", "RS1", ""] {
            let message =
                TestToken.encode("{\"alg\":\"\(algorithm)\",\"kid\":\"k1\"}".utf8) + "."
                + TestToken.encode(Self.claims().utf8)
            let code = MessageAuthentication.code(
                of: Array(message.utf8),
                key: issuer.key.publicKey?.subjectPublicKeyInfo ?? [],
                using: .sha256
            )
            for signature in ["", TestToken.encode(code)] {
                #expect(Self.check("\(message).\(signature)", keys) == .failure(.algorithm(algorithm)))
            }
        }
        // One that doesn't go with the key.
        let other = try self.issuer { $0.algorithm = "RS256" }
        #expect(Self.check(other.signed(Self.claims()), keys) == .failure(.unknownKey))
    }

    @Test func keysAreFoundByName() throws {
        let (first, second) = (try issuer(), try issuer { $0.identifier = "k2" })
        let nameless = TestToken(key: first.key, identifier: nil)
        let both = try KeySet(json: TestToken.set(first.member(), second.member()))
        let one = try KeySet(json: TestToken.set(first.member()))
        #expect(Self.check(second.signed(Self.claims()), both) == .success("alice@example.test"))
        #expect(Self.check(second.signed(Self.claims()), one) == .failure(.unknownKey))
        #expect(Self.check(nameless.signed(Self.claims()), one) == .success("alice@example.test"))
        #expect(Self.check(nameless.signed(Self.claims()), both) == .failure(.unknownKey))
        let bound = try KeySet(json: TestToken.set(first.member(",\"alg\":\"ES384\"")))
        #expect(Self.check(first.signed(Self.claims()), bound) == .failure(.unknownKey))
        for kind in ["JWT", "at+jwt", "application/at+JWT"] {
            let token = TestToken(key: first.key, header: ",\"typ\":\"\(kind)\"").signed(Self.claims())
            #expect(Self.check(token, one) == .success("alice@example.test"))
        }
        let logout = TestToken(key: first.key, header: ",\"typ\":\"logout+jwt\"")
        #expect(Self.check(logout.signed(Self.claims()), one) == .failure(.kind("logout+jwt")))
        let critical = TestToken(key: first.key, header: ",\"crit\":[\"b64\"],\"b64\":false")
        #expect(Self.check(critical.signed(Self.claims()), one) == .failure(.critical))
    }

    @Test(arguments: [
        "", ".", "..", "...", "a.b", "a.b.c", "eyJhbGciOiJFUzI1NiJ9..", "eyJhbGciOiJFUzI1NiJ9.e30.=", "e30.e30.e30",
        "eyJhbGciOjF9.e30.AA", "eyJ\u{e9}.e30.AA",
    ])
    func malformedTokens(token: String) throws {
        let keys = try KeySet(json: TestToken.set(try issuer { $0.identifier = nil }.member()))
        guard case .failure(let fault) = Self.check(token, keys) else {
            Issue.record("taken")
            return
        }
        #expect(fault == .malformed || fault == .signature && token.hasPrefix("eyJhbGciOiJFUzI1NiJ9"))
    }

    @Test func aTokenIsBounded() throws {
        let issuer = try issuer()
        let keys = try KeySet(json: TestToken.set(issuer.member()))
        let long = issuer.signed(Self.claims(",\"x\":\"\(String(repeating: "x", count: 7000))\""))
        #expect(Self.check(long, keys) == .failure(.malformed))
    }

    @Test func keySetsKeepWhatTheyKnow() throws {
        let known = try issuer()
        let small = TestToken(key: try #require(PrivateKey.generate(.rsa, bits: 1024)))
        let keys = try KeySet(
            json: TestToken.set(
                known.member(),
                known.member(",\"use\":\"enc\""),
                "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
                "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
                "7",
                small.member()
            )
        )
        #expect(keys.count == 1)
        for json in [
            "", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[7]}", "{\"keys\":[{\"kty\":\"oct\"}]}",
        ] {
            #expect(throws: JWTFault.self) { try KeySet(json: Array(json.utf8)) }
        }
    }
}
