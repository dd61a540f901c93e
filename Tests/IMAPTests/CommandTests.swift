import IMAP
import MIME
import NIOCore
import Testing

private func command(_ text: String) -> Command? {
    guard case .command(let command)? = readCommands("a " + text + "\r\n").last else { return nil }
    return command.command
}

private func set(_ from: UInt32, _ to: UInt32? = nil) -> SequenceSet {
    SequenceSet([.init(.number(from), .number(to ?? from))])
}

@Suite struct CommandTests {
    @Test(
        arguments: [
            ("noop", Command.noop),
            ("LOGIN \"a b\" {3}\r\npw\"", .login(user: Array("a b".utf8), password: Array("pw\"".utf8))),
            ("SELECT inbox", .select(.inbox, SelectModifiers())),
            // No name, but a command all the same.
            ("SELECT !#$&'+", .select(MailboxName(wire: Array("!#$&'+".utf8)), SelectModifiers())),
            ("AUTHENTICATE plain =", .authenticate(mechanism: "PLAIN", initialResponse: [0x3D])),
            ("RENAME a \"b c\"", .rename(from: MailboxName("a"), to: MailboxName("b c"))),
            ("STATUS blurdybloop (UIDNEXT MESSAGES)", .status(MailboxName("blurdybloop"), [.uidNext, .messages])),
            (
                "LSUB \"#news.\" \"comp.mail.*\"",
                .lsub(reference: Array("#news.".utf8), pattern: Array("comp.mail.*".utf8))
            ),
            (
                "FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
                .fetch(
                    set(2, 4),
                    [
                        .flags,
                        .section(
                            Section(text: .headerFields([Array("DATE".utf8), Array("FROM".utf8)])),
                            partial: nil,
                            peek: false
                        ),
                    ],
                    byUID: false
                )
            ),
            (
                "UID FETCH 4827313 BODY.PEEK[4.2.MIME]<0.10>",
                .fetch(
                    set(4_827_313),
                    [.section(Section(part: [4, 2], text: .mime), partial: Partial(start: 0, count: 10), peek: true)],
                    byUID: true
                )
            ),
            ("FETCH 1 FAST", .fetch(set(1), [.flags, .internalDate, .size], byUID: false)),
            (
                "FETCH 1 (BODY RFC822.SIZE BODY[])",
                .fetch(set(1), [.body, .size, .section(Section(), partial: nil, peek: false)], byUID: false)
            ),
            (
                "STORE 2:4 +FLAGS (\\Deleted)",
                .store(set(2, 4), StoreChange(operation: .add, isSilent: false, flags: [.deleted]), byUID: false)
            ),
            (
                "UID STORE 1 -flags.silent $Junk \\Seen",
                .store(set(1), StoreChange(operation: .remove, isSilent: true, flags: ["$Junk", .seen]), byUID: true)
            ),
            ("COPY 2:4 MEETING", .copy(set(2, 4), MailboxName("MEETING"), byUID: false)),
            ("UID EXPUNGE 3000:3002", .uidExpunge(set(3000, 3002))), ("ID NIL", .id([])),
            (
                "SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
                .search(
                    SearchCommand(
                        key: .and([
                            .flag(.flagged), .since(8797),
                            .not(.header(name: Array("FROM".utf8), text: Array("Smith".utf8))),
                        ])
                    ),
                    byUID: false
                )
            ),
            (
                "SEARCH RETURN (MIN COUNT) CHARSET UTF-8 OR (1 2) UID 5",
                .search(
                    SearchCommand(
                        results: [.min, .count],
                        charset: Array("UTF-8".utf8),
                        key: .or(.and([.sequence(set(1)), .sequence(set(2))]), .uid(set(5)))
                    ),
                    byUID: false
                )
            ),
        ] as [(String, Command)]
    ) func commandsAreParsed(text: String, expected: Command) {
        #expect(command(text) == expected)
        let whole = "tag " + text + "\r\n"
        #expect(readCommands(whole, piece: 1) == readCommands(whole))
    }

