import Bus
import NIOCore
import SMTP
import Testing

@testable import Authority

@Suite struct SendingTests {
    private func address(_ text: String) throws -> MailAddress { try MailAddress(parsing: text.utf8) }

    // MARK: Counts

    private static let limits = SendingLimits(
        hour: SendingAmount(messages: 3, recipients: 10),
        day: SendingAmount(messages: 5, recipients: 30)
    )

    private func send(
        _ counts: inout SendingCounts,
        _ account: MailAddress,
        recipients: Int,
        limits: SendingLimits,
        now: Int
    ) -> SendingCounts.Refusal? {
        counts.send(account, recipients: recipients, limits: limits, now: now)
    }

    @Test func hourAndDayAreLimited() throws {
        let alice = try address("alice@example.test")
        let bob = try address("bob@example.test")
        var counts = SendingCounts()
        var now = TestAuthority.now - TestAuthority.now % 600
        for _ in 1...3 { #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: now) == nil) }
        #expect(
            send(&counts, alice, recipients: 1, limits: Self.limits, now: now + 60)
                == .later(limit: 3, of: .messages, per: .hour, wait: 3540)
        )
        // Others are not concerned, and what was refused doesn't count.
        #expect(send(&counts, bob, recipients: 1, limits: Self.limits, now: now) == nil)
        #expect(counts.amount(of: alice, within: .hour, now: now) == SendingAmount(messages: 3, recipients: 3))
        now += 3600
        for _ in 1...2 { #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: now) == nil) }
        #expect(
            send(&counts, alice, recipients: 1, limits: Self.limits, now: now)
                == .later(limit: 5, of: .messages, per: .day, wait: 82_800)
        )
        #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: now + 82_800) == nil)
    }

    @Test func recipientsAreLimited() throws {
        let alice = try address("alice@example.test")
        var counts = SendingCounts()
        let now = TestAuthority.now
        #expect(send(&counts, alice, recipients: 11, limits: Self.limits, now: now) == .never(limit: 10, per: .hour))
        #expect(send(&counts, alice, recipients: 9, limits: Self.limits, now: now) == nil)
        guard case .later(10, .recipients, .hour, _) = counts.send(alice, recipients: 2, limits: Self.limits, now: now)
        else {
            Issue.record("two more are too many")
            return
        }
        #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: now) == nil)
        counts.lift(try address("ALICE@example.test"))
        #expect(send(&counts, alice, recipients: 10, limits: Self.limits, now: now) == nil)
        #expect(send(&counts, alice, recipients: 100_000, limits: SendingLimits(), now: now) == nil)
    }

