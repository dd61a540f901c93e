import Bus
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import Network
import Rewriting
import SMTP
import Testing

@testable import Authority

@Suite struct AuthorityServiceTests {
    @Test func aLoginGivesATicketThatIsRedeemedOnce() async throws {
        try await TestAuthority.run { (authority) async throws in
            let login = try await authority.verify("Alice@Example.test")
            #expect(login.replyKind == .ok && login["address"] == "alice@example.test")
            let ticket = try #require(login["ticket"])
            let mailbox = try await authority.redeem(ticket)
            #expect(mailbox.replyKind == .ok && mailbox["address"] == "alice@example.test")
            #expect(mailbox["mailbox"] == "example.test/alice")
            #expect(mailbox["format"] == "maildir" && mailbox["quota"] == "1000")
            #expect(try await authority.redeem(ticket)["status"] == "5.7.8")
        }
    }

    @Test func ticketsAreForOneServiceAndNotForSMTP() async throws {
        try await TestAuthority.run { (authority) async throws in
            let ticket = try #require(try await authority.verify("bob", service: "imap")["ticket"])
            #expect(try await authority.redeem(ticket, service: "pop3")["status"] == "5.7.8")
            #expect(try await authority.redeem(ticket, service: "imap")["status"] == "5.7.8")
            let submission = try await authority.verify("bob", service: "smtp")
            #expect(submission["address"] == "bob@example.test" && submission["ticket"] == nil)
        }
    }

