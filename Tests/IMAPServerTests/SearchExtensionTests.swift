import IMAP
import Network
import Testing

@testable import IMAPServer

/// SEARCH's options, SORT and THREAD.
@Suite struct SearchExtensionTests {
    private static let messages = [
        "From: Carol <zed@x.test>\r\nTo: b@x.test\r\nSubject: Re: Pears\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n"
            + "Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\nlonger text than the others have, by far\r\n",
        "From: =?utf-8?q?=C3=84nne?= <amy@x.test>\r\nTo: c@x.test\r\nSubject: pears\r\n"
            + "Date: Sun, 1 Mar 2026 10:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nx\r\n",
        "From: bob@x.test\r\nTo: a@x.test\r\nSubject: [list] Apples\r\nDate: Tue, 3 Mar 2026 10:00:00 +0000\r\n"
            + "Message-ID: <3@x>\r\n\r\nxx\r\n",
        "From: bob@x.test\r\nSubject: fwd: apples\r\nDate: Sat, 28 Feb 2026 23:00:00 -0500\r\nReferences: <3@x>\r\n"
            + "Message-ID: <4@x>\r\n\r\nxxx\r\n",
    ]

    private static func selected(_ system: TestSystem) async throws -> TestClient {
        let client = try await system.client()
        let dates = ["05", "04", "03", "02"]
        for (text, day) in zip(messages, dates) {
            try await client.append(text, to: "INBOX", "\"\(day)-Jan-2026 10:00:00 +0000\" ")
        }
        _ = try await client.ok("SELECT INBOX")
        return client
    }

    /// RFC 5256 §4, RFC 5957 §3
    @Test func sort() async throws {
        try await TestSystem.run { system in
            let client = try await Self.selected(system)
            for (keys, order) in [
                ("DATE", "4 2 1 3"), ("REVERSE DATE", "3 1 2 4"), ("ARRIVAL", "4 3 2 1"), ("SUBJECT", "3 4 1 2"),
                ("SUBJECT DATE", "4 3 2 1"), ("REVERSE SUBJECT DATE", "2 1 4 3"), ("FROM", "2 3 4 1"),
                ("DISPLAYFROM", "2 3 4 1"), ("TO", "4 3 1 2"), ("SIZE", "3 4 2 1"), ("CC", "1 2 3 4"),
                ("REVERSE CC", "1 2 3 4"), ("DISPLAYTO", "4 3 1 2"),
            ] {
                #expect(try await client.ok("SORT (\(keys)) UTF-8 ALL") == ["* SORT \(order)"], "\(keys)")
            }
            #expect(try await client.ok("SORT (DATE) US-ASCII FROM bob") == ["* SORT 4 3"])
            #expect(try await client.ok("UID SORT (DATE) UTF-8 UID 1:2") == ["* SORT 2 1"])
            #expect(try await client.ok("SORT (DATE) UTF-8 FROM nobody") == ["* SORT"])
            #expect(try await client.command("SORT (DATE) KOI8-R ALL").last?.contains("BADCHARSET") == true)
            let extended = try await client.ok("SORT RETURN (MIN MAX COUNT ALL) (DATE) UTF-8 ALL")
            #expect(extended[0].hasSuffix(") MIN 4 MAX 3 ALL 4,2,1,3 COUNT 4"))
            #expect(try await client.ok("SORT RETURN (PARTIAL 2:3) (DATE) UTF-8 ALL")[0].hasSuffix("PARTIAL (2:3 2,1)"))
        }
    }

