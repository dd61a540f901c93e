import Cryptography
import Encodings
import LoginClients
import SASL
import Testing

@Suite struct ScramTests {
    private static func octets(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// RFC 5802 §5
    @Test func exampleOfSHA1() throws {
        let salt = try #require(Base64.decode("QSXCR+Q6sek8bf92".utf8))
        let keys = try #require(ScramKeys(password: Array("pencil".utf8), salt: salt, iterations: 4096, hash: .sha1))
        var server = ScramServer(
            ScramMechanism(.sha1, isPlus: false),
            bindings: ChannelBindings(),
            nonce: Self.octets("3rfcNHYJY1ZVvWVs7j")
        )
        let client = try server.begin(Self.octets("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"))
        #expect(client.user == "user" && client.authorization == nil)
        #expect(
            server.challenge(salt: salt, iterations: 4096)
                == Self.octets("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
        )
        let proof = try server.finish(
            Self.octets("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
        )
        #expect(proof.confirmation(by: keys) == Self.octets("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="))
    }

    /// RFC 7677 §3
    @Test func exampleOfSHA256() throws {
        let salt = try #require(Base64.decode("W22ZaJ0SNY7soEsUEjb6gQ==".utf8))
        let verifier = try #require(ScramVerifier(password: "pencil", salt: salt, iterations: 4096))
        var server = ScramServer(
            ScramMechanism(.sha256, isPlus: false),
            bindings: ChannelBindings(),
            nonce: Self.octets("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
        )
        _ = try server.begin(Self.octets("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
        #expect(
            server.challenge(salt: salt, iterations: 4096)
                == Self.octets(
                    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
                )
        )
        let proof = try server.finish(
            Self.octets(
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                    + "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            )
        )
        #expect(
            proof.confirmation(by: verifier.keys(.sha256))
                == Self.octets("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        )
        #expect(proof.confirmation(by: verifier.keys(.sha1)) == nil)
    }

    private static let salt: [UInt8] = Array(0..<16)
    private static let bindings = ChannelBindings(exporter: [1, 2, 3], serverEndPoint: [4, 5])

    /// Runs an exchange; the server's confirmation, where the client is right and is shown that.
    private func run(
        _ client: ScramClient,
        password: String = "pencil",
        isPlus: Bool = false,
        bindings: ChannelBindings = ChannelBindings()
    ) throws -> Bool {
        let hash: ScramHash = client.function == .sha1 ? .sha1 : .sha256
        let verifier = try #require(ScramVerifier(password: password, salt: Self.salt, iterations: 4096))
        var server = ScramServer(
            ScramMechanism(hash, isPlus: isPlus),
            bindings: bindings,
            nonce: Self.octets("server")
        )
        _ = try server.begin(client.first)
        let (message, confirmation) = try #require(
            client.last(to: server.challenge(salt: Self.salt, iterations: 4096))
        )
        guard let answer = try server.finish(message).confirmation(by: verifier.keys(hash)) else { return false }
        #expect(answer == confirmation)
        return true
    }

    @Test(arguments: [HashFunction.sha1, .sha256])
    func roundTrips(function: HashFunction) throws {
        var client = ScramClient(user: "user", password: "pencil", function: function)
        #expect(try run(client))
        #expect(try !run(ScramClient(user: "user", password: "pencils", function: function)))
        // A client that can't bind is welcome on a connection that could be bound to.
        #expect(try run(client, bindings: Self.bindings))
        client.header = "y,,"
        #expect(try run(client))
        for header in ["n,a=boss=2Cor=3Dnot,", "n,a=,"] {
            client.header = header
            #expect(try run(client))
        }
        client.header = "p=tls-exporter,,"
        client.binding = [1, 2, 3]
        #expect(try run(client, isPlus: true, bindings: Self.bindings))
        client.header = "p=tls-server-end-point,,"
        client.binding = [4, 5]
        #expect(try run(client, isPlus: true, bindings: Self.bindings))
    }

    @Test func somebodyInBetweenIsNoticed() throws {
        var client = ScramClient(user: "user", password: "pencil")
        client.header = "p=tls-exporter,,"
        client.binding = [1, 2, 4]
        #expect(throws: ScramFault.bindingDiffers) { try run(client, isPlus: true, bindings: Self.bindings) }
        client.header = "y,,"
        client.binding = []
        #expect(throws: ScramFault.downgraded) { try run(client, bindings: Self.bindings) }
        client.header = "n,,"
        client.binding = [1]
        #expect(throws: ScramFault.bindingDiffers) { try run(client) }
    }

    @Test(arguments: [
        ("n,,", true), ("y,,", true), ("p=tls-unique,,", true), ("p=tls-exporter,,", false),
    ])
    func mechanismAndBindingGoTogether(header: String, isPlus: Bool) throws {
        var client = ScramClient(user: "user", password: "pencil")
        client.header = header
        client.binding = [1, 2, 3]
        #expect(throws: ScramFault.bindingNotSupported) {
            try run(client, isPlus: isPlus, bindings: Self.bindings)
        }
    }

    @Test(arguments: [
        "", "n", "n,", "n,,", "n,,n=", "n,,n=user", "n,,n=user,", "n,,n=user,r=", "n,,r=x,n=user", "n,,n=us=er,r=x",
        "n,,n=user,r=a b", "n,,n=user,r=x,1=y", "n,,n=user,r=x,yy", "n,b=x,n=user,r=x", "x,,n=user,r=x",
        "nn,,n=user,r=x", "p=,,n=user,r=x", "p,,n=user,r=x", "F,n,,n=user,r=x", "n,,n=a\0b,r=x", "n,,n=user,r=x,m=y",
    ])
    func malformedFirstMessage(message: String) {
        var server = ScramServer(ScramMechanism(.sha256, isPlus: false), bindings: ChannelBindings(), nonce: [0x61])
        #expect(throws: ScramFault.malformed) { try server.begin(Self.octets(message)) }
    }

    @Test func extensionsThatMustBeKnownAreRefused() {
        var server = ScramServer(ScramMechanism(.sha256, isPlus: false), bindings: ChannelBindings(), nonce: [0x61])
        #expect(throws: ScramFault.extensionNotSupported) { try server.begin(Self.octets("n,,m=x,n=user,r=x")) }
        // Others may be passed over.
        #expect(throws: Never.self) { try server.begin(Self.octets("n,,n=user,r=x,x=anything")) }
    }

    @Test(arguments: [
        "", "c=biws", "c=biws,r=xa", "r=xa,c=biws,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "c=biws,r=xa,p=",
        "c=biws,r=xa,p=AAAA",
        "c=biw,r=xa,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "c=biws,r=xa,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=,x=y",
        "c=biws,r=xa,m=x,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    ])
    func malformedLastMessage(message: String) throws {
        var server = ScramServer(ScramMechanism(.sha1, isPlus: false), bindings: ChannelBindings(), nonce: [0x61])
        #expect(throws: ScramFault.malformed) { try server.finish(Self.octets(message)) }
        _ = try server.begin(Self.octets("n,,n=user,r=x"))
        _ = server.challenge(salt: Self.salt, iterations: 4096)
        #expect(throws: ScramFault.malformed) { try server.finish(Self.octets(message)) }
    }

    @Test func anotherNonceIsAReplay() throws {
        var server = ScramServer(ScramMechanism(.sha1, isPlus: false), bindings: ChannelBindings(), nonce: [0x61])
        _ = try server.begin(Self.octets("n,,n=user,r=x"))
        _ = server.challenge(salt: Self.salt, iterations: 4096)
        #expect(throws: ScramFault.nonceDiffers) {
            try server.finish(Self.octets("c=biws,r=xb,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="))
        }
    }

    @Test func verifiersAreText() throws {
        let verifier = try #require(ScramVerifier(password: "pencil", salt: Self.salt, iterations: 5000))
        #expect(!verifier.text.contains(":") && !verifier.text.contains(" "))
        #expect(ScramVerifier(parsing: verifier.text) == verifier)
        for text in [
            "", "$scram$", verifier.text + "$", String(verifier.text.dropLast()),
            verifier.text.replacing("$5000$", with: "$4095$"), verifier.text.replacing("$5000$", with: "$x$"),
            verifier.text.replacing("$scram$", with: "$other$"),
        ] { #expect(ScramVerifier(parsing: text) == nil, "\(text)") }
        // RFC 7677 §4
        #expect(ScramVerifier(password: "pencil", salt: Self.salt, iterations: 0) == nil)
    }

    /// RFC 4013 §3
    @Test(arguments: [
        ("I\u{AD}X", "IX"), ("user", "user"), ("USER", "USER"), ("\u{AA}", "a"), ("\u{2168}", "IX"),
        ("a\u{A0}b", "a b"), ("\u{FB01}", "fi"),
    ])
    func preparedPasswords(password: String, prepared: String) {
        #expect(SASLPreparation.prepared(password) == Self.octets(prepared))
    }

    @Test(arguments: ["", "\u{7}", "\u{627}1", "\u{AD}", "a\0b", "\u{E000}"])
    func passwordsThatCannotBePrepared(password: String) {
        #expect(SASLPreparation.prepared(password) == nil)
    }
}
