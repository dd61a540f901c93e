import Encodings
import SASL
import Testing

/// The client's sides, against the examples of the RFCs and against the servers here.
@Suite struct ClientTests {
    private static let password = SASLEvidence.password(PasswordCredentials(user: "user", password: "pencil"))
    private static let token = SASLEvidence.token(TokenCredentials(user: "user@example.com", token: "abc.DEF="))

    private func client(
        _ name: SASLMechanismName,
        _ evidence: SASLEvidence = password,
        nonce: String = "fyko+d2lbbFgONRv9qkxdawL"
    ) throws -> SASLClient {
        try SASLClient(name, evidence, nonce: Array(nonce.utf8), host: ("mx.example.net", 587))
    }

    private func text(_ octets: [UInt8]?) -> String? { octets.map { String(decoding: $0, as: UTF8.self) } }

    /// RFC 5802 §5
    @Test func exampleOfSHA1() throws {
        var client = try client(.scramSHA1)
        #expect(text(client.initial) == "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")
        let challenge = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
        #expect(
            text(try client.respond(to: Array(challenge.utf8)))
                == "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        )
        #expect(!client.mayEnd)
        #expect(try client.respond(to: Array("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=".utf8)) == [])
        #expect(client.mayEnd)
    }

    @Test(arguments: ["v=rmF9pqV8S7suAoZWja4dJRkFsKR=", "v=", "e=other-error", ""])
    func serverThatDoesNotKnowThePasswordIsAnother(_ last: String) throws {
        var client = try client(.scramSHA1)
        let challenge = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
        _ = try client.respond(to: Array(challenge.utf8))
        #expect(throws: SASLClientFault.serverNotProven) { try client.respond(to: Array(last.utf8)) }
        #expect(!client.mayEnd)
    }

    /// Neither another's nonce nor iterations that protect nothing or take for ever.
    @Test(arguments: [
        "r=other,s=QSXCR+Q6sek8bf92,i=4096", "r=fyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096",
        "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=1",
        "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=999999999",
        "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=-4096", "r=fyko+d2lbbFgONRv9qkxdawLx,s=,i=4096",
        "m=x,r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=4096", "", ",,,", "r=,s=,i=",
    ])
    func badChallengesAreNotAnswered(_ challenge: String) throws {
        var client = try client(.scramSHA256)
        #expect(throws: SASLClientFault.malformed) { try client.respond(to: Array(challenge.utf8)) }
    }

    @Test(arguments: [(SASLMechanismName.scramSHA1, ScramHash.sha1), (.scramSHA256, .sha256)])
    func serversHereTakeIt(_ name: SASLMechanismName, _ hash: ScramHash) throws {
        let evidence = SASLEvidence.password(PasswordCredentials(user: "a=b,c@example.test", password: "pässword"))
        let verifier = try #require(ScramVerifier(password: "pässword", salt: Array(0..<16), iterations: 4096))
        var client = try client(name, evidence)
        var server = ScramServer(
            ScramMechanism(hash, isPlus: false),
            bindings: ChannelBindings(),
            nonce: Array("server".utf8)
        )
        #expect(try server.begin(try #require(client.initial)).user == "a=b,c@example.test")
        let answer = try client.respond(to: server.challenge(salt: verifier.salt, iterations: 4096))
        let confirmation = try #require(try server.finish(answer).confirmation(by: verifier.keys(hash)))
        #expect(try client.respond(to: confirmation) == [] && client.mayEnd)
    }

    @Test func whatIsSaidAtOnce() throws {
        #expect(text(try client(.plain).initial) == "\0user\0pencil")
        #expect(
            text(try client(.xoauth2, Self.token).initial) == "user=user@example.com\u{1}auth=Bearer abc.DEF=\u{1}\u{1}"
        )
        let bearer = "n,a=user@example.com,\u{1}host=mx.example.net\u{1}port=587\u{1}auth=Bearer abc.DEF=\u{1}\u{1}"
        #expect(text(try client(.oauthBearer, Self.token).initial) == bearer)
        var mechanism = OAuthBearerMechanism()
        #expect(mechanism.respond(to: Array(bearer.utf8)) == .evidence(Self.token))
    }

    @Test func loginAnswersTwoQuestions() throws {
        var client = try client(.login)
        #expect(client.initial == nil && !client.mayEnd)
        #expect(text(try client.respond(to: Array("Username:".utf8))) == "user")
        #expect(text(try client.respond(to: Array("Password:".utf8))) == "pencil")
        #expect(client.mayEnd)
        #expect(throws: SASLClientFault.malformed) { try client.respond(to: []) }
    }

    @Test func evidenceGoesWithItsMechanism() {
        for (name, evidence) in [
            (SASLMechanismName.plain, Self.token), (.xoauth2, Self.password), (.external, Self.password),
            (.scramSHA256Plus, Self.password),
        ] {
            #expect(throws: SASLClientFault.unfit) { try client(name, evidence) }
        }
    }
}
