import Accounts
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

extension TestAuthority {
    /// Logs in by SCRAM.
    ///
    /// - Returns: the last reply, and whether the server has shown that it knows the password.
    func scram(
        _ client: ScramClient,
        mechanism: String = "SCRAM-SHA-256",
        service: String = "imap",
        bindings: KeyValuePairs<String, String> = [:],
        address: String = "192.0.2.7"
    ) async throws -> (reply: Frame, isConfirmed: Bool) {
        var question = Frame(
            "SCRAM",
            [
                "service": service, "mechanism": mechanism, "client": address, "message": Base64.text(client.first),
            ]
        )
        for (name, value) in bindings { question[name] = value }
        let first = try await self.client.request(question)
        guard let exchange = first["exchange"], let challenge = first["challenge"].flatMap({ Base64.decode($0.utf8) }),
            let (message, confirmation) = client.last(to: challenge)
        else { return (first, false) }
        let last = try await self.client.request(
            Frame("SCRAM", ["exchange": exchange, "message": Base64.text(message)])
        )
        return (last, last["confirmation"] == Base64.text(confirmation))
    }

    /// The salt and the iterations that a user is told.
    func hint(_ user: String) async throws -> Substring? {
        let first = try await client.request(
            Frame(
                "SCRAM",
                [
                    "service": "imap", "mechanism": "SCRAM-SHA-1",
                    "message": Base64.text(ScramClient(user: user, password: "").first),
                ]
            )
        )
        let challenge = first["challenge"].flatMap { Base64.decode($0.utf8) } ?? []
        return String(decoding: challenge, as: UTF8.self).split(separator: ",", maxSplits: 1).last
    }
}

@Suite struct ScramLoginTests {
    private static let plain = ScramClient(user: "alice@example.test", password: "U*U")

    /// Nobody has a verifier in the table: the first good login makes it, and it outlives the process.
    @Test func aGoodLoginMakesTheVerifier() async throws {
        try await TestAuthority.run { (authority) async throws in
            #expect(try await authority.scram(Self.plain).reply.replyKind == .reject)
            #expect(try await authority.verify("alice", "wrong").replyKind == .reject)
            #expect(try await authority.scram(Self.plain).reply.replyKind == .reject)
            #expect(try await authority.verify("alice").replyKind == .ok)
            let (reply, isConfirmed) = try await authority.scram(Self.plain)
            #expect(reply.replyKind == .ok && isConfirmed && reply["address"] == "alice@example.test")
            #expect(try await authority.redeem(try #require(reply["ticket"]), service: "imap").replyKind == .ok)
            for (mechanism, client) in [
                ("SCRAM-SHA-1", ScramClient(user: "ALICE", password: "U*U", function: .sha1)),
                ("SCRAM-SHA-256", ScramClient(user: "alice", password: "U*U")),
            ] {
                let (reply, isConfirmed) = try await authority.scram(client, mechanism: mechanism, service: "smtp")
                #expect(reply.replyKind == .ok && isConfirmed && reply["ticket"] == nil)
            }
            let wrong = ScramClient(user: "alice", password: "u*u")
            #expect(try await authority.scram(wrong).reply["status"] == "5.7.8")
            let file = authority.directory.file("verifiers")
            while AuthorityRecords(directory: authority.directory.path).lines(of: .verifiers).isEmpty {
                await authority.loop.pause(.milliseconds(5))
            }
            #expect(try TableFile(file).read().starts(with: "alice@example.test:".utf8))
            // Another password is not what the verifier is of.
            let other = PasswordHash.make("other") ?? ""
            authority.directory.write("users", "alice@example.test:\(other)\n".utf8)
            #expect(try await authority.scram(Self.plain).reply.replyKind == .reject)
        }
    }

    @Test func verifiersInTheTableAreUsed() async throws {
        let verifier = try #require(ScramVerifier(password: "U*U", salt: Array(0..<16), iterations: 5000))
        let field = "\(verifier.text)$\(Account.mark(TestAuthority.hash))"
        let users =
            "alice@example.test:\(TestAuthority.hash):::0:\(field)\nbob@example.test:!\(TestAuthority.hash):::0:\(field)\n"
        try await TestAuthority.run(users: users) { (authority) async throws in
            #expect(try await authority.scram(Self.plain).isConfirmed)
            // A locked account looks as one whose password was wrong.
            var bob = try await authority.scram(ScramClient(user: "bob", password: "U*U")).reply
            var alice = try await authority.scram(ScramClient(user: "alice", password: "x")).reply
            bob["tag"] = nil
            alice["tag"] = nil
            #expect(bob == alice && bob["status"] == "5.7.8")
        }
    }