    @Test func whatWasNotTakenIsTakenBack() throws {
        let alice = try address("alice@example.test")
        var counts = SendingCounts()
        let now = TestAuthority.now - TestAuthority.now % 600
        counts.takeBack(alice, recipients: 3)
        #expect(counts.lines.isEmpty)
        _ = counts.send(alice, recipients: 4, limits: Self.limits, now: now)
        _ = counts.send(alice, recipients: 2, limits: Self.limits, now: now + 600)
        _ = counts.send(alice, recipients: 1, limits: Self.limits, now: now + 600)
        #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: now + 600) != nil)
        counts.takeBack(alice, recipients: 2)
        #expect(counts.amount(of: alice, within: .hour, now: now + 600) == SendingAmount(messages: 2, recipients: 5))
        #expect(send(&counts, alice, recipients: 2, limits: Self.limits, now: now + 600) == nil)
        // More than was counted is nothing, and no debt.
        for _ in 0..<9 { counts.takeBack(alice, recipients: 1_000_000) }
        #expect(counts.lines.isEmpty)
        for _ in 1...3 { #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: now + 600) == nil) }
        #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: now + 600) != nil)
    }

    @Test func countsComeBackFromTheirLines() throws {
        let alice = try address("alice@example.test")
        var counts = SendingCounts()
        let now = TestAuthority.now
        _ = counts.send(alice, recipients: 4, limits: Self.limits, now: now - 3600)
        _ = counts.send(alice, recipients: 2, limits: Self.limits, now: now)
        let lines =
            counts.lines.map { $0[...] } + [
                "", "x", "a@b:1:2", "alice@example.test:9999999999999999:1:1", "a@b:-1:1:1",
            ]
        let read = SendingCounts(lines: lines)
        #expect(read.lines == counts.lines)
        #expect(read.amount(of: alice, within: .day, now: now) == SendingAmount(messages: 2, recipients: 6))
        #expect(read.amount(of: alice, within: .hour, now: now) == SendingAmount(messages: 1, recipients: 2))
    }

    @Test func clockThatWasPutBackLocksNobodyOut() throws {
        let alice = try address("alice@example.test")
        var counts = SendingCounts()
        for _ in 1...3 { _ = counts.send(alice, recipients: 1, limits: Self.limits, now: TestAuthority.now) }
        #expect(send(&counts, alice, recipients: 1, limits: Self.limits, now: TestAuthority.now - 86_400) == nil)
    }

    // MARK: Senders

    @Test(
        arguments: [
            ("alice", "alice@example.test", true), ("alice", "ALICE+list@example.test", true),
            ("alice", "boss@example.test", true), ("alice", "team@example.test", true),
            ("alice", "bob@example.test", false), ("bob", "team@example.test", false),
            ("alice", "round@example.test", false), ("alice", "alice@example.net", false),
            ("bob", "sales@example.test", true), ("bob", "press@news.example", true), ("bob", "x@other.example", false),
            ("bob", "Anybody@Sub.Example", true), ("elsewhere@example.net", "elsewhere@example.net", true),
            ("elsewhere@example.net", "alice@example.test", false),
        ]
    )
    func senders(user: String, sender: String, isAllowed: Bool) async throws {
        let senders =
            "# rights\nbob@example.test: sales@example.test, press@news.example\nBOB@example.test:@sub.example\n"
        try await TestAuthority.run(files: ["senders": senders], more: "senders = \"@/senders\"\n") { authority in
            let reply = try await authority.client.request(Frame("SENDER", ["user": user, "sender": sender]))
            #expect(reply["allowed"] == (isAllowed ? "yes" : "no"))
        }
    }

    /// As long as nobody knows who is on a list, nobody knows who may send as it; what the table says is known.
    @Test func listsThatCannotBeRead() async throws {
        try await TestAuthority.run(
            aliases: "news: :include:nowhere/list\n",
            files: ["senders": "bob@example.test: news@example.test\n"],
            more: "senders = \"@/senders\"\n"
        ) { authority in
            func ask(_ user: String) async throws -> Frame {
                try await authority.client.request(Frame("SENDER", ["user": user, "sender": "news@example.test"]))
            }
            let (alice, bob) = (try await ask("alice"), try await ask("bob"))
            #expect(alice.replyKind == .defer && bob["allowed"] == "yes")
        }
    }

    /// What an administrator does about a stolen password holds for sessions that are under way.
    @Test func whoIsDisabledSendsNoMore() async throws {
        try await TestAuthority.run { authority in
            func send(_ user: String) async throws -> String {
                let reply = try await authority.client.request(Frame("SEND", ["user": user, "recipients": "1"]))
                return "\(reply.verb) \(reply["status"] ?? "")"
            }
            for (user, answer) in [
                ("bob@example.test", "OK 2.0.0"), ("locked@example.test", "REJECT 5.2.1"),
                ("gone@example.test", "REJECT 5.2.1"), ("elsewhere@example.net", "OK 2.0.0"),
            ] {
                let said = try await send(user)
                #expect(said == answer)
            }
            authority.directory.write("users", "bob@example.test:!\(TestAuthority.hash)\n".utf8)
            let said = try await send("bob@example.test")
            #expect(said == "REJECT 5.2.1")
        }
    }

    @Test func faultySendersAreNamed() async throws {
        try await TestAuthority.run(files: ["senders": "alice: x\n"], more: "senders = \"@/senders\"\n") { authority in
            let reply = try await authority.client.request(Frame("SENDER", ["user": "alice", "sender": "x@y.example"]))
            #expect(reply.replyKind == .defer)
            #expect(authority.log.lines(with: "senders:1: ").count == 1)
            authority.directory.write("senders", "alice@example.test: *\n".utf8)
            let later = try await authority.client.request(Frame("SENDER", ["user": "alice", "sender": "x@y.example"]))
            #expect(later["allowed"] == "yes")
        }
    }

    @Test func sendersAreEdited() async throws {
        let text = "# rights\nbob@example.test: a@example.test, @example.org\nalice@example.test: *\n"
        try await TemporaryDirectory.with { directory in
            directory.write("senders", text.utf8)
            directory.write("users", "".utf8)
            let editor = SenderEditor(file: directory.file("senders"), users: directory.file("users"))
            let bob = try address("bob@example.test")
            try editor.add(try #require(SenderTable.Right("b@example.test")), for: bob)
            try editor.remove(try #require(SenderTable.Right("@EXAMPLE.org")), of: bob)
            let edited = String(decoding: directory.read("senders"), as: UTF8.self)
            #expect(
                edited
                    == "# rights\nbob@example.test: a@example.test\nalice@example.test: *\nbob@example.test: b@example.test\n"
            )
            #expect(throws: SenderEditor.Fault.exists("b@example.test")) {
                try editor.add(try #require(SenderTable.Right("b@example.test")), for: bob)
            }
            #expect(throws: SenderEditor.Fault.missing("c@example.test")) {
                try editor.remove(try #require(SenderTable.Right("c@example.test")), of: bob)
            }
            try editor.removeAll(of: bob)
            #expect(String(decoding: directory.read("senders"), as: UTF8.self) == "# rights\nalice@example.test: *\n")
        }
    }

    // MARK: The service

    @Test func delimitersAreConfigured() async throws {
        try await TestAuthority.run(more: "subaddress-delimiters = \"-_\"\n") { authority in
            let known = try await authority.ask("RECIPIENT", "alice-x@example.test")
            let extended = try await authority.ask("EXPAND", "alice_x-y@example.test")
            let unknown = try await authority.ask("RECIPIENT", "alice+x@example.test")
            #expect(known == "kind=local" && unknown == "REJECT 5.1.1")
            #expect(extended.hasSuffix("extension=x-y"))
        }
    }

    @Test(arguments: [("", "kind=local"), ("refuse-disabled = true\n", "REJECT 5.2.1")])
    func disabledUsersMayBeRefused(setting: String, answer: String) async throws {
        try await TestAuthority.run(more: setting) { authority in
            let disabled = try await authority.ask("RECIPIENT", "locked+x@example.test")
            let other = try await authority.ask("RECIPIENT", "alice@example.test")
            #expect(disabled == answer && other == "kind=local")
        }
    }

    /// For queue-manager: whether mail of an account may go on.
    @Test func disabledAccountsAreTold() async throws {
        try await TestAuthority.run { (authority) async throws in
            for (user, answer) in [
                ("locked@example.test", "yes"), ("Locked@EXAMPLE.test", "yes"), ("alice@example.test", "no"),
                ("nobody@example.test", "no"), ("somebody@example.net", "no"),
            ] {
                #expect(try await authority.client.request(Frame("ACCOUNT", ["user": user]))["disabled"] == answer)
            }
            #expect(try await authority.client.request(Frame("ACCOUNT")).replyKind == .reject)
        }
    }

    @Test func limitsOutliveAuthd() async throws {
        try await TestAuthority.run(
            more:
                "[authd.sending]\nmessages-per-hour = 2\n[authd.sending.accounts.\"bob\\u0040example.test\"]\nmessages-per-hour = 1\n"
        ) { authority in
            func send(_ user: String) async throws -> Frame {
                try await authority.client.request(Frame("SEND", ["user": user, "recipients": "3"]))
            }
            #expect(try await send("alice@example.test").replyKind == .ok)
            #expect(try await send("alice@example.test").replyKind == .ok)
            let back = Frame("SEND", ["user": "alice@example.test", "recipients": "3", "taken-back": "yes"])
            #expect(try await authority.client.request(back).replyKind == .ok)
            #expect(try await send("alice@example.test").replyKind == .ok)
            let refused = try await send("alice@example.test")
            #expect(refused.replyKind == .defer && refused["status"] == "4.7.1")
            #expect(refused["text"]?.hasPrefix("the limit of 2 messages an hour is reached, try again in ") == true)
            #expect(try await send("bob@example.test").replyKind == .ok)
            #expect(try await send("bob@example.test").replyKind == .defer)
            #expect(!authority.log.lines(with: "sending limit reached").isEmpty)
            let usage = SendingUsage(
                try await authority.client.request(SendingUsage.question(try address("alice@example.test")))
            )
            #expect(usage?.hour == SendingAmount(messages: 2, recipients: 6))
            #expect(usage?.limits.hour.messages == 2)
            while AuthorityRecords(directory: authority.directory.path).sending.lines.isEmpty {
                try await authority.loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
            }
            _ = try await authority.client.request(
                SendingUsage.question(try address("alice@example.test"), lifting: true)
            )
            #expect(try await send("alice@example.test").replyKind == .ok)
        }
    }
}
