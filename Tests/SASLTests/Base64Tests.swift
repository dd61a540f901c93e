import Testing

@testable import SASL

@Suite struct Base64Tests {
    /// RFC 4648 §10.
    @Test(
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func examples(plain: String, text: String) {
        #expect(Base64.encode(plain.utf8) == text)
        #expect(Base64.decode(text.utf8) == Array(plain.utf8))
    }

    @Test func everyOctetRoundTrips() {
        for count in 0...300 {
            let octets = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            #expect(Base64.decode(Base64.encode(octets).utf8) == octets)
        }
    }

    @Test(
        arguments: [
            "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "====", "Zg==Zg==", "Zm9v=", "Zm9v====", "Z g=", "Zm9v\n",
            "Zm-v", "=Zg=", "Z===", "Zm9vZg=g",
        ]
    )
    func refuses(text: String) {
        #expect(Base64.decode(text.utf8) == nil)
    }
}

@Suite struct PasswordExchangeTests {
    private let credentials = PasswordCredentials(user: "alice@example.test", password: "se cret")

    @Test func plain() {
        for authorization in ["", "alice@example.test"] {
            var exchange = PasswordExchange(mechanism: "PLAIN")
            #expect(exchange?.firstChallenge == "")
            let response = Array("\(authorization)\0alice@example.test\0se cret".utf8)
            #expect(exchange?.take(response) == .credentials(credentials))
        }
    }

    @Test(arguments: ["", "\0", "\0\0", "\0a\0", "\0\0b", "b\0a\0c", "\0a\0b\0c", "a\0b"])
    func malformedPlain(response: String) {
        var exchange = PasswordExchange.plain
        #expect(exchange.take(Array(response.utf8)) == .malformed)
    }

    @Test func plainRefusesWhatIsNotText() {
        var exchange = PasswordExchange.plain
        #expect(exchange.take([0, 0xFF, 0, 0x61]) == .malformed)
        #expect(exchange.take([0] + [UInt8](repeating: 0x61, count: 5000) + [0, 0x61]) == .malformed)
    }

    @Test func login() {
        var exchange = PasswordExchange(mechanism: "LOGIN")
        #expect(exchange?.firstChallenge == "Username:")
        #expect(exchange?.take(Array("alice@example.test".utf8)) == .challenge("Password:"))
        #expect(exchange?.take(Array("se cret".utf8)) == .credentials(credentials))
        var empty = PasswordExchange.login(user: nil)
        #expect(empty.take([]) == .malformed)
    }

    @Test func unknownMechanism() {
        #expect(PasswordExchange(mechanism: "CRAM-MD5") == nil)
    }
}
