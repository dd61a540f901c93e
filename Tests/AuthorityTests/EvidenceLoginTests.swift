import Bus
import Cryptography
import Encodings
import LoginClients
import NIOCore
import Network
import SASL
import SMTP
import Testing

@testable import Authority

#if canImport(Glibc)
import Glibc
#endif

@Suite struct EvidenceLoginTests {
    // MARK: App passwords

    @Test func appPasswordsAreForTheirServices() async throws {
        let address = try MailAddress(parsing: "alice@example.test".utf8)
        let (phone, any) = (AppPassword.generate(), AppPassword.generate())
        let verifier = try #require(ScramVerifier(password: phone, salt: Array(0..<16), iterations: 4096))
        let table = [
            AppPassword(
                address: address,
                name: "phone",
                services: ["imap", "smtp"],
                hash: AppPassword.hash(of: phone),
                verifier: verifier
            ),
            AppPassword(address: address, name: "any", services: [], hash: AppPassword.hash(of: any), verifier: nil),
        ].map { "\($0.line)\n" }.joined()
        try await TestAuthority.run(files: ["app-passwords": table]) { (authority) async throws in
            for (secret, service, isRight) in [
                (phone, "imap", true), (phone, "smtp", true), (phone, "pop3", false), (any, "pop3", true),
                (any + "x", "pop3", false),
            ] {
                let reply = try await authority.verify("alice", secret, service: service)
                #expect((reply.replyKind == .ok) == isRight)
            }
            #expect(try await authority.verify("bob", any).replyKind == .reject)
            let client = ScramClient(user: "alice", password: phone)
            #expect(try await authority.scram(client).isConfirmed)
            #expect(try await authority.scram(client, service: "pop3").reply["status"] == "5.7.8")
            // The account's own password gets a verifier with the same salt, so that both are good.
            #expect(try await authority.verify("alice").replyKind == .ok)
            #expect(try await authority.scram(client).isConfirmed)
            #expect(try await authority.scram(ScramClient(user: "alice", password: "U*U")).isConfirmed)
            func lastUse(_ name: String) -> Int? {
                let records = AuthorityRecords(directory: authority.directory.path)
                return (try? AppPasswordTable(text: table, file: "t"))?[address].first { $0.name == name }
                    .flatMap(records.lastUse)
            }
            while lastUse("phone") == nil { await authority.loop.pause(.milliseconds(5)) }
            #expect(lastUse("phone") == TestAuthority.now - TestAuthority.now % 60)
            // Withdrawn alone.
            authority.directory.write("app-passwords", Array(table.utf8.drop { $0 != 10 }.dropFirst()))
            #expect(try await authority.verify("alice", phone, service: "imap").replyKind == .reject)
            #expect(try await authority.verify("alice", any, service: "imap").replyKind == .ok)
            authority.directory.write("users", "alice@example.test:!\(TestAuthority.hash)\n".utf8)
            #expect(try await authority.verify("alice", any, service: "imap").replyKind == .reject)
        }
    }

    /// A wrong password may be one that nobody can look up now.
    @Test func unreadableAppPasswordsRefuseNobody() async throws {
        try await TestAuthority.run(files: ["app-passwords": "rubbish\n"]) { (authority) async throws in
            #expect(try await authority.verify("alice").replyKind == .ok)
            #expect(try await authority.verify("alice", "wrong").replyKind == .defer)
            #expect(try await authority.scram(ScramClient(user: "alice", password: "x")).reply.replyKind == .defer)
            // Who asks can't tell whether there is such an account.
            #expect(try await authority.verify("nobody", "wrong").replyKind == .defer)
            #expect(try await authority.scram(ScramClient(user: "nobody", password: "x")).reply.replyKind == .defer)
            authority.directory.write("app-passwords", "# none\n".utf8)
            #expect(try await authority.verify("alice", "wrong").replyKind == .reject)
        }
    }

