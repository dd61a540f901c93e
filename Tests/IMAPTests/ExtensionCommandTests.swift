import NIOCore
import Testing

@testable import IMAP

private func parse(_ text: String) -> Command? {
    var reader = CommandReader()
    var input = ByteBuffer(string: "a \(text)\r\n")
    guard case .command(let command) = reader.next(from: &input) else { return nil }
    return command.command
}

private func set(_ from: UInt32, _ to: UInt32? = nil) -> SequenceSet {
    SequenceSet([.init(.number(from), .number(to ?? from))])
}

@Suite struct ExtensionCommandTests {
    /// Clients write blanks where the grammar has none or one.
    @Test(arguments: [
        ("STORE 1  FLAGS (\\Seen )", "STORE 1 FLAGS (\\Seen)"),
        ("SEARCH OR ( SEEN ) ( UNSEEN )", "SEARCH OR SEEN UNSEEN"),
        ("FETCH 1 ( FLAGS  UID )", "FETCH 1 (FLAGS UID)"), ("NOOP ", "NOOP"),
        ("STATUS  a  ( MESSAGES )", "STATUS a (MESSAGES)"), ("STORE 1 FLAGS \\Seen ", "STORE 1 FLAGS \\Seen"),
        ("LIST ( SUBSCRIBED ) \"\"  * RETURN ( CHILDREN )", "LIST (SUBSCRIBED) \"\" * RETURN (CHILDREN)"),
        ("ID ( \"a\"  \"b\" )", "ID (\"a\" \"b\")"), ("ENABLE  A  B ", "ENABLE A B"),
        ("UID  FETCH 1  FLAGS", "UID FETCH 1 FLAGS"), ("SEARCH  ALL ", "SEARCH ALL"),
    ]) func blanksAreTaken(text: String, meaning: String) {
        #expect(parse(text) != nil && parse(text) == parse(meaning), "\(text)")
    }

    @Test func idWithAllThatIsAllowed() {
        let value = String(repeating: "v", count: 1024)
        let fields = (10..<40).map { "\"name-of-thirty-octets-number-\($0)\" \"\(value)\"" }
        guard case .id(let parsed)? = parse("ID (\(fields.joined(separator: " ")))") else {
            Issue.record("not taken")
            return
        }
        #expect(parsed.count == 30 && parsed[29].value?.count == 1024)
        #expect(parse("ID (\(fields.joined(separator: " ")) \"a\" NIL)") == nil)
    }