    @Test(arguments: [
        "", "a", "a ", "a NONSENSE", "a FETCH 1 (", "a FETCH 0 FLAGS", "a FETCH 1 BODY[", "a SELECT \"x",
        "a STORE 1 FLAGS (\\)",
        "a FETCH 99999999999 FLAGS", "a SEARCH SINCE 32-Jan-2000", "a UID NOOP", "a NOOP x", "( (", "+ NOOP",
        "a LIST \"\"",
        "a FETCH 1 BODY[1.]", "a FETCH 1 BODY[1.0]", "a LOGIN {5+}\r\na\0bcd x", "a SELECT \"\u{0}\"",
    ]) func nonsenseIsBad(text: String) {
        let outputs = readCommands(text + "\r\nb NOOP\r\n")
        guard case .bad(let tag, _, _)? = outputs.first else {
            Issue.record("\(outputs)")
            return
        }
        #expect(tag == (text.hasPrefix("a") ? "a" : tag))
        #expect(outputs.last == .command(TaggedCommand(tag: "b", command: .noop)))
    }

    @Test func nestingIsLimited() {
        let deep =
            "a SEARCH " + String(repeating: "(", count: 10_000) + "ALL" + String(repeating: ")", count: 10_000) + "\r\n"
        let nots = "a SEARCH " + String(repeating: "NOT ", count: 10_000) + "ALL\r\n"
        for text in [deep, nots] {
            guard case .bad("a", _, _)? = readCommands(text).first else {
                Issue.record("not refused")
                continue
            }
        }
    }

    @Test func literalsAreAskedForAndLimited() {
        #expect(readCommands("a LOGIN {3}\r\n") == [.needLiteralContinuation(3)])
        #expect(readCommands("a LOGIN {99999999999}\r\nb NOOP\r\n").count == 2)
        #expect(readCommands("a LOGIN {99999999999+}\r\n") == [.fatal(reason: "literal too large")])
        var limits = CommandLimits()
        limits.command = 100
        let long = "a LOGIN {200+}\r\n" + String(repeating: "x", count: 200) + " y\r\nb NOOP\r\n"
        for piece in [1, 1000] {
            let outputs = readCommands(long, piece: piece, limits: limits)
            guard case .bad("a", _, _)? = outputs.first else {
                Issue.record("\(outputs)")
                continue
            }
            #expect(outputs.last == .command(TaggedCommand(tag: "b", command: .noop)))
            let line = readCommands(
                "a SELECT " + String(repeating: "x", count: 500) + "\r\nb NOOP\r\n",
                piece: piece,
                limits: limits
            )
            guard case .bad("a", _, _)? = line.first else {
                Issue.record("\(line)")
                continue
            }
            #expect(line.last == .command(TaggedCommand(tag: "b", command: .noop)))
        }
    }

    @Test(arguments: [
        ("INBOX", "INBOX"), ("Entwürfe", "Entw&APw-rfe"), ("a&b", "a&-b"),
        ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"), ("😀", "&2D3eAA-"),
    ])
    func mailboxNames(text: String, wire: String) {
        #expect(MailboxName(text).wire == Array(wire.utf8))
        #expect(MailboxName(wire: Array(wire.utf8)).text == text)
        #expect(MailboxName(wire: Array(text.utf8), isUTF8: true).text == text)
    }

    @Test(arguments: ["", "&AB-", "&", "a\u{1}", "!#$&'+"]) func whatIsNoName(wire: String) {
        #expect(!MailboxName(wire: Array(wire.utf8)).isWellFormed)
    }

    /// With UTF-8 names there is no shift (RFC 9051 §5.1).
    @Test func ampersandsInUTF8() {
        #expect(MailboxName(wire: Array("a&b".utf8), isUTF8: true).text == "a&b")
        #expect(!MailboxName(wire: [0x61, 0xFF], isUTF8: true).isWellFormed)
    }

    @Test func setsAreResolved() {
        let set = SequenceSet([.init(.last, .number(3)), .init(.number(1), .number(2)), .init(.number(9), .number(7))])
        #expect(set.ranges(last: 5) == [1...5, 7...9])
        #expect(set.ranges(last: nil) == [1...2, 7...9])
        #expect(SequenceSet.text([1, 2, 3, 7, 9, 10]) == "1:3,7,9:10")
        #expect(SequenceSet.ranges(of: [1, 2, 4]) == [1...2, 4...4])
        let ranges: [ClosedRange<UInt32>] = [1...2, 7...9]
        #expect((1...10).filter { SequenceSet.contains(ranges, $0) } == [1, 2, 7, 8, 9])
        #expect(!SequenceSet.contains([], 1))
    }
}
