import SASL
import Testing

@Suite struct MechanismTests {
    private let evidence = SASLStep.evidence(
        .password(PasswordCredentials(user: "alice@example.test", password: "se cret"))
    )

    @Test func plain() {
        for authorization in ["", "alice@example.test"] {
            var mechanism = SASLMechanisms.begin(.plain)
            #expect(mechanism?.firstChallenge == [])
            let response = Array("\(authorization)\0alice@example.test\0se cret".utf8)
            #expect(mechanism?.respond(to: response) == evidence)
        }
    }

    @Test(arguments: ["", "\0", "\0\0", "\0a\0", "\0\0b", "b\0a\0c", "\0a\0b\0c", "a\0b"])
    func malformedPlain(response: String) {
        var mechanism = PlainMechanism()
        #expect(mechanism.respond(to: Array(response.utf8)) == .malformed)
    }

    @Test func plainRefusesWhatIsNotText() {
        var mechanism = PlainMechanism()
        #expect(mechanism.respond(to: [0, 0xFF, 0, 0x61]) == .malformed)
        #expect(mechanism.respond(to: [0] + [UInt8](repeating: 0x61, count: 5000) + [0, 0x61]) == .malformed)
    }

    @Test func login() {
        var mechanism = SASLMechanisms.begin(.login)
        #expect(mechanism?.firstChallenge == Array("Username:".utf8))
        #expect(mechanism?.respond(to: Array("alice@example.test".utf8)) == .challenge(Array("Password:".utf8)))
        #expect(mechanism?.respond(to: Array("se cret".utf8)) == evidence)
        var empty = LoginMechanism()
        #expect(empty.respond(to: []) == .malformed)
    }

    @Test func namesAreThoseOfTheRegistry() {
        #expect(SASLMechanismName(rawValue: "CRAM-MD5") == nil)
        #expect(SASLMechanismName.allCases.first == .scramSHA256Plus)
        #expect(SASLMechanismName.allCases.last == .login)
        for name in SASLMechanismName.allCases {
            // RFC 4422 §3.1
            #expect((1...20).contains(name.rawValue.utf8.count))
            if case .scram = name.need {
                #expect(SASLMechanisms.begin(name) == nil)
            } else {
                #expect(SASLMechanisms.begin(name)?.firstChallenge != nil)
            }
        }
    }

    @Test func external() {
        var mechanism = ExternalMechanism()
        #expect(mechanism.respond(to: []) == .evidence(.certificate(authorization: nil)))
        let response = Array("alice@example.test".utf8)
        #expect(mechanism.respond(to: response) == .evidence(.certificate(authorization: "alice@example.test")))
        #expect(mechanism.respond(to: [0x61, 0]) == .malformed)
        #expect(mechanism.respond(to: [0xFF]) == .malformed)
    }

    // MARK: Tokens

    /// RFC 7628 §4.1
    @Test func oauthBearer() {
        var mechanism = OAuthBearerMechanism()
        let message =
            "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=143\u{1}"
            + "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}"
        #expect(
            mechanism.respond(to: Array(message.utf8))
                == .evidence(
                    .token(
                        TokenCredentials(
                            user: "user@example.com",
                            token: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
                        )
                    )
                )
        )
        let nameless = Array("n,,\u{1}auth=bearer a.b.c\u{1}\u{1}".utf8)
        #expect(
            mechanism.respond(to: nameless) == .evidence(.token(TokenCredentials(user: nil, token: "a.b.c")))
        )
        // §4.3: a client that only wants to know where to get a token.
        for message in ["n,,\u{1}auth=\u{1}\u{1}", "y,a=me,\u{1}\u{1}", "n,,\u{1}host=x\u{1}\u{1}"] {
            #expect(mechanism.respond(to: Array(message.utf8)) == .inquiry)
        }
    }

    @Test(arguments: [
        "", "n", "n,", "n,,", "n,,\u{1}", "n,,\u{1}auth=Bearer x\u{1}", "n,,\u{1}auth=Basic x\u{1}\u{1}",
        "n,,auth=Bearer x\u{1}\u{1}", "n,,\u{1}auth=Bearer x", "n,,\u{1}auth=Bearer \u{1}\u{1}",
        "n,,\u{1}auth=Bearer a b\u{1}\u{1}", "n,,\u{1}auth=Bearer a\u{1}auth=Bearer b\u{1}\u{1}",
        "p=tls-exporter,,\u{1}auth=Bearer x\u{1}\u{1}", "n,user,\u{1}auth=Bearer x\u{1}\u{1}",
        "n,a=a=2X,\u{1}auth=Bearer x\u{1}\u{1}", "x,,\u{1}auth=Bearer x\u{1}\u{1}",
        "n,,\u{1}1=x\u{1}auth=Bearer x\u{1}\u{1}", "n,,\u{1}auth=Bearer ==\u{1}\u{1}",
    ])
    func malformedOAuthBearer(message: String) {
        var mechanism = OAuthBearerMechanism()
        let step = mechanism.respond(to: Array(message.utf8))
        #expect(step == .malformed)
    }

    @Test func xoauth2() {
        var mechanism = XOAuth2Mechanism()
        let message =
            "user=someuser@example.com\u{1}auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\u{1}\u{1}"
        #expect(
            mechanism.respond(to: Array(message.utf8))
                == .evidence(
                    .token(
                        TokenCredentials(
                            user: "someuser@example.com",
                            token: "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
                        )
                    )
                )
        )
        for message in ["", "user=a\u{1}\u{1}", "auth=Bearer x\u{1}\u{1}", "user=\u{1}auth=Bearer x\u{1}\u{1}"] {
            #expect(mechanism.respond(to: Array(message.utf8)) == .malformed)
        }
    }

    @Test func aTokenIsBounded() {
        var mechanism = XOAuth2Mechanism()
        func message(_ count: Int) -> [UInt8] {
            Array("user=a\u{1}auth=Bearer \(String(repeating: "x", count: count))\u{1}\u{1}".utf8)
        }
        #expect(mechanism.respond(to: message(TokenCredentials.maximumToken)) != .malformed)
        #expect(mechanism.respond(to: message(TokenCredentials.maximumToken + 1)) == .malformed)
    }

    /// RFC 7628 §3.2.2
    @Test func refusedTokensAreToldWhere() {
        let hint = TokenHint(configuration: "https://id.example/\"x\"\\", scope: "mail")
        let json = OAuthBearerMechanism().refusal(hint).map { String(decoding: $0, as: UTF8.self) }
        #expect(
            json == #"{"status":"invalid_token","schemes":"bearer","scope":"mail","#
                + #""openid-configuration":"https://id.example/\"x\"\\"}"#
        )
        let plain = XOAuth2Mechanism().refusal(TokenHint()).map { String(decoding: $0, as: UTF8.self) }
        #expect(plain == #"{"status":"401","schemes":"bearer"}"#)
        #expect(PlainMechanism().refusal(hint) == nil)
    }
}