    /// Spellings of one address have one salt, and who names another gets the same answer with an account and without.
    @Test func spellingsOfUnknownUsersAreOne() async throws {
        try await TestAuthority.run { (authority) async throws in
            #expect(try await authority.hint("nobody") == authority.hint("\"nobody\"@EXAMPLE.test"))
            #expect(try await authority.hint("alice") == authority.hint("\"alice\"@EXAMPLE.test"))
            for user in ["alice", "nobody"] {
                var client = ScramClient(user: user, password: "x")
                client.header = "n,a=\(user)@example.test,"
                let first = Frame(
                    "SCRAM",
                    [
                        "service": "imap", "mechanism": "SCRAM-SHA-256", "message": Base64.text(client.first),
                    ]
                )
                #expect(try await authority.client.request(first).replyKind == .ok)
            }
        }
    }

    /// After an edit of the hash by hand the old password is no good.
    @Test func verifiersOfOtherHashesAreNotUsed() async throws {
        let verifier = try #require(ScramVerifier(password: "old", salt: Array(0..<16), iterations: 5000))
        let users = ["", "$\(Account.mark("$2a$05$old"))"].enumerated().map { number, mark in
            "user\(number)@example.test:\(TestAuthority.hash):::0:\(verifier.text)\(mark)\n"
        }.joined()
        try await TestAuthority.run(users: users) { (authority) async throws in
            for user in ["user0", "user1"] {
                let old = ScramClient(user: user, password: "old")
                #expect(try await authority.scram(old).reply.replyKind == .reject)
                #expect(try await authority.verify(user).replyKind == .ok)
                #expect(try await authority.scram(ScramClient(user: user, password: "U*U")).isConfirmed)
            }
        }
        let table = try AccountTable(text: users, file: "users")
        #expect(table.all.allSatisfy { $0.hasForeignVerifier && $0.verifier == nil && !$0.line.contains("$scram$") })
    }

    /// Who asks can't tell whether there is such an account, whenever it is.
    @Test func unknownUsersHaveSaltsToo() async throws {
        try await TestAuthority.run { (authority) async throws in
            let known = try #require(try await authority.hint("alice"))
            let unknown = try #require(try await authority.hint("nobody"))
            #expect(known != unknown && known.hasSuffix(",i=4096") && unknown.hasSuffix(",i=4096"))
            #expect(try await authority.hint("Alice@Example.test") == known)
            #expect(try await authority.hint("NOBODY@example.test") == unknown)
            _ = try await authority.verify("alice")
            #expect(try await authority.hint("alice") == known)
            let key = try #require(SaltKey(directory: authority.directory.path))
            #expect(unknown.contains(Base64.text(key.salt(of: "nobody@example.test"))))
            #expect(try await authority.scram(ScramClient(user: "nobody", password: "U*U")).reply["status"] == "5.7.8")
        }
    }

    @Test func loginsAreBoundToTheConnection() async throws {
        try await TestAuthority.run { (authority) async throws in
            _ = try await authority.verify("alice")
            var client = Self.plain
            client.header = "p=tls-exporter,,"
            client.binding = Array("secret".utf8)
            let bindings: KeyValuePairs = ["tls-exporter": Base64.text("secret".utf8)]
            let plus = "SCRAM-SHA-256-PLUS"
            #expect(try await authority.scram(client, mechanism: plus, bindings: bindings).isConfirmed)
            let other: KeyValuePairs = ["tls-exporter": Base64.text("secreT".utf8)]
            #expect(try await authority.scram(client, mechanism: plus, bindings: other).reply["status"] == "5.7.8")
            #expect(try await authority.scram(client, mechanism: plus).reply["status"] == "5.7.8")
            client.header = "y,,"
            client.binding = []
            #expect(try await authority.scram(client, bindings: bindings).reply["status"] == "5.7.8")
            #expect(try await authority.scram(client).isConfirmed)
            #expect(authority.log.lines(with: "reason=downgraded").count == 1)
        }
    }

    @Test func nobodyActsForAnother() async throws {
        try await TestAuthority.run { (authority) async throws in
            _ = try await authority.verify("alice")
            var client = Self.plain
            client.header = "n,a=alice,"
            #expect(try await authority.scram(client).isConfirmed)
            client.header = "n,a=bob,"
            #expect(try await authority.scram(client).reply["status"] == "5.7.8")
            client.header = "n,a=nobody,"
            #expect(try await authority.scram(client).reply["status"] == "5.7.8")
        }
    }