    /// Values of many messages, merged in steps.
    @Test func sortManyMessages() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            let order = (0..<130).map { ($0 * 37) % 130 }
            for number in order {
                try await client.append("Subject: \(String(repeating: "a", count: number + 1))\r\n\r\nx\r\n")
            }
            _ = try await client.ok("SELECT INBOX")
            let sorted = try await client.ok("SORT (SUBJECT) UTF-8 ALL")[0].split(separator: " ").dropFirst(2)
            #expect(sorted.compactMap { Int($0) }.map { order[$0 - 1] } == Array(0..<130))
        }
    }

    /// What all sessions sort in memory is limited, and given back however the command ends.
    @Test func memoryOfAllSorts() async throws {
        try await TestSystem.run(sortMemory: 64 * 1024) { system in
            let client = try await system.client()
            for number in 0..<130 {
                try await client.append("Subject: \(number)\(String(repeating: "a", count: 600))\r\n\r\nx\r\n")
            }
            _ = try await client.ok("SELECT INBOX")
            for _ in 0..<3 {
                #expect(try await client.command("SORT (SUBJECT) UTF-8 ALL").last?.contains(" NO [LIMIT] ") == true)
                let threads = try await client.command("THREAD ORDEREDSUBJECT UTF-8 ALL")
                #expect(threads.last?.contains(" NO [LIMIT] ") == true)
                #expect(try await client.ok("SORT (SUBJECT) UTF-8 1:2") == ["* SORT 1 2"])
                #expect(try await client.ok("THREAD ORDEREDSUBJECT UTF-8 1:2") == ["* THREAD (1)(2)"])
            }
        }
    }

    @Test func sharesOfMemory() {
        let budget = MemoryBudget(1 << 20)
        do {
            let one = MemoryShare(of: budget, maximum: 1 << 19)
            let other = MemoryShare(of: budget, maximum: 1 << 20)
            #expect(one.cover(1) && budget.available == (1 << 20) - (1 << 16))
            #expect(one.cover(1 << 16) && budget.available == (1 << 20) - (1 << 16))
            #expect(one.cover(1 << 19) && !one.cover((1 << 19) + 1) && budget.available == 1 << 19)
            #expect(other.cover(1 << 19) && !other.cover((1 << 19) + 1) && budget.available == 0)
            other.giveBack()
            other.giveBack()
            #expect(budget.available == 1 << 19)
        }
        #expect(budget.available == 1 << 20)
    }

    /// An answer in several parts, of the kind that has no ranges.
    @Test func longAnswers() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for _ in 0..<3 { try await client.append("Subject: x\r\n\r\nx\r\n") }
            _ = try await client.ok("SELECT INBOX")
            _ = try await client.ok("STORE 2 +FLAGS (\\Seen)")
            #expect(
                try await client.ok("SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN")[0].hasSuffix(
                    ") MIN 1 MAX 3 ALL 1,3 COUNT 2"
                )
            )
            #expect(
                try await client.ok("SEARCH RETURN (PARTIAL -1:-2 COUNT) ALL")[0].hasSuffix(
                    ") COUNT 3 PARTIAL (-1:-2 2:3)"
                )
            )
            #expect(try await client.ok("SEARCH RETURN (PARTIAL 5:9) ALL")[0].hasSuffix(") PARTIAL (5:9 NIL)"))
            #expect(try await client.ok("SEARCH RETURN (MIN ALL) FROM nobody")[0].hasSuffix("\")"))
        }
    }

    @Test func thread() async throws {
        try await TestSystem.run { system in
            let client = try await Self.selected(system)
            #expect(try await client.ok("THREAD REFERENCES UTF-8 ALL") == ["* THREAD (2 1)(3 4)"])
            #expect(try await client.ok("THREAD REFS UTF-8 ALL") == ["* THREAD (2 1)(3 4)"])
            #expect(try await client.ok("THREAD ORDEREDSUBJECT UTF-8 ALL") == ["* THREAD (4 3)(2 1)"])
            #expect(try await client.ok("UID THREAD REFS UTF-8 FROM nobody") == ["* THREAD"])
            #expect(try await client.ok("THREAD REFS UTF-8 1,3") == ["* THREAD (1)(3)"])
        }
    }

    /// RFC 5182 §2
    @Test func savedResults() async throws {
        try await TestSystem.run { system in
            let client = try await Self.selected(system)
            #expect(try await client.ok("SEARCH $") == ["* SEARCH"])
            #expect(try await client.ok("SEARCH RETURN (SAVE) FROM bob").isEmpty)
            #expect(try await client.ok("FETCH $ UID") == ["* 3 FETCH (UID 3)", "* 4 FETCH (UID 4)"])
            #expect(try await client.ok("UID SEARCH NOT $") == ["* SEARCH 1 2"])
            #expect(try await client.ok("UID FETCH 1,2 UID").count == 2)
            #expect(try await client.ok("SEARCH RETURN (SAVE MIN) $")[0].hasSuffix(" MIN 3"))
            #expect(try await client.ok("SEARCH $") == ["* SEARCH 3"])
            #expect(try await client.ok("SEARCH RETURN (SAVE COUNT MIN) ALL")[0].hasSuffix(" MIN 1 COUNT 4"))
            #expect(try await client.ok("SEARCH UID $") == ["* SEARCH 1 2 3 4"])
            // Messages that go are in it no more, and numbers change.
            _ = try await client.ok("SEARCH RETURN (SAVE) FROM bob")
            _ = try await client.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
            _ = try await client.ok("EXPUNGE")
            #expect(try await client.ok("SEARCH $") == ["* SEARCH 3"])
            _ = try await client.ok("CREATE Work")
            #expect(try await client.command("UID COPY $ Work").last?.contains("COPYUID") == true)
            // A search that is refused saves nothing; one that isn't understood changes nothing.
            #expect(try await client.command("SEARCH RETURN (SAVE) NONSENSE").last?.contains(" BAD ") == true)
            #expect(try await client.ok("SEARCH $") == ["* SEARCH 3"])
            #expect(try await client.command("SEARCH RETURN (SAVE) CHARSET KOI8-R ALL").last?.contains(" NO ") == true)
            #expect(try await client.ok("SEARCH $") == ["* SEARCH"])
            #expect(try await client.ok("UID SORT RETURN (SAVE) (DATE) UTF-8 1:2").isEmpty)
            #expect(try await client.ok("SEARCH $") == ["* SEARCH 1 2"])
            // Another mailbox, another result.
            _ = try await client.ok("SELECT INBOX")
            #expect(try await client.ok("SEARCH $") == ["* SEARCH"])
        }
    }

    /// RFC 9394
    @Test func partialResults() async throws {
        try await TestSystem.run { system in
            let client = try await Self.selected(system)
            #expect(try await client.ok("UID SEARCH RETURN (PARTIAL 1:2) ALL")[0].hasSuffix("UID PARTIAL (1:2 1:2)"))
            #expect(
                try await client.ok("SEARCH RETURN (PARTIAL -1:-3 COUNT) ALL")[0].hasSuffix(
                    "COUNT 4 PARTIAL (-1:-3 2:4)"
                )
            )
            #expect(try await client.ok("SEARCH RETURN (PARTIAL 5:9) ALL")[0].hasSuffix("PARTIAL (5:9 NIL)"))
            #expect(try await client.ok("UID FETCH 1:* (UID) (PARTIAL -1:-2)").count == 2)
            #expect(try await client.ok("UID FETCH 1:* (UID) (PARTIAL 2:2)") == ["* 2 FETCH (UID 2)"])
            #expect(try await client.command("FETCH 1:* (UID) (PARTIAL 1:2)").last?.contains(" BAD ") == true)
        }
    }

    /// RFC 7377
    @Test func severalMailboxes() async throws {
        try await TestSystem.run { system in
            let client = try await Self.selected(system)
            for name in ["Work", "Work.One", "Work.One.Deep", "Play"] {
                _ = try await client.ok("CREATE \(name)")
                try await client.append("Subject: apples of \(name)\r\n\r\nx\r\n", to: name)
            }
            _ = try await client.ok("SUBSCRIBE Play")
            _ = try await client.ok("SUBSCRIBE gone")
            func found(_ source: String, _ keys: String = "SUBJECT apples") async throws -> [String] {
                try await client.ok("ESEARCH \(source) \(keys)").map { line in
                    #expect(line.contains(" UIDVALIDITY ") && line.contains(") UID ALL "))
                    let words = line.split(separator: " ")
                    return "\(words[5]) \(words.last ?? "")"
                }
            }
            #expect(try await found("IN (mailboxes Work)") == ["Work 1"])
            #expect(try await found("IN (mailboxes (Work nowhere \"Play\"))") == ["Work 1", "Play 1"])
            #expect(try await found("IN (subtree Work)") == ["Work 1", "Work.One 1", "Work.One.Deep 1"])
            #expect(try await found("IN (subtree-one Work)") == ["Work 1", "Work.One 1"])
            #expect(try await found("IN (subscribed inboxes)") == ["INBOX 3:4", "Play 1"])
            #expect(try await found("IN (personal)", "SUBJECT pears") == ["INBOX 1:2"])
            #expect(try await found("IN (selected Personal)").count == 5)
            #expect(try await client.ok("ESEARCH RETURN (COUNT) ALL")[0].hasSuffix(") UID COUNT 4"))
            #expect(try await client.ok("ESEARCH IN (mailboxes Work) SUBJECT pears").isEmpty)
            for command in [
                "ESEARCH IN (mailboxes Work) 1", "ESEARCH IN (personal) RETURN (SAVE) ALL", "ESEARCH IN () ALL",
                "ESEARCH IN (nonsense) ALL", "ESEARCH IN (mailboxes Work) $",
            ] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)")
            }
            #expect(try await client.ok("ESEARCH RETURN (SAVE) FROM bob").isEmpty)
            #expect(try await client.ok("UID SEARCH $") == ["* SEARCH 3 4"])
        }
    }

    @Test func subtrees() {
        var some = Subtrees(delimiter: UInt8(ascii: "/"))
        #expect(!some.contains(MailboxName("a")))
        some.add([MailboxName("a"), MailboxName("x/y"), MailboxName("inbox")], isDeep: true)
        some.add([MailboxName("b"), MailboxName("c/d")], isDeep: false)
        for name in ["a", "a/b", "a/b/c", "x/y", "x/y/z/z", "b", "b/c", "c/d", "c/d/e", "INBOX/a", "a/"] {
            #expect(some.contains(MailboxName(name)), "\(name)")
        }
        for name in ["", "aa", "ab/c", "x", "x/z", "b/c/d", "c", "c/e", "c/d/e/f", "/a", "bb"] {
            #expect(!some.contains(MailboxName(name)), "\(name)")
        }
    }

    /// RFC 5032
    @Test func within() async throws {
        try await TestSystem.run { system in
            let client = try await Self.selected(system)
            try await client.append("Subject: now\r\n\r\nx\r\n")
            _ = try await client.ok("NOOP")
            #expect(try await client.ok("SEARCH YOUNGER 600") == ["* SEARCH 5"])
            #expect(try await client.ok("SEARCH OLDER 600") == ["* SEARCH 1 2 3 4"])
            #expect(try await client.ok("SEARCH NOT OLDER 600 YOUNGER 4294967295") == ["* SEARCH 5"])
        }
    }

    /// Headers are read in steps with turns for others between them, one thread for all.
    @Test func othersHaveTheirTurns() async throws {
        try await TestSystem.run(pool: .init(threads: 1)) { system in
            let client = try await system.client()
            let bob = try await system.client(as: "bob")
            let filling = String(repeating: "X-Filling: \(String(repeating: "y", count: 900))\r\n", count: 60)
            for number in 0..<40 { try await client.append("\(filling)Subject: \(number)\r\n\r\nx\r\n") }
            _ = try await client.ok("SELECT INBOX")
            for command in ["SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL"] {
                try await client.send("s \(command)\r\n")
                for _ in 0..<5 { _ = try await bob.ok("STATUS INBOX (MESSAGES)") }
                #expect(try await client.lines(to: "s OK").count == 2)
            }
        }
    }
}
