import Bus
import Mailbox
import NIOConcurrencyHelpers
import NIOCore
import Network
import Rewriting
import Testing

@testable import LocalDelivery

#if canImport(Glibc)
import Glibc
#endif

@Suite struct DeliveryServiceTests {
    private static let message = "Subject: hi\r\n\r\nbody\r\n"
    private static func delivered(_ address: String) -> String {
        "Return-Path: <carol@example.net>\r\nDelivered-To: \(address)\r\n\(message)"
    }

    @Test func eachRecipientHasItsReplyAndItsMessage() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            system.addMailbox("dave")
            let to = ["bob@example.test", "nobody@example.test", "dave@example.test"]
            let replies = try await system.deliver(Self.message, to: to)
            #expect(replies["<bob@example.test>"]?.verb == "OK")
            #expect(replies["<dave@example.test>"]?.verb == "OK")
            #expect(replies["<nobody@example.test>"]?.verb == "REJECT")
            #expect(replies["<nobody@example.test>"]?["status"] == "5.1.1")
            #expect(try system.messages("bob") == [Self.delivered("bob@example.test")])
            #expect(try system.messages("dave") == [Self.delivered("dave@example.test")])
        }
    }

    @Test(arguments: [MailboxFormat.maildir, .mbox])
    func askedAgainItIsDeliveredOnce(_ format: MailboxFormat) async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob", format)
            for attempt in 1...3 {
                let replies = try await system.deliver(Self.message, to: ["bob@example.test"]) { frame in
                    if attempt > 1 { frame["retry"] = "yes" }
                }
                #expect(replies.values.map(\.verb) == ["OK"])
            }
            #expect(try system.messages("bob", format).count == 1)
            _ = try await system.deliver(Self.message, id: "aa12", to: ["bob@example.test"]) { $0["retry"] = "yes" }
            #expect(try system.messages("bob", format).count == 2)
        }
    }

    @Test func manyRequestsAtOnceAllArrive() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            system.addMailbox("mbox", .mbox)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<120 {
                    let recipient = number % 10 == 0 ? "mbox@example.test" : "bob@example.test"
                    group.addTask {
                        let replies = try await system.deliver(Self.message, id: "m\(number)", to: [recipient])
                        #expect(replies.values.map(\.verb) == ["OK"])
                    }
                }
                try await group.waitForAll()
            }
            #expect(try system.messages("bob").count == 108)
            #expect(try system.messages("mbox", .mbox).count == 12)
            // Answers of authd are believed for a while.
            #expect(system.questions.withLockedValue { $0.count } < 120)
        }
    }

    @Test func aliasGoesThroughTheQueueWithAMark() async throws {
        try await TestSystem.run { system in
            system.answers.withLockedValue {
                $0["team@example.test"] = .ok(
                    tag: nil,
                    [.init("forward", "bob@example.test"), .init("forward", "x@example.net")]
                )
            }
            let down = try await system.deliver(Self.message, to: ["team@example.test"])
            #expect(down.values.map { $0["status"] } == ["4.3.0"])
            try await system.startQueue()
            let long = Self.message + String(repeating: "0123456789\r\n", count: 20_000)
            let replies = try await system.deliver(long, to: ["team@example.test"]) { $0["submitter"] = "account" }
            #expect(replies.values.map(\.verb) == ["OK"])
            #expect(replies.values.map { $0["expanded"] } == ["2"])
            let submission = try #require(system.submissions.withLockedValue { $0.first })
            #expect(submission.sender == "<carol@example.net>")
            #expect(submission.recipients == ["<bob@example.test>", "<x@example.net>"])
            #expect(submission.origin.hasPrefix("aa11"))
            #expect(submission.isExpanded)
            // It's still our own user's, and signed when it leaves.
            #expect(submission.submitter == "account")
            #expect(submission.message == "Delivered-To: team@example.test\r\n" + long)
        }
    }

    /// To other hosts the sender is one of ours, unless it was before or a list's owner takes its place.
    @Test func sendersAreRewrittenForOthers() async throws {
        let rewriting = try ForwardedSender(domain: "example.test", secrets: "secret")
        try await TestSystem.run(rewriting: rewriting) { system in
            try await system.startQueue()
            system.answers.withLockedValue {
                $0["away@example.test"] = .ok(tag: nil, [.init("forward", "x@example.org")])
                $0["both@example.test"] = .ok(
                    tag: nil,
                    [.init("forward", "x@example.org"), .init("forward", "bob@example.test")]
                )
                $0["here@example.test"] = .ok(
                    tag: nil,
                    [.init("forward", "bob@example.test"), .init("forward", "carol@example.test")]
                )
                $0["news@example.test"] = .ok(
                    tag: nil,
                    [.init("forward", "x@example.org"), .init("owner", "owner-news@example.test")]
                )
            }
            for (name, sender, expected) in [
                ("away", "<carol@example.net>", "SRS0"), ("both", "<carol@example.net> BODY=8BITMIME", "SRS0"),
                ("here", "<carol@example.net>", "<carol@example.net>"), ("away", "<>", "<>"),
                ("away", "<alice@example.test>", "<alice@example.test>"),
                ("news", "<carol@example.net>", "<owner-news@example.test>"),
            ] {
                _ = try await system.deliver(Self.message, to: ["\(name)@example.test"]) { $0["sender"] = sender }
                let sent = try #require(system.submissions.withLockedValue { $0.popLast() }).sender
                if expected == "SRS0" {
                    #expect(sent.hasPrefix("<SRS0=") && sent.contains("=example.net=carol@example.test>"), "\(sent)")
                } else {
                    #expect(sent == expected)
                }
            }
        }
    }

    /// A list's owner hears of failures; a report's sender stays nobody.
    @Test(arguments: [false, true]) func listsHaveAnOwner(_ isVariable: Bool) async throws {
        try await TestSystem.run(variableListSenders: isVariable) { system in
            system.answers.withLockedValue {
                $0["news@example.test"] = .ok(
                    tag: nil,
                    [
                        .init("forward", "bob@example.test"), .init("forward", "x@example.net"),
                        .init("owner", "owner-news@example.test"),
                    ]
                )
            }
            try await system.startQueue()
            for sender in ["<carol@example.net> BODY=8BITMIME RET=FULL ENVID=a REQUIRETLS", "<>"] {
                let replies = try await system.deliver(Self.message, to: ["news@example.test"]) {
                    $0["sender"] = sender
                    $0["recipient"] = "<news@example.test> NOTIFY=SUCCESS,FAILURE"
                }
                // That the list has it is all that its sender hears (RFC 3461 §5.2.7.3).
                #expect(replies.values.map { $0["expanded"] } == [sender == "<>" ? "2" : nil])
                #expect(replies.values.map { $0.verb } == ["OK"])
            }
            let submitted = system.submissions.withLockedValue { $0 }
            // That it's not to be seen on its way holds for members, too (RFC 8689 §4.2.1).
            let sender = "<owner-news@example.test> BODY=8BITMIME REQUIRETLS\(isVariable ? " XVERP=+=" : "")"
            #expect(submitted.map(\.sender) == [sender, "<>"])
            #expect(submitted.first?.recipients == ["<bob@example.test>", "<x@example.net>"])
            #expect(submitted.last?.recipients.first?.contains("NOTIFY=FAILURE") == true)
        }
    }

    /// Other hosts can be told no other way.
    @Test func whatIsForwardedSaysThatItIsQuarantined() async throws {
        try await TestSystem.run { system in
            system.answers.withLockedValue { $0["a@example.test"] = .ok(tag: nil, [.init("forward", "b@example.net")]) }
            try await system.startQueue()
            _ = try await system.deliver(Self.message, to: ["a@example.test"]) { $0["quarantine"] = "yes" }
            let submission = try #require(system.submissions.withLockedValue { $0.first })
            let added = "X-Martlet-Quarantine: yes\r\nDelivered-To: a@example.test\r\n"
            #expect(submission.message == added + Self.message)
        }
    }

    /// REQUIRETLS goes on with what an alias leads to (RFC 8689 §4.2.1).
    @Test func requiredTLSOutlivesAnAlias() async throws {
        try await TestSystem.run { system in
            system.answers.withLockedValue { $0["a@example.test"] = .ok(tag: nil, [.init("forward", "b@example.net")]) }
            try await system.startQueue()
            let sender = "<carol@example.net> REQUIRETLS"
            _ = try await system.deliver(Self.message, to: ["a@example.test"]) { $0["sender"] = sender }
            #expect(system.submissions.withLockedValue { $0.map(\.sender) } == [sender])
        }
    }

    @Test(arguments: [ReplyKind.defer, .reject]) func queueThatRefusesDecides(_ kind: ReplyKind) async throws {
        try await TestSystem.run { system in
            system.answers.withLockedValue { $0["a@example.test"] = .ok(tag: nil, [.init("forward", "b@example.net")]) }
            let status = kind == .defer ? "4.3.1" : "5.4.6"
            try await system.startQueue(.reply(kind, status: status, text: "no"))
            let reply = try await system.deliver(Self.message, to: ["a@example.test"]).values.first
            #expect(reply?.replyKind == kind)
            #expect(reply?["status"] == status)
        }
    }

    @Test func messageThatWasHereBeforeIsALoop() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            let looped = "X: y\r\nDELIVERED-to:  BOB@example.test\r\n" + Self.message
            let reply = try await system.deliver(looped, to: ["bob@example.test"]).values.first
            #expect(reply?.verb == "REJECT")
            #expect(reply?["status"] == "5.4.6")
            let quoted = Self.message + "Delivered-To: bob@example.test\r\n"
            let fine = try await system.deliver(quoted, id: "aa12", to: ["bob@example.test"]).values.first
            #expect(fine?.verb == "OK")
            #expect(try system.messages("bob").count == 1)
        }
    }

    /// Keep and forward: what an alias of a mailbox's own name led to is put into the mailbox, and that is the end of it.
    @Test func aCopyForTheOwnMailboxIsKept() async throws {
        try await TestSystem.run { system in
            try await system.startQueue()
            system.addMailbox("bob")
            system.answers.withLockedValue {
                $0["bob@example.test expanded"] = $0["bob@example.test"]
                $0["bob@example.test"] = .ok(
                    tag: nil,
                    [.init("forward", "bob@example.test"), .init("forward", "away@example.net")]
                )
            }
            let first = try await system.deliver(Self.message, to: ["bob@example.test"]).values.first
            #expect(first?["expanded"] == "2")
            let submission = try #require(system.submissions.withLockedValue { $0.first })
            let second = try await system.deliver(submission.message, id: "aa12", to: ["bob@example.test"]) {
                $0["expanded"] = "yes"
            }
            #expect(second.values.map { $0["action"] } == ["delivered"])
            #expect(try system.messages("bob").count == 1)
            // From elsewhere it's a loop all the same.
            let third = try await system.deliver(submission.message, id: "aa13", to: ["bob@example.test"])
            #expect(third.values.map { $0["status"] } == ["5.4.6"])
        }
    }

    /// authd says when; nothing is restarted.
    @Test(.timeLimit(.minutes(1))) func whatAuthdSaidIsForgottenWhenItChanges() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            _ = try await system.deliver(Self.message, to: ["bob@example.test"])
            system.addMailbox("dave")
            system.answers.withLockedValue { $0["bob@example.test"] = $0["dave@example.test"] }
            _ = try await system.deliver(Self.message, id: "aa12", to: ["bob@example.test"])
            #expect(try system.messages("bob").count == 2)
            let heard = system.changes.withLockedValue { $0 }
            system.announceChange()
            while system.changes.withLockedValue({ $0 == heard }) { try await Task.sleep(for: .milliseconds(1)) }
            _ = try await system.deliver(Self.message, id: "aa13", to: ["bob@example.test"])
            #expect(try system.messages("bob").count == 2)
            #expect(try system.messages("dave").count == 1)
        }
    }

    /// So that smtpd takes no more mail for it.
    @Test(.timeLimit(.minutes(1))) func authdHearsOfAFullMailbox() async throws {
        try await TestSystem.run { system in
            for name in ["bob", "dave"] { system.addMailbox(name, quota: 150) }
            let large = Self.message + String(repeating: "0123456789abcdef\r\n", count: 40_000)
            // One that is too large for most mailboxes says nothing of others.
            let first = try await system.deliver(large, to: ["dave@example.test"]).values.first
            #expect(first?["status"] == "4.2.2")
            let long = Self.message + String(repeating: "x", count: 200) + "\r\n"
            for id in ["aa12", "aa13", "aa14"] {
                let reply = try await system.deliver(long, id: id, to: ["bob@example.test"]).values.first
                #expect(reply?["status"] == "4.2.2")
            }
            while system.full.withLockedValue({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(5)) }
            #expect(system.full.withLockedValue { $0 } == ["bob@example.test"])
        }
    }

    @Test(arguments: [true, false]) func extensionGoesToItsFolder(_ isWanted: Bool) async throws {
        try await TestSystem.run(extensionFolders: isWanted) { system in
            system.addMailbox("bob", extension: "lists")
            system.addMailbox("bob", extension: "a/b")
            let location = try #require(MailboxLocation(path: "example.test/bob", format: .maildir))
            try system.mail.open(location).create(try #require(FolderName("lists")))
            let to = ["bob+lists@example.test", "bob+a/b@example.test"]
            _ = try await system.deliver(Self.message, to: to)
            #expect(try system.messages("bob").count == (isWanted ? 1 : 2))
            #expect(try system.messages("bob", folder: "lists").count == (isWanted ? 1 : 0))
        }
    }

    @Test func fullMailboxIsTriedAgainLater() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob", quota: 150)
            let first = try await system.deliver(Self.message, to: ["bob@example.test"]).values.first
            #expect(first?.verb == "OK")
            let long = Self.message + String(repeating: "x", count: 100) + "\r\n"
            let second = try await system.deliver(long, id: "aa12", to: ["bob@example.test"]).values.first
            #expect(second?.verb == "DEFER")
            #expect(second?["status"] == "4.2.2")
            #expect(try system.messages("bob").count == 1)
        }
    }

    @Test(arguments: [
        ("octets", "x"), ("octets", "9223372036854775807"), ("octets", "-5"), ("octets", "5000"), ("octets", "3"),
        ("added", "x"), ("added", "-1"), ("added", "5000"), ("id", "../x"), ("id", ""), ("sender", "nonsense"),
    ])
    func requestThatCannotBeRightLosesNothing(_ field: String, _ value: String) async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            let replies = try await system.deliver(Self.message, to: ["bob@example.test"]) { $0[field] = value }
            // A reply without a recipient stands for all.
            #expect((replies["<bob@example.test>"] ?? replies[""])?.verb == "DEFER")
            #expect(try system.messages("bob").isEmpty)
        }
    }

    @Test func whatIsAddedIsInFront() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            _ = try await system.deliver(Self.message, added: "Received: x\r\n", to: ["bob@example.test"])
            let expected = Self.delivered("bob@example.test")
            let lines = expected.replacing("Subject:", with: "Received: x\r\nSubject:")
            #expect(try system.messages("bob") == [lines])
        }
    }

    private static let large = message + String(repeating: "0123456789abcdef\r\n", count: 40_000)

    @Test(arguments: [MailboxFormat.maildir, .mbox])
    func largeMessageComesInPieces(_ format: MailboxFormat) async throws {
        try await TestSystem.run { system in
            for name in ["bob", "dave"] { system.addMailbox(name, format) }
            let to = ["bob@example.test", "nobody@example.test", "dave@example.test"]
            let replies = try await system.deliver(Self.large, added: "X: y\r\n", to: to)
            #expect(replies["<nobody@example.test>"]?["status"] == "5.1.1")
            for name in ["bob", "dave"] {
                #expect(replies["<\(name)@example.test>"]?.verb == "OK")
                let arrived = try #require(try system.messages(name, format).first)
                #expect(arrived.hasSuffix("X: y\r\n" + Self.large))
            }
        }
    }

    @Test func pieceThatCannotBeHadLosesNothing() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            let replies = try await system.deliver(Self.large, to: ["bob@example.test"], refusing: true)
            #expect(replies.values.map(\.verb) == ["DEFER"])
            #expect(try system.messages("bob").isEmpty)
        }
    }

    /// Both threads that mboxes and large messages share stay free for others.
    @Test func mboxThatIsLockedHoldsNoThread() async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            for number in 0..<4 { system.addMailbox("mbox\(number)", .mbox) }
            mkdir("\(system.path)/mail/example.test", 0o700)
            // Of process 1, which is alive.
            let locks = (0..<4).map { "\(system.path)/mail/example.test/mbox\($0).lock" }
            for lock in locks {
                let file = try #require(fopen(lock, "w"))
                fputs("1\n", file)
                fclose(file)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        let to = ["mbox\(number % 4)@example.test"]
                        let replies = try await system.deliver(Self.message, id: "m\(number)", to: to)
                        #expect(replies.values.map(\.verb) == ["OK"])
                    }
                }
                try await Task.sleep(for: .milliseconds(100))
                let replies = try await system.deliver(Self.large, to: ["bob@example.test"])
                #expect(replies.values.map(\.verb) == ["OK"])
                for lock in locks {
                    #expect(access(String(lock.dropLast(5)), F_OK) != 0)
                    unlink(lock)
                }
                try await group.waitForAll()
            }
            for number in 0..<4 { #expect(try system.messages("mbox\(number)", .mbox).count == 2) }
        }
    }

    @Test(arguments: ["../other", "/etc", ""]) func mailboxOutsideIsNotUsed(_ path: String) async throws {
        try await TestSystem.run { system in
            system.addMailbox("bob")
            system.answers.withLockedValue { $0["bob@example.test"]?["mailbox"] = path }
            let reply = try await system.deliver(Self.message, to: ["bob@example.test"]).values.first
            #expect(reply?.verb == "DEFER")
        }
    }

    @Test func unknownVerbIsRefused() async throws {
        try await TestSystem.run { system in
            let replies = try await system.deliver(Self.message, to: ["bob@example.test"]) { $0.verb = "EAT" }
            #expect(replies[""]?["status"] == "5.5.1")
        }
    }
}