    @Test(arguments: [
        "alice@example.test", "alice@example.test:x:imap:$sha256$x", "x:x:imap:$sha256$AAAAAAAAAAA=$AA==",
        "alice@example.test::imap:%", "alice@example.test:x:nntp:%", "alice@example.test:x:imap,:%",
        "alice@example.test:x::%:$scram$", "alice@example.test:x:*:%:$scram$",
        "alice@example.test:x:*:%\nAlice@example.test:x:*:%",
    ])
    func malformedAppPasswords(lines: String) {
        let text = lines.replacing("%", with: AppPassword.hash(of: "secret"))
        #expect(throws: TableError.self) { try AppPasswordTable(text: text, file: "app-passwords") }
    }

    // MARK: Tokens

    private static let oauth = """
        [authd.oauth]
        keys = "@/keys.json"
        issuer = "https://id.example"
        audiences = ["mail"]

        """

    private static func claims(_ account: String, expiry: Int = TestAuthority.now + 60) -> String {
        "{\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":\(expiry),\"email\":\"\(account)\","
            + "\"email_verified\":true}"
    }

    @Test func tokensAreGoodForTheirAccount() async throws {
        let issuer = TestToken(key: try #require(PrivateKey.generate(.ecdsaP256)))
        let keys = String(decoding: TestToken.set(issuer.member()), as: UTF8.self)
        try await TestAuthority.run(files: ["keys.json": keys], more: Self.oauth) { (authority) async throws in
            func ask(_ token: String, user: String? = nil, service: String = "imap") async throws -> Frame {
                var frame = Frame("TOKEN", ["service": service, "token": token, "client": "192.0.2.7"])
                frame["user"] = user
                return try await authority.client.request(frame)
            }
            let token = issuer.signed(Self.claims("alice@example.test"))
            for user in [nil, "alice", "Alice@Example.test"] {
                let reply = try await ask(token, user: user)
                #expect(reply.replyKind == .ok && reply["address"] == "alice@example.test")
                #expect(try await authority.redeem(try #require(reply["ticket"]), service: "imap").replyKind == .ok)
            }
            #expect(try await ask(token, service: "smtp")["ticket"] == nil)
            for user in ["bob", "nobody", ""] { #expect(try await ask(token, user: user)["status"] == "5.7.8") }
            for account in ["nobody@example.test", "locked@example.test", "alice@example.net"] {
                #expect(try await ask(issuer.signed(Self.claims(account)))["status"] == "5.7.8")
            }
            let old = issuer.signed(Self.claims("alice@example.test", expiry: TestAuthority.now - 100))
            #expect(try await ask(old)["status"] == "5.7.8")
            #expect(try await ask("rubbish")["status"] == "5.7.8")
            #expect(authority.log.lines(with: "reason=expired").count == 1)
            // The provider has a new key, which the file gets some time.
            let fresh = TestToken(
                key: try #require(PrivateKey.generate(.ed25519)),
                algorithm: "EdDSA",
                identifier: "k2"
            )
            let signed = fresh.signed(Self.claims("alice@example.test"))
            #expect(try await ask(signed).replyKind == .defer)
            authority.directory.write("keys.json", TestToken.set(issuer.member(), fresh.member()))
            #expect(try await ask(signed).replyKind == .ok)
            // What can't be understood changes nothing.
            authority.directory.write("keys.json", "{}".utf8)
            #expect(try await ask(signed).replyKind == .ok)
            #expect(authority.log.lines(with: "keys.json").contains { $0.contains("stays in use") })
        }
    }

    @Test func withoutKeysNobodyKnows() async throws {
        try await TestAuthority.run(more: Self.oauth) { (authority) async throws in
            let frame = Frame("TOKEN", ["service": "imap", "token": "a.b.c"])
            #expect(try await authority.client.request(frame).replyKind == .defer)
            #expect(try await authority.verify("alice").replyKind == .ok)
        }
        try await TestAuthority.run { (authority) async throws in
            let frame = Frame("TOKEN", ["service": "imap", "token": "a.b.c"])
            #expect(try await authority.client.request(frame)["status"] == "5.7.8")
        }
    }

    // MARK: Certificates

    /// Certificates of people, of an authority, in DER.
    private static func certificates(_ directory: TemporaryDirectory) -> (authority: String, people: [[UInt8]]) {
        let script = """
            cd \(directory.path)
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=people \
                -keyout ca.key -out ca.pem
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=strangers \
                -addext subjectAltName=email:alice@example.test -keyout other.key -out other.pem
            n=0
            for names in email:Alice@example.test email:alice@example.test,email:bob@example.test DNS:example.test; do
                n=$((n + 1))
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$n -keyout $n.key -out $n.csr
                printf "subjectAltName=$names\\nextendedKeyUsage=clientAuth\\n" >$n.ext
                openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $n.ext -out $n.pem
                openssl x509 -in $n.pem -outform DER -out $n.der
            done
            openssl x509 -in other.pem -outform DER -out 4.der
            """
        #expect(system("( \(script) ) >/dev/null 2>&1") == 0)
        return (String(decoding: directory.read("ca.pem"), as: UTF8.self), (1...4).map { directory.read("\($0).der") })
    }

    @Test func certificatesAreTheirOwners() async throws {
        let (authorities, people) = try await TemporaryDirectory.with { Self.certificates($0) }
        let more = "[tls]\nclient-authorities = \"@/ca.pem\"\n"
        try await TestAuthority.run(files: ["ca.pem": authorities], more: more) { (authority) async throws in
            func ask(_ chain: [[UInt8]], user: String? = nil) async throws -> String? {
                var frame = Frame("CERTIFICATE", ["service": "smtp", "client": "192.0.2.7"])
                frame.fields += chain.map { .init("certificate", Base64.text($0)) }
                frame["user"] = user
                let reply = try await authority.client.request(frame)
                return reply["address"] ?? reply["status"]
            }
            #expect(try await ask([people[0]]) == "alice@example.test")
            #expect(try await ask([people[0]], user: "alice") == "alice@example.test")
            #expect(try await ask([people[0]], user: "bob") == "5.7.8")
            #expect(try await ask([people[1]], user: "bob") == "bob@example.test")
            #expect(try await ask([people[1], people[0]]) == "alice@example.test")
            #expect(try await ask([people[2]]) == "5.7.8")
            // Of another authority, and no certificates at all.
            #expect(try await ask([people[3]]) == "5.7.8")
            #expect(try await ask([people[3], people[0]]) == "5.7.8")
            #expect(try await ask([Array("rubbish".utf8)]) == "5.7.8")
            #expect(try await ask([]) == "5.5.4")
            #expect(try await ask([people[0].dropLast()]) == "5.7.8")
            // The table has the last word.
            let mark = HashFunction.sha256.digest(of: people[0])
                .map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(separator: ":")
            authority.directory.write("certificates", "# whose\nbob@example.test:\(mark)\n".utf8)
            #expect(try await ask([people[0]]) == "bob@example.test")
            #expect(try await ask([people[0]], user: "alice") == "5.7.8")
            authority.directory.write("users", "bob@example.test:!\n".utf8)
            #expect(try await ask([people[0]]) == "5.7.8")
        }
    }

    @Test func withoutAuthoritiesNobodyKnows() async throws {
        let frame = Frame("CERTIFICATE", ["service": "smtp", "certificate": "AAAA"])
        let more = "[tls]\nclient-authorities = \"@/ca.pem\"\n"
        try await TestAuthority.run(files: ["ca.pem": "none\n"], more: more) { (authority) async throws in
            #expect(try await authority.client.request(frame).replyKind == .defer)
        }
    }

    @Test(arguments: [
        "x", "alice@example.test", "alice@example.test:abcd", "alice@example.test:\(String(repeating: "x", count: 64))",
    ])
    func malformedCertificateTables(text: String) {
        #expect(throws: TableError.self) { try CertificateTable(text: text, file: "certificates") }
    }
}
