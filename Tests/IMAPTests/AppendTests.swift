import MIME
import NIOCore
import Testing

@testable import IMAP

private func flat(_ outputs: [CommandReader.Output]) -> [AppendStep] {
    outputs.flatMap { output in
        if case .append(_, let steps) = output { steps } else { [AppendStep]() }
    }
}

@Suite struct AppendTests {
    /// RFC 3501 §6.3.11
    @Test(arguments: [1, 7, Int.max]) func oneMessage(piece: Int) {
        let head = "A003 APPEND saved-messages (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {10}\r\n"
        let outputs = readCommands(head + "0123456789\r\nb NOOP\r\n", piece: piece)
        guard case .append("A003", let first)? = outputs.first, case .message(let message) = first[1] else {
            Issue.record("\(outputs)")
            return
        }
        #expect(first[0] == .begin(MailboxName("saved-messages"), replacing: nil))
        #expect(message.flags == [.seen] && message.date?.secondsSince1970 == 837_596_665 && !message.isCatenated)
        #expect(first[2] == .literal(MessageLiteral(size: 10, isSynchronizing: true)))
        #expect(outputs[1] == .append(tag: "A003", [.endOfMessage, .end]))
        #expect(outputs.last == .command(TaggedCommand(tag: "b", command: .noop)))
    }

