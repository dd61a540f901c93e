import SASL
import Testing

@Suite struct MechanismTests {
    private let evidence = SASLStep.evidence(
        .password(PasswordCredentials(user: "alice@example.test", password: "se cret"))
    )

    @Test func plain() {
        for authorization in ["", "alice@example.test"] {
            var mechanism = SASLMechanisms.begin("PLAIN")
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
        var mechanism = SASLMechanisms.begin("LOGIN")
        #expect(mechanism?.firstChallenge == Array("Username:".utf8))
        #expect(mechanism?.respond(to: Array("alice@example.test".utf8)) == .challenge(Array("Password:".utf8)))
        #expect(mechanism?.respond(to: Array("se cret".utf8)) == evidence)
        var empty = LoginMechanism()
        #expect(empty.respond(to: []) == .malformed)
    }

    @Test func unknownMechanism() {
        #expect(SASLMechanisms.begin("CRAM-MD5") == nil)
        #expect(SASLMechanisms.names == ["PLAIN", "LOGIN"])
    }
}