    @Test(
        arguments: [
            // RFC 4731 §3.1, RFC 5182 §2.4, RFC 9394 §3.1
            (
                "UID SEARCH RETURN (SAVE COUNT) $ SMALLER 4096",
                Command.search(
                    SearchCommand(results: [.save, .count], key: .and([.sequence(.saved), .smaller(4096)])),
                    byUID: true
                )
            ),
            ("SEARCH RETURN () ALL", .search(SearchCommand(results: [.all], key: .all), byUID: false)),
            (
                "UID SEARCH RETURN (PARTIAL -1:-100) UNDELETED UNKEYWORD $Junk",
                .search(
                    SearchCommand(
                        results: [.partial(PartialRange(1, 100, isFromEnd: true))],
                        key: .and([.not(.flag(.deleted)), .not(.flag("$Junk"))])
                    ),
                    byUID: true
                )
            ),
            // RFC 5032 §3
            (
                "SEARCH UNSEEN YOUNGER 259200 OLDER 5",
                .search(SearchCommand(key: .and([.not(.flag(.seen)), .younger(259_200), .older(5)])), byUID: false)
            ),
            // RFC 5256 §3, RFC 5957 §5, RFC 5267 §3
            (
                "SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
                .sort(
                    SortCommand(
                        [.init(.subject), .init(.date, isReverse: true)],
                        SearchCommand(charset: Array("UTF-8".utf8), key: .all)
                    ),
                    byUID: false
                )
            ),
            (
                "UID SORT RETURN (COUNT) (DISPLAYFROM) UTF-8 SEEN",
                .sort(
                    SortCommand(
                        [.init(.displayFrom)],
                        SearchCommand(results: [.count], charset: Array("UTF-8".utf8), key: .flag(.seen))
                    ),
                    byUID: true
                )
            ),
            (
                "THREAD REFERENCES US-ASCII ANSWERED",
                .thread(
                    ThreadCommand(
                        .references,
                        SearchCommand(charset: Array("US-ASCII".utf8), key: .flag(.answered))
                    ),
                    byUID: false
                )
            ),
            // RFC 3516 §4.2 and §4.3, RFC 8970 §3
            ("FETCH 1 BINARY.SIZE[2.1]", .fetch(set(1), [.binarySize([2, 1])], byUID: false)),
            (
                "FETCH 1 (BINARY.PEEK[1]<0.100> BINARY[])",
                .fetch(
                    set(1),
                    [
                        .binary([1], partial: Partial(start: 0, count: 100), peek: true),
                        .binary([], partial: nil, peek: false),
                    ],
                    byUID: false
                )
            ),
            (
                "FETCH 1 (PREVIEW (LAZY) PREVIEW UID)",
                .fetch(set(1), [.preview(isLazy: true), .preview(isLazy: false), .uid], byUID: false)
            ),
            ("FETCH 1 PREVIEW (LAZY)", .fetch(set(1), [.preview(isLazy: true)], byUID: false)),
            // RFC 4978 §3, RFC 9208 §4.1, RFC 5161 §3.1
            ("COMPRESS deflate", .compress("DEFLATE")), ("GETQUOTA \"\"", .getQuota(root: [])),
            ("GETQUOTAROOT INBOX", .getQuotaRoot(.inbox)),
            ("ENABLE CONDSTORE IMAP4rev2", .enable(["CONDSTORE", "IMAP4REV2"])),
            (
                "CREATE MySpecial (USE (\\Drafts \\Sent))",
                .create(MailboxName("MySpecial"), uses: ["\\Drafts", "\\Sent"])
            ),
            // RFC 7377 §2
            (
                "ESEARCH IN (mailboxes \"folder1\" subtree (a \"b\")) RETURN (COUNT) UNSEEN",
                .multiSearch(
                    [.mailboxes([MailboxName("folder1")]), .subtree([MailboxName("a"), MailboxName("b")])],
                    SearchCommand(results: [.count], key: .not(.flag(.seen)))
                )
            ),
            ("ESEARCH ALL", .multiSearch([.selected], SearchCommand(key: .all))),
            ("COPY $ \"Other Messages\"", .copy(.saved, MailboxName("Other Messages"), byUID: false)),
            (
                "STORE 5 (UNCHANGEDSINCE 12121230045) FLAGS.SILENT (\\Deleted)",
                .store(
                    set(5),
                    StoreChange(operation: .replace, isSilent: true, flags: [.deleted], unchangedSince: 12_121_230_045),
                    byUID: false
                )
            ),
        ] as [(String, Command)]
    ) func extensionsAreParsed(text: String, expected: Command) {
        #expect(parse(text) == expected)
    }