    /// RFC 3502 §6.3.11
    @Test(arguments: [1, Int.max]) func severalMessages(piece: Int) {
        let text = "a APPEND x (\\Seen) {3+}\r\nabc {2+}\r\nde ~{4+}\r\nfghi\r\n"
        #expect(
            flat(readCommands(text, piece: piece)) == [
                .begin(MailboxName("x"), replacing: nil), .message(AppendedMessage(flags: [.seen])),
                .literal(MessageLiteral(size: 3, isSynchronizing: false)), .endOfMessage, .message(AppendedMessage()),
                .literal(MessageLiteral(size: 2, isSynchronizing: false)), .endOfMessage, .message(AppendedMessage()),
                .literal(MessageLiteral(size: 4, isSynchronizing: false, isBinary: true)), .endOfMessage, .end,
            ]
        )
    }

    /// RFC 4469 §3, with a mailbox and a URL that are literals themselves.
    @Test(arguments: [1, 3, Int.max]) func catenation(piece: Int) {
        let text =
            "A003 APPEND {6+}\r\nDrafts (\\Draft) CATENATE (URL {22+}\r\n/Drafts;UID=20/;SECTIO URL \"/;UID=1\" TEXT {3+}\r\n"
            + "abc TEXT {2+}\r\nde)\r\n"
        #expect(
            flat(readCommands(text, piece: piece)) == [
                .begin(MailboxName("Drafts"), replacing: nil),
                .message(AppendedMessage(flags: [.draft], isCatenated: true)),
                .url(Array("/Drafts;UID=20/;SECTIO".utf8)), .url(Array("/;UID=1".utf8)),
                .literal(MessageLiteral(size: 3, isSynchronizing: false)),
                .literal(MessageLiteral(size: 2, isSynchronizing: false)), .endOfMessage, .end,
            ]
        )
        #expect(
            flat(readCommands("a APPEND x CATENATE (URL y)\r\n", piece: piece)) == [
                .begin(MailboxName("x"), replacing: nil), .message(AppendedMessage(isCatenated: true)),
                .url(Array("y".utf8)), .endOfMessage, .end,
            ]
        )
    }

    /// As many URLs as there may be, all of them literals.
    @Test(arguments: [1, 1000, Int.max]) func manyURLsThatAreLiterals(piece: Int) {
        let urls = (0..<1000).map { "/;UID=\($0 + 1)" }
        let list = urls.map { "URL {\($0.utf8.count)+}\r\n\($0)" }.joined(separator: " ")
        let outputs = readCommands("a APPEND x CATENATE (\(list)) (\\Seen) {3+}\r\nabc\r\nb NOOP\r\n", piece: piece)
        #expect(
            flat(outputs)
                == [.begin(MailboxName("x"), replacing: nil), .message(AppendedMessage(isCatenated: true))]
                + urls.map { .url(Array($0.utf8)) } + [
                    .endOfMessage, .message(AppendedMessage(flags: [.seen])),
                    .literal(MessageLiteral(size: 3, isSynchronizing: false)), .endOfMessage, .end,
                ]
        )
        #expect(outputs.last == .command(TaggedCommand(tag: "b", command: .noop)))
        let tooMany = readCommands("a APPEND x CATENATE (\(list) URL {1+}\r\nx)\r\nb NOOP\r\n", piece: piece)
        guard case .bad("a", _, nil)? = tooMany.first else {
            Issue.record("\(tooMany)")
            return
        }
        #expect(tooMany.last == .command(TaggedCommand(tag: "b", command: .noop)))
    }

    /// What stands before a URL's literal isn't read again behind it: it may be anything by then.
    @Test func stretchesAreReadOnce() throws {
        let start = Array("a APPEND x CATENATE (URL y URL {1+}\r\n".utf8)
        var grammar = try #require(AppendGrammar(start, usesUTF8: false))
        guard case .argument = grammar.parse(start, hasLiteral: true) else {
            Issue.record("not an argument")
            return
        }
        let head = start.count - 6
        let rest = Array("{1+}\r\nz)\r\n".utf8)
        guard
            case .steps(let steps, isOver: true) = grammar.parse(
                [UInt8](repeating: 0, count: head) + rest,
                hasLiteral: false
            )
        else {
            Issue.record("not the end")
            return
        }
        #expect(
            steps == [
                .begin(MailboxName("x"), replacing: nil), .message(AppendedMessage(isCatenated: true)),
                .url(Array("y".utf8)), .url(Array("z".utf8)), .endOfMessage, .end,
            ]
        )
    }

    /// RFC 8508 §3.1 and §3.2
    @Test func replacing() {
        let one = flat(readCommands("A004 REPLACE 4 Drafts (\\Seen \\Draft) {3+}\r\nabc\r\n"))
        #expect(
            one.first
                == .begin(MailboxName("Drafts"), replacing: ReplacedMessage(.number(4), byUID: false))
        )
        let two = flat(readCommands("A004 UID REPLACE 2000 Drafts UTF8 (~{3+}\r\nabc)\r\n"))
        #expect(
            two == [
                .begin(MailboxName("Drafts"), replacing: ReplacedMessage(.number(2000), byUID: true)),
                .message(AppendedMessage()), .literal(MessageLiteral(size: 3, isSynchronizing: false, isBinary: true)),
                .endOfMessage, .end,
            ]
        )
    }

    @Test(
        arguments: [
            "APPEND x {3+}\r\nabc{3+}\r\nabc", "APPEND x {3+}\r\nabc x", "APPEND x (\\Seen {3+}\r\nabc",
            "APPEND x CATENATE (TEXT {3+}\r\nabc", "APPEND x CATENATE (NOTHING {3+}\r\nabc)", "APPEND x",
            "APPEND x \"no date\" {3+}\r\nabc", "UID APPEND x {3+}\r\nabc", "REPLACE 0 x {3+}\r\nabc",
            "REPLACE 1 x {3+}\r\nabc {3+}\r\nabc", "APPEND x UTF8 ({3+}\r\nabc)", "APPEND x CATENATE ()",
        ]
    ) func whatIsMalformedIsSkippedWhole(text: String) {
        for piece in [1, Int.max] {
            let outputs = readCommands("a \(text)\r\nb NOOP\r\n", piece: piece)
            #expect(outputs.contains { if case .bad("a", _, nil) = $0 { true } else { false } }, "\(outputs)")
            #expect(outputs.last == .command(TaggedCommand(tag: "b", command: .noop)), "\(outputs)")
        }
    }

    @Test func literalsAreLimited() {
        var limits = CommandLimits()
        limits.message = 5
        limits.nonSynchronizing = 4
        guard case .bad("a", _, .tooBig)? = readCommands("a APPEND x {6}\r\n", limits: limits).last else {
            Issue.record("not refused")
            return
        }
        for literal in ["{6+}\r\n123456", "{5+}\r\n12345"] {
            let outputs = readCommands("a APPEND x \(literal)\r\nb NOOP\r\n", limits: limits)
            guard case .bad("a", _, .tooBig)? = outputs.first else {
                Issue.record("\(outputs)")
                continue
            }
            #expect(outputs.last == .command(TaggedCommand(tag: "b", command: .noop)))
        }
        // RFC 7888 §5 is about all literals.
        guard case .bad("a", _, .tooBig)? = readCommands("a LOGIN {5+}\r\n12345 x\r\n", limits: limits).first else {
            Issue.record("not refused")
            return
        }
        #expect(flat(readCommands("a APPEND x {5}\r\n", limits: limits)).count == 3)
        let pieces = String(repeating: "URL x ", count: 2000)
        guard case .bad("a", _, nil)? = readCommands("a APPEND x CATENATE (\(pieces)URL x)\r\n").first else {
            Issue.record("not refused")
            return
        }
    }

    /// RFC 5092 §11 and RFC 4469 §5.
    @Test func urls() {
        func url(_ text: String) -> MessageURL? { MessageURL(Array(text.utf8)) }
        let one = url("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER")
        #expect(one?.mailbox == MailboxName("Drafts") && one?.uidValidity == 385_759_045 && one?.uid == 20)
        #expect(one?.section == Section(text: .header) && one?.partial == nil)
        let two = url("/Entw%C3%BCrfe.x/;UID=3/;SECTION=1.2.MIME/;PARTIAL=10.5")
        #expect(two?.mailbox == MailboxName("Entwürfe.x") && two?.section == Section(part: [1, 2], text: .mime))
        #expect(two?.partial == Partial(start: 10, count: 5))
        #expect(url(";UID=7")?.uid == 7 && url(";UID=7")?.mailbox == nil)
        #expect(
            url("/a/;UID=7/;SECTION=HEADER.FIELDS%20(SUBJECT)")?.section
                == Section(text: .headerFields([Array("SUBJECT".utf8)]))
        )
        for text in [
            "", "/", "imap://host/a/;UID=1", "//host/a/;UID=1", "/a;UID=1", "/a/;UID=0", "/a/;UID=x", "/a/;UID=1/x",
            "/a/;UID=1/;SECTION=", "/a/;UID=1/;SECTION=1.", "/a/;UID=1/;PARTIAL=x", "/a%/;UID=1", "/%00/;UID=1",
            "/a;UIDVALIDITY=x/;UID=1", "/a/;UID=99999999999",
        ] where text != "/a/;UID=1/;SECTION=" {
            #expect(url(text) == nil, "\(text)")
        }
    }
}