    @Test func anExchangeEndsWithItsSecondMessage() async throws {
        try await TestAuthority.run { (authority) async throws in
            _ = try await authority.verify("alice")
            let frame = Frame(
                "SCRAM",
                ["service": "imap", "mechanism": "SCRAM-SHA-256", "message": Base64.text(Self.plain.first)]
            )
            let first = try await authority.client.request(frame)
            let exchange = try #require(first["exchange"])
            let challenge = try #require(first["challenge"].flatMap { Base64.decode($0.utf8) })
            let message = Base64.text(try #require(Self.plain.last(to: challenge)).message)
            let last = Frame("SCRAM", ["exchange": exchange, "message": message])
            #expect(try await authority.client.request(last).replyKind == .ok)
            #expect(try await authority.client.request(last).replyKind == .defer)
            for (question, status) in [
                (Frame("SCRAM", ["exchange": "x", "message": "!"]), "5.5.4"), (Frame("SCRAM"), "5.5.4"),
                (Frame("SCRAM", ["service": "imap", "mechanism": "PLAIN", "message": ""]), "5.5.4"),
                (Frame("SCRAM", ["service": "nntp", "mechanism": "SCRAM-SHA-1", "message": ""]), "5.5.4"),
                (Frame("SCRAM", ["service": "imap", "mechanism": "SCRAM-SHA-1", "message": ""]), "5.7.8"),
            ] { #expect(try await authority.client.request(question)["status"] == status) }
        }
    }

    /// Guesses of one client at one account wait longer and longer; others don't.
    @Test func guessesAreSlowedDown() async throws {
        let throttle = LoginThrottle(first: .milliseconds(50), longest: .seconds(5))
        try await TestAuthority.run(throttle: throttle) { (authority) async throws in
            _ = try await authority.verify("alice", client: "203.0.113.1")
            let begin = NIODeadline.now()
            for _ in 0..<4 {
                _ = try await authority.scram(ScramClient(user: "alice", password: "x"), address: "198.51.100.1")
            }
            #expect(NIODeadline.now() - begin >= .milliseconds(50 + 100 + 200))
            let login = NIODeadline.now()
            #expect(try await authority.scram(Self.plain, address: "203.0.113.1").isConfirmed)
            #expect(NIODeadline.now() - login < .milliseconds(200))
        }
    }

    @Test func exchangesAreBounded() {
        var exchanges = ScramExchanges(lifetime: .seconds(60), capacity: 10, perClient: 3)
        func exchange(_ client: UInt8) -> ScramExchange {
            let mechanism = ScramMechanism(.sha256, isPlus: false)
            return ScramExchange(
                server: ScramServer(mechanism, bindings: ChannelBindings(), nonce: []),
                mechanism: mechanism,
                user: "",
                service: "imap",
                address: "",
                client: [client],
                salt: [],
                iterations: 4096
            )
        }
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        exchanges.add(exchange(0), as: "mine", now: start)
        for number in 0..<50 { exchanges.add(exchange(1), as: "his \(number)", now: start) }
        // A flood from one address pushes out nobody but itself.
        #expect(exchanges.count == 4)
        #expect(exchanges.take("his 46", now: start) == nil && exchanges.take("his 47", now: start) != nil)
        #expect(exchanges.take("mine", now: start) != nil && exchanges.take("mine", now: start) == nil)
        for number in UInt8(2)..<50 { exchanges.add(exchange(number), as: "\(number)", now: start) }
        #expect(exchanges.count == 10)
        #expect(exchanges.take("49", now: start + .seconds(60)) == nil)
        exchanges.add(exchange(0), as: "late", now: start + .seconds(60))
        #expect(exchanges.count == 1)
    }

    /// Fronts offer SCRAM once nobody would be refused by it who has the right password.
    @Test(.timeLimit(.minutes(1))) func watchersHearThatAllCanUseScram() async throws {
        try await TestAuthority.run { (authority) async throws in
            let path = authority.directory.file("auth.sock")
            func isReady() async throws -> Bool? { try await DirectoryWatch.ask(path)?.canAllUseScram }
            #expect(try await isReady() == false)
            _ = try await authority.verify("alice")
            #expect(try await isReady() == false)
            // locked@ can't log in anyway.
            _ = try await authority.verify("bob")
            #expect(try await isReady() == true)
            authority.directory.write("users", (TestAuthority.users + "dave@example.test:\(TestAuthority.hash)\n").utf8)
            #expect(try await isReady() == false)
        }
    }
}