    /// Sizes have 63 bits (RFC 9051 §4.2).
    @Test func largeNumbers() {
        #expect(
            parse("SEARCH LARGER 99999999999 SMALLER 9223372036854775807")
                == .search(SearchCommand(key: .and([.larger(99_999_999_999), .smaller(.max)])), byUID: false)
        )
        let section = FetchItem.section(Section(), partial: Partial(start: 5_000_000_000, count: .max), peek: false)
        #expect(parse("FETCH 1 BODY[]<5000000000.9223372036854775807>") == .fetch(set(1), [section], byUID: false))
        for text in [
            "SEARCH LARGER 9223372036854775808", "FETCH 1 BODY[]<0.99999999999999999999>", "FETCH 4294967296 UID",
        ] {
            #expect(parse(text) == nil, "\(text)")
        }
    }

    /// RFC 7162's and RFC 9394's modifiers are values too.
    @Test func modifiers() {
        guard case .fetch(_, _, let fetch, true)? = parse("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)") else {
            Issue.record("FETCH not parsed")
            return
        }
        #expect(fetch.changedSince == 12345 && fetch.vanished && fetch.partial == nil)
        guard case .fetch(_, _, let some, true)? = parse("UID FETCH 25900:26600 (FLAGS) (PARTIAL 1:100)") else {
            Issue.record("FETCH not parsed")
            return
        }
        #expect(some.partial == PartialRange(1, 100))
        // RFC 8970's modifier has parentheses of its own.
        for (text, isLazy) in [("PREVIEW", false), ("PREVIEW (LAZY)", true)] {
            guard
                case .fetch(_, let items, let modifiers, true)? = parse("UID FETCH 1:* \(text) (PARTIAL 1:50)")
            else {
                Issue.record("\(text) not parsed")
                continue
            }
            #expect(items == [.preview(isLazy: isLazy)] && modifiers.partial == PartialRange(1, 50))
        }
        guard case .select(_, let plain)? = parse("SELECT INBOX (CONDSTORE)") else {
            Issue.record("SELECT not parsed")
            return
        }
        #expect(plain.condStore && plain.known == nil)
        let text = "SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1:2 3:4)))"
        guard case .select(_, let select)? = parse(text), let known = select.known else {
            Issue.record("SELECT not parsed")
            return
        }
        #expect(known.uidValidity == 67_890_007 && known.modSequence == 90_060_115_194_045_000)
        #expect(known.uids?.elements.count == 2 && known.match?.numbers == set(1, 2) && known.match?.uids == set(3, 4))
        guard case .search(let search, _)? = parse("SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338") else {
            Issue.record("SEARCH not parsed")
            return
        }
        #expect(search.key == .modSequence(620_162_338))
    }

    /// RFC 8474 §6, RFC 8514 §4.
    @Test func identifiersAndDatesOfSaving() {
        guard case .fetch(_, let items, _, _)? = parse("FETCH 1 (EMAILID threadid SaveDate)") else {
            Issue.record("FETCH not parsed")
            return
        }
        #expect(items == [.emailID, .threadID, .saveDate])
        let text =
            "SEARCH OR EMAILID M6d99ac3275bb4e THREADID \"T1\" NOT SAVEDSINCE 2-Jan-1970 SAVEDBEFORE \"3-Jan-1970\" SAVEDON 4-Jan-1970 SAVEDATESUPPORTED"
        guard case .search(let search, _)? = parse(text) else {
            Issue.record("SEARCH not parsed")
            return
        }
        #expect(
            search.key
                == .and([
                    .or(.emailID(Array("M6d99ac3275bb4e".utf8)), .threadID(Array("T1".utf8))), .not(.savedSince(1)),
                    .savedBefore(2), .savedOn(3), .saveDateSupported,
                ])
        )
    }

    /// RFC 5258 §5, RFC 5819 §2, RFC 6154 §5.
    @Test func lists() {
        guard
            case .list(let list)? = parse(
                "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (INBOX \"Drafts\" Sent/%) RETURN (CHILDREN STATUS (MESSAGES UNSEEN) SPECIAL-USE)"
            )
        else {
            Issue.record("LIST not parsed")
            return
        }
        #expect(list.selection == [.subscribed, .recursiveMatch] && list.patterns.count == 3 && list.isExtended)
        #expect(list.returns == [.children, .specialUse] && list.status == [.messages, .unseen])
        for text in [
            "LIST (RECURSIVEMATCH) \"\" *", "LIST (RECURSIVEMATCH REMOTE) \"\" *", "LIST (NONSENSE) \"\" *",
            "LIST \"\" * RETURN (NONSENSE)", "LIST \"\" () ", "LIST \"\" * RETURN (STATUS ())",
            "LIST \"\" * RETURN CHILDREN",
        ] {
            #expect(parse(text) == nil, "\(text)")
        }
    }

    @Test(arguments: [
        "SEARCH YOUNGER 0", "SEARCH OLDER x", "SORT () UTF-8 ALL", "SORT (NONSENSE) UTF-8 ALL", "SORT (DATE) UTF-8",
        "SORT DATE UTF-8 ALL", "THREAD NONSENSE UTF-8 ALL", "THREAD REFS ALL", "FETCH 1 BINARY[HEADER]",
        "FETCH 1 BINARY.SIZE[1]<0.1>", "FETCH 1 PREVIEW (EAGER)", "FETCH 1 FLAGS (NONSENSE)",
        "SEARCH RETURN (PARTIAL 0:5) ALL", "SEARCH RETURN (PARTIAL 1:-5) ALL", "SEARCH RETURN (ALL PARTIAL 1:5) ALL",
        "FETCH $,1 FLAGS", "COMPRESS", "SELECT x (NONSENSE)", "STORE 1 (UNCHANGEDSINCE) FLAGS (\\Seen)",
        "SELECT x (QRESYNC (1))", "SEARCH RETURN (NONSENSE) ALL", "FETCH 1 (PREVIEW (EAGER))", "FETCH 1 PREVIEW (LAZY",
        "SEARCH RETURN (PARTIAL 1:5 PARTIAL 1:5) ALL", "SEARCH RETURN (PARTIAL 1:5 COUNT PARTIAL -1:-5) ALL",
    ]) func whatIsNoExtension(text: String) {
        #expect(parse(text) == nil)
    }

    /// The mailboxes of all filters count together.
    @Test func mailboxesToSearchInAreLimited() {
        func parsed(_ count: Int, _ more: String) -> Command? {
            parse("ESEARCH IN (subtree (\((0..<count).map { "m\($0)" }.joined(separator: " "))) \(more)) ALL")
        }
        #expect(parsed(100, "personal") != nil)
        #expect(parsed(99, "mailboxes x") != nil)
        #expect(parsed(101, "personal") == nil)
        #expect(parsed(50, "subtree-one (\(String(repeating: "x ", count: 50))x)") == nil)
        #expect(parsed(100, "mailboxes x") == nil)
    }

    /// What isn't offered isn't understood: each command says what it needs.
    @Test(
        arguments: [
            ("NOOP", []), ("ID NIL", [.id]), ("IDLE", [.idle]), ("COMPRESS DEFLATE", [.compress]),
            ("SEARCH RETURN (SAVE) OLDER 5", [.eSearch, .searchRes, .within]), ("FETCH $ FLAGS", [.searchRes]),
            ("UID FETCH 1 (BINARY[1] PREVIEW) (PARTIAL 1:2)", [.binary, .preview, .partial]),
            ("UID SORT RETURN (COUNT) (DISPLAYTO) UTF-8 ALL", [.sort, .eSort, .sortDisplay, .eSearch]),
            ("THREAD REFS UTF-8 ALL", [.threadRefs]),
            ("LIST \"\" * RETURN (STATUS (SIZE))", [.listExtended, .listStatus, .statusSize]),
            ("LIST (SPECIAL-USE) \"\" *", [.listExtended, .specialUse]), ("SELECT x (CONDSTORE)", [.condStore]),
            ("STORE 1 (UNCHANGEDSINCE 1) FLAGS (\\Seen)", [.condStore]), ("UID EXPUNGE 1", [.uidPlus]),
            ("SEARCH NOT (OR YOUNGER 1 MODSEQ 5)", [.within, .condStore]),
            ("CREATE x (USE (\\Sent))", [.createSpecialUse]), ("FETCH 1 (EMAILID SAVEDATE)", [.objectID, .saveDate]),
            ("SEARCH THREADID x NOT SAVEDATESUPPORTED", [.objectID, .saveDate]),
            ("STATUS x (MAILBOXID HIGHESTMODSEQ)", [.objectID, .condStore]),
            ("UID FETCH 1 FLAGS (CHANGEDSINCE 5 VANISHED)", [.condStore, .qResync]),
            ("STATUS x (APPENDLIMIT DELETED-STORAGE)", [.appendLimit, .quotaStorage]), ("MOVE 1 x", [.move]),
        ] as [(String, [Capability])]
    ) func needs(text: String, expected: [Capability]) {
        #expect(parse(text)?.needs == expected, "\(text)")
    }

    @Test(arguments: [
        ("FETCH 1 FLAGS", true), ("UID FETCH 1 FLAGS", false), ("UID SEARCH 1:5", true), ("UID SEARCH $", false),
        ("UID SEARCH NOT (SEEN OR 5 ALL)", true), ("SEARCH ALL", true), ("UID SORT (DATE) UTF-8 ALL", false),
        ("NOOP", false),
    ]) func messageNumbers(text: String, expected: Bool) {
        #expect(parse(text)?.usesMessageNumbers == expected, "\(text)")
    }

    @Test func placesOfPartialResults() {
        #expect(PartialRange(1, 3).places(of: 10) == 0..<3)
        #expect(PartialRange(3, 1).places(of: 2) == 0..<2)
        #expect(PartialRange(5, 9).places(of: 3).isEmpty)
        #expect(PartialRange(1, 3, isFromEnd: true).places(of: 10) == 7..<10)
        #expect(PartialRange(9, 20, isFromEnd: true).places(of: 10) == 0..<2)
        #expect(PartialRange(20, 30, isFromEnd: true).places(of: 10).isEmpty)
    }
}