    /// 27 addresses with five wrong passwords each, then eight at a time: 216 logins for 200 places.
    @Test(.timeLimit(.minutes(1))) func guessersHoldNobodyUp() async throws {
        let throttle = LoginThrottle(first: .seconds(20), longest: .seconds(20))
        try await TestAuthority.run(throttle: throttle, matches: { password, _ in password == "U*U" }) {
            (authority) async throws in
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<135 {
                    group.addTask {
                        let reply = try? await authority.verify(
                            "user\(number % 27)",
                            "wrong",
                            client: "198.51.100.\(number % 27)"
                        )
                        #expect(reply?.replyKind == .reject)
                    }
                }
                await group.waitForAll()
                for number in 0..<216 {
                    group.addTask {
                        _ = try? await authority.verify(
                            "user\(number % 27)",
                            "wrong",
                            client: "198.51.100.\(number % 27)"
                        )
                    }
                }
                while authority.client.requestsInFlight < 216 { await authority.loop.pause(.milliseconds(5)) }
                let begin = NIODeadline.now()
                for service in ["smtp", "pop3", "imap"] {
                    let reply = try? await authority.verify("alice", service: service, client: "203.0.113.1")
                    #expect(reply?.replyKind == .ok)
                }
                #expect(NIODeadline.now() - begin < .seconds(5))
                authority.client.close()
            }
        }
    }

    /// Twelve addresses share the guessing at one account, and log in to one of their own between guesses.
    @Test func guessesAtOneAccountWait() async throws {
        let throttle = LoginThrottle(first: .milliseconds(20), longest: .milliseconds(40))
        try await TestAuthority.run(throttle: throttle, matches: { password, _ in password == "U*U" }) {
            (authority) async throws in
            let begin = NIODeadline.now()
            for number in 1...12 {
                let client = "198.51.100.\(number)"
                #expect(try await authority.verify("alice", "wrong", client: client).replyKind == .reject)
                #expect(try await authority.verify("bob", client: client).replyKind == .ok)
            }
            // 20 ms once, then 40 ms for each: as if it were one client.
            #expect(NIODeadline.now() - begin >= .milliseconds(20 + 10 * 40))
        }
    }

    @Test func ticketsOfRemovedAccountsAreVoid() async throws {
        try await TestAuthority.run { (authority) async throws in
            let ticket = try #require(try await authority.verify("bob")["ticket"])
            authority.directory.write("users", "alice@example.test:!\n".utf8)
            #expect(try await authority.redeem(ticket)["status"] == "5.7.8")
        }
    }

    @Test(arguments: [
        ("alice", "wrong"), ("alice", ""), ("nobody", "U*U"), ("locked", "U*U"), ("team", "U*U"),
        ("alice@example.net", "U*U"), ("", "U*U"), ("a b\u{0}@@\n", "U*U"),
    ])
    func wrongLoginsLookAlike(user: String, password: String) async throws {
        try await TestAuthority.run { (authority) async throws in
            var reply = try await authority.verify(user, password)
            reply["tag"] = nil
            #expect(reply == .reply(.reject, status: "5.7.8", text: "wrong user or password"))
        }
    }

    @Test func unknownUsersCostAComparisonToo() async throws {
        let hashes = NIOLockedValueBox<[String]>([])
        try await TestAuthority.run(
            matches: { password, hash in
                hashes.withLockedValue { $0.append(hash) }
                return true
            },
            { (authority) async throws in
                #expect(try await authority.verify("nobody").replyKind == .reject)
                #expect(try await authority.verify("locked").replyKind == .reject)
            }
        )
        #expect(hashes.withLockedValue { $0 } == [TestAuthority.hash, TestAuthority.hash])
    }

    @Test func incompleteQuestionsAreRefused() async throws {
        try await TestAuthority.run { (authority) async throws in
            for (frame, status) in [
                (Frame("VERIFY", ["service": "pop3", "user": "alice"]), "5.5.4"),
                (Frame("VERIFY", ["service": "nntp", "user": "alice", "password": "U*U"]), "5.5.4"),
                (Frame("REDEEM", ["service": "pop3"]), "5.7.8"), (Frame("RECIPIENT"), "5.1.3"),
                (Frame("EXPAND", ["address": "<alice@example.test>"]), "5.1.3"), (Frame("HELLO"), "5.5.1"),
            ] {
                let reply = try await authority.client.request(frame)
                #expect(reply.replyKind == .reject && reply["status"] == status)
            }
        }
    }

    @Test func recipientsAndExpansions() async throws {
        try await TestAuthority.run { (authority) async throws in
            for (verb, address, answer) in [
                ("RECIPIENT", "ALICE@example.test", "kind=local"), ("RECIPIENT", "team@example.test", "kind=local"),
                ("RECIPIENT", "alice+x@example.test", "kind=local"), ("RECIPIENT", "a@example.net", "kind=foreign"),
                ("RECIPIENT", "nobody@example.test", "REJECT 5.1.1"),
                ("RECIPIENT", "round@example.test", "REJECT 5.4.6"),
                (
                    "EXPAND", "boss+x@example.test",
                    "address=alice@example.test mailbox=example.test/alice format=maildir quota=1000"
                ),
                (
                    "EXPAND", "bob+x@example.test",
                    "address=bob@example.test mailbox=bob.mbox format=mbox quota=0 extension=x"
                ),
                ("EXPAND", "team@example.test", "forward=alice@example.test forward=carol@example.net"),
                ("EXPAND", "a@example.net", "DEFER 4.3.0"), ("EXPAND", "nobody@example.test", "REJECT 5.1.1"),
                ("EXPAND", "round@example.test", "REJECT 5.4.6"),
            ] {
                #expect(try await authority.ask(verb, address) == answer, "\(verb) \(address)")
            }
        }
    }

    /// local-deliver says so, and smtpd takes nothing more for a while.
    @Test func fullMailboxesTakeNoMail() async throws {
        try await TestAuthority.run { (authority) async throws in
            #expect(try await authority.ask("RECIPIENT", "alice@example.test") == "kind=local")
            #expect(try await authority.ask("FULL", "nobody@example.test") == "REJECT 5.1.1")
            #expect(try await authority.ask("FULL", "alice@example.test") == "")
            for address in ["alice@example.test", "Alice+x@example.test", "boss@example.test"] {
                #expect(try await authority.ask("RECIPIENT", address) == "DEFER 4.2.2")
            }
            // An alias for others as well takes it: they have room.
            #expect(try await authority.ask("RECIPIENT", "team@example.test") == "kind=local")
            #expect(try await authority.ask("RECIPIENT", "bob@example.test") == "kind=local")
            #expect(try await authority.ask("EXPAND", "alice@example.test").hasPrefix("address=alice@example.test"))
        }
    }

    /// What comes back to a sender that was made here goes to the one before; what looks like one is nobody.
    @Test func bouncesFindTheSender() async throws {
        let scheme = try ForwardedSender(domain: "example.test", secrets: "secret\n")
        let sender = try MailAddress(parsing: "a@example.net".utf8)
        try await TestAuthority.run(more: "[srs]\ndomain = \"example.test\"\n") { (authority) async throws in
            let own = try #require(scheme.rewritten(sender, local: [], at: TestAuthority.now))
            #expect(try await authority.ask("RECIPIENT", "\(own)") == "kind=local reports-only=yes")
            #expect(try await authority.ask("EXPAND", "\(own)") == "forward=a@example.net")
            let forged = "\(own)".replacing("=a@", with: "=b@")
            for verb in ["RECIPIENT", "EXPAND"] { #expect(try await authority.ask(verb, forged) == "REJECT 5.1.1") }
        }
        try await TestAuthority.run { (authority) async throws in
            let own = try #require(scheme.rewritten(sender, local: [], at: TestAuthority.now))
            #expect(try await authority.ask("RECIPIENT", "\(own)") == "REJECT 5.1.1")
        }
    }

    /// Routes are followed in the configuration: what is mended there holds for the next question, and watchers hear of it.
    @Test func routesFollowTheConfiguration() async throws {
        let more = """

            [remote-relay.routes]
            "*" = "wrong.test:2525"
            [remote-relay.named-routes]
            "Archive" = { hosts = ["[2001:db8::1]", "b.test"], protocol = "lmtp", tls = "verify", credentials = "isp" }
            """
        try await TestAuthority.run(more: more) { (authority) async throws in
            func ask(_ question: RouteTable.Question) async throws -> RelayRoute? {
                try RelayRoute.read(try await authority.client.request(question.frame))
            }
            #expect(
                try await ask(.init(account: "a@example.test", destination: "example.net"))
                    == .hosts(RelayHosts([RelayHost(host: "wrong.test", port: 2525)]))
            )
            var archive = RelayHosts([RelayHost(host: "2001:db8::1", port: 25), RelayHost(host: "b.test", port: 25)])
            archive.language = .lmtp
            archive.tls = RelayTLSRule(.verify)
            archive.credentials = "isp"
            #expect(try await ask(.init(name: "archive", destination: "example.net")) == .hosts(archive))
            let missing = try await authority.client.request(RouteTable.Question(name: "other").frame)
            #expect(missing.replyKind == .defer && missing["status"] == "4.4.4")
            let watched = try await authority.client.request(Frame("WATCH"))
            #expect(watched.all("routes-by") == ["name", "destination"])
            let file = authority.directory.file("martlet.toml")
            let text = try #require(WholeFile.read(file, maximum: 1 << 20)).replacing(
                "wrong.test:2525",
                with: "right.test"
            )
            authority.directory.write("martlet.toml", text.utf8)
            #expect(
                try await ask(.init(destination: "example.net"))
                    == .hosts(RelayHosts([RelayHost(host: "right.test", port: 25)]))
            )
            // What can't be read changes nothing.
            authority.directory.write("martlet.toml", "[remote-relay.routes".utf8)
            #expect(try await ask(.init(destination: "example.net")) != nil)
        }
    }

    @Test func fullMailboxesAreTriedAgain() throws {
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        var full = FullMailboxes(capacity: 10)
        let alice = try MailAddress(parsing: "Alice@example.test".utf8)
        full.add(alice, now: start)
        #expect(full.contains(alice, now: start + .seconds(59)))
        #expect(!full.contains(alice, now: start + .seconds(60)))
        for number in 0..<20 {
            full.add(try MailAddress(parsing: "user\(number)@example.test".utf8), now: start + .seconds(90))
        }
        let known = try (0..<20).filter {
            full.contains(try MailAddress(parsing: "user\($0)@example.test".utf8), now: start + .seconds(91))
        }
        #expect(known.count == 10)
    }

    /// What an alias of an account's name leads to is asked for once more, as what it led to.
    @Test func anAliasKeepsACopy() async throws {
        try await TestAuthority.run(aliases: "bob: bob, away@example.net\n") { (authority) async throws in
            let first = try await authority.ask("EXPAND", "bob@example.test")
            #expect(first == "forward=bob@example.test forward=away@example.net")
            let second = try await authority.client.request(
                Frame("EXPAND", ["address": "bob@example.test", "expanded": "yes"])
            )
            #expect(second["mailbox"] == "bob.mbox" && second["forward"] == nil)
        }
    }

    @Test func otherQuestionsDoNotWaitForAPassword() async throws {
        let gate = ConditionLock(value: 0)
        try await TestAuthority.run(
            matches: { _, _ in
                gate.lock(whenValue: 1)
                gate.unlock()
                return true
            },
            { (authority) async throws in
                async let login = authority.verify("alice")
                #expect(try await authority.ask("RECIPIENT", "bob@example.test") == "kind=local")
                gate.lock()
                gate.unlock(withValue: 1)
                #expect(try await login.replyKind == .ok)
            }
        )
    }

    @Test func garbageIsAnsweredOnceAndEndsTheConnection() async throws {
        try await TestAuthority.run { (authority) async throws in
            let path = authority.directory.file("auth.sock")
            let connection = try await Connection.connect(unix: path, on: authority.loop)
            connection.idleTimeout = .seconds(20)
            connection.write("GET / HTTP/1.1\r\n\r\n")
            try await connection.flush()
            var parser = FrameParser()
            #expect(try await connection.readFrame(&parser)?["status"] == "5.5.2")
            #expect(try await connection.receive() == false)
            connection.close()
            #expect(try await authority.ask("RECIPIENT", "bob@example.test") == "kind=local")
        }
    }

    @Test func unknownVerbIsRefused() async throws {
        try await TestAuthority.run { (authority) async throws in
            for verb in ["DANCE", "VERIFY-ALL"] {
                let reply = try await authority.client.request(Frame(verb))
                #expect(reply.replyKind == .reject && reply["status"] == "5.5.1")
            }
        }
    }

    @Test func eachVerbHasItsUsers() {
        let access = AuthorityService.Access(
            logins: [1],
            mailboxes: [2],
            recipients: [3],
            deliveries: [4],
            watchers: [5],
            routes: [7]
        )
        let users: [(UInt32, AuthorityService.Verb)] = [
            (1, .verify), (1, .token), (1, .certificate), (1, .scram), (2, .redeem), (3, .recipient), (4, .expand),
            (4, .full), (5, .watch), (5, .account), (7, .route), (3, .sender), (3, .send), (0, .usage), (3, .greylist),
            (0, .greylistPass),
            (0, .greylistRemove),
        ]
        #expect(users.map(\.1) == AuthorityService.Verb.allCases)
        for (uid, verb) in users {
            // smtpd's EXPN asks what local-deliver asks, and queue-manager where aliases were mended.
            let others: Set<UInt32> = verb == .expand ? [uid, 3, 7] : [uid]
            for other in UInt32(1)...7 { #expect(access.allows(verb, other) == others.contains(other)) }
        }
    }
}
