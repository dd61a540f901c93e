import NIOConcurrencyHelpers
import Testing

@testable import MailIndex

#if canImport(Glibc)
import Glibc
#endif

/// A directory with an index in it; removed at the end.
final class TestIndex {
    let directory: String
    var path: String { directory + "/index" }
    let faults = NIOLockedValueBox<[String]>([])

    init() {
        var template = Array("/tmp/index-XXXXXX\0".utf8CString)
        directory = String(cString: mkdtemp(&template))
    }

    deinit {
        for end in ["", "-wal", "-shm"] { unlink(path + end) }
        rmdir(directory)
    }

    func open() -> MessageIndex {
        let faults = faults
        return MessageIndex(path: path) { fault in faults.withLockedValue { $0.append(fault) } }
    }

    func inbox(validity: UInt32 = 7) throws -> FolderIndex {
        try #require(open().folder("INBOX", validity: validity))
    }
}

extension FolderIndex {
    func all(_ item: IndexedItem, _ uids: ClosedRange<UInt32> = 1...UInt32.max) -> [IndexedMessage: [UInt8]] {
        var found: [IndexedMessage: [UInt8]] = [:]
        read(item, uids) { found[$0] = Array($1) }
        return found
    }

    func keepText(_ uid: UInt32, header: String = "", body: String = "") {
        let message = IndexedMessage(uid: uid, identity: UInt64(uid))
        keep([Text(message: message, header: Array(header.utf8), body: Array(body.utf8))])
    }

    func find(_ text: String, inHeaderOnly: Bool = false) -> [UInt32]? {
        find(Array(text.utf8), inHeaderOnly: inHeaderOnly)
    }

    func find(_ text: [UInt8], inHeaderOnly: Bool = false) -> [UInt32]? {
        lookUp([(text, inHeaderOnly)]).candidates.first ?? nil
    }
}

struct MessageIndexTests {
    private let one = IndexedMessage(uid: 1, identity: .max)
    private let two = IndexedMessage(uid: 4_294_967_294, identity: 5)

    @Test
    func whatIsKeptIsThereForTheNextProcess() throws {
        let test = TestIndex()
        try test.inbox().keep([(one, .envelope, [1, 0, 255]), (two, .envelope, []), (one, .body, [9])])
        let inbox = try test.inbox()
        #expect(inbox.all(.envelope) == [one: [1, 0, 255], two: []])
        #expect(inbox.all(.body) == [one: [9]])
        #expect(inbox.all(.structure) == [:])
        #expect(inbox.all(.envelope, 2...UInt32.max) == [two: []])
        #expect(test.faults.withLockedValue { $0 } == [])
    }

    @Test
    func foldersDoNotMix() throws {
        let test = TestIndex()
        let index = test.open()
        let inbox = try #require(index.folder("INBOX", validity: 7))
        inbox.keep([(one, .header, [1])])
        for (name, validity) in [("INBOX", 8), ("Inbox", 7), ("A", 7)] as [(String, UInt32)] {
            let other = try #require(index.folder(name, validity: validity))
            #expect(other.all(.header) == [:])
            other.keep([(two, .header, [2])])
            other.keepText(3, body: "the text")
        }
        #expect(inbox.all(.header) == [one: [1]])
        #expect(inbox.find("text") == [])
    }

    @Test
    func whatIsKeptAgainReplacesAndWhatIsTooLargeIsLeftOut() throws {
        let test = TestIndex()
        let inbox = try test.inbox()
        inbox.keep([(one, .envelope, [1])])
        inbox.keep([(IndexedMessage(uid: 1, identity: 2), .envelope, [2])])
        inbox.keep([(two, .envelope, [UInt8](repeating: 0, count: FolderIndex.maximumItem + 1))])
        #expect(inbox.all(.envelope) == [IndexedMessage(uid: 1, identity: 2): [2]])
    }

    @Test
    func whatIsGoneIsForgotten() throws {
        let test = TestIndex()
        let inbox = try test.inbox()
        for uid in 1...6 as ClosedRange<UInt32> {
            inbox.keep([(IndexedMessage(uid: uid, identity: 0), .envelope, [1])])
            inbox.keepText(uid, body: "abc")
        }
        inbox.retain([1, 3, 4, 5, 6])
        #expect(inbox.all(.envelope).keys.map(\.uid).sorted() == [1, 3, 4, 5, 6])
        #expect(inbox.textStates().map(\.message.uid) == [1, 3, 4, 5, 6])
        inbox.retain([1, 3, 7])
        #expect(inbox.all(.envelope).keys.map(\.uid).sorted() == [1, 3])
        #expect(inbox.textStates().map(\.message.uid) == [1, 3])
    }

    @Test
    func textIsFoundAnywhereInAWord() throws {
        let test = TestIndex()
        let inbox = try test.inbox()
        inbox.keepText(1, header: "subject: quarterly report", body: "grüße aus köln, 東京都 \"quoted\"")
        inbox.keepText(2, header: "subject: report", body: "nothing")
        #expect(inbox.find("eport") == [1, 2])
        #expect(inbox.find("terly r", inHeaderOnly: true) == [1])
        #expect(inbox.find("köln") == [1])
        #expect(inbox.find("köln", inHeaderOnly: true) == [])
        #expect(inbox.find("東京都") == [1])
        #expect(inbox.find("\"quoted\"") == [1])
        #expect(inbox.find("nothing AND report") == [])
        #expect(inbox.find("grüsse") == [])
        #expect(
            inbox.textStates().map(\.message) == [
                IndexedMessage(uid: 1, identity: 1), IndexedMessage(uid: 2, identity: 2),
            ]
        )
    }

    @Test
    func whatTheIndexCannotTellItDoesNotTell() throws {
        let test = TestIndex()
        let inbox = try test.inbox()
        inbox.keepText(1, body: "ab")
        #expect(inbox.find("ab") == nil)
        #expect(inbox.find("") == nil)
        #expect(inbox.find([0x61, 0xFF, 0x62, 0x63]) == nil)
        #expect(inbox.find(Array("a\0bc".utf8)) == nil)
        let both = inbox.lookUp([(Array("ab".utf8), false), (Array("abc".utf8), false)])
        #expect(both.candidates == [nil, []])
        #expect(both.states.map(\.message.uid) == [1])
    }

    @Test
    func aTextWithNULOrBadOctetsIsFoundBehindThem() throws {
        let test = TestIndex()
        let inbox = try test.inbox()
        let message = IndexedMessage(uid: 1, identity: 1)
        inbox.keep([.init(message: message, header: [], body: Array("a\0b".utf8) + [0xC3] + Array("behind".utf8))])
        #expect(inbox.find("behind") == [1])
    }

    @Test
    func longTextsAreLookedForByTheirBeginning() throws {
        let test = TestIndex()
        let inbox = try test.inbox()
        let long = String(repeating: "0123456789abcdef", count: 1000)
        inbox.keepText(1, body: "x" + long)
        #expect(inbox.find(long) == [1])
        inbox.keepText(2, body: String(repeating: "y", count: FolderIndex.maximumText + 1))
        #expect(inbox.textStates().map(\.isKept) == [true, false])
        #expect(inbox.find("yyy") == [])
    }

    @Test(arguments: [0, 100, 5000])
    func aDamagedFileIsMadeAnew(offset: Int) throws {
        let test = TestIndex()
        do {
            let inbox = try test.inbox()
            for uid in 1...200 as ClosedRange<UInt32> {
                let octets = [UInt8](repeating: UInt8(uid), count: 1000)
                inbox.keep([(IndexedMessage(uid: uid, identity: 0), .envelope, octets)])
            }
        }
        let file = open(test.path, O_WRONLY)
        let noise = [UInt8](repeating: 0xA5, count: 60_000)
        #expect(pwrite(file, noise, noise.count, off_t(offset)) == noise.count)
        close(file)
        let index = test.open()
        // At most one call finds it out each time.
        var folder = index.folder("INBOX", validity: 7)
        _ = folder?.all(.envelope)
        folder = index.folder("INBOX", validity: 7) ?? index.folder("INBOX", validity: 7)
        let inbox = try #require(folder)
        inbox.keep([(one, .envelope, [1])])
        #expect(index.folder("INBOX", validity: 7)?.all(.envelope)[one] == [1])
        #expect(test.faults.withLockedValue { $0 } != [])
    }

    @Test
    func withoutAPlaceForItNothingIsKnown() {
        let faults = NIOLockedValueBox(0)
        let index = MessageIndex(path: "/nowhere/at/all") { _ in faults.withLockedValue { $0 += 1 } }
        #expect(index.folder("INBOX", validity: 1) == nil)
        #expect(index.folder("INBOX", validity: 1) == nil)
        #expect(faults.withLockedValue { $0 } == 1)
    }

    @Test
    func twoProcessesShareTheFile() throws {
        let test = TestIndex()
        let (first, second) = (try test.inbox(), try test.inbox())
        for uid in 1...50 as ClosedRange<UInt32> {
            let folder = uid % 2 == 0 ? first : second
            folder.keep([(IndexedMessage(uid: uid, identity: 0), .envelope, [1])])
            folder.keepText(uid, body: "number \(uid) of them")
        }
        #expect(first.all(.envelope).count == 50)
        #expect(second.find("number 49")?.contains(49) == true)
        #expect(test.faults.withLockedValue { $0 } == [])
    }

    @Test
    func foldersThatAreGoneAreForgotten() throws {
        let test = TestIndex()
        let index = test.open()
        let inbox = try #require(index.folder("INBOX", validity: 7))
        for (name, validity) in [("INBOX", 6), ("Work", 1), ("Play", 1)] as [(String, UInt32)] {
            let folder = try #require(index.folder(name, validity: validity))
            folder.keep([(one, .envelope, [1])])
            folder.keepText(1, body: "the text")
        }
        inbox.keepText(1, body: "the text")
        inbox.retain(folders: ["INBOX", "Work"])
        #expect(inbox.find("text") == [1])
        for (name, validity, isThere) in [("INBOX", 6, false), ("Work", 1, true), ("Play", 1, false)]
            as [(String, UInt32, Bool)]
        {
            let folder = try #require(index.folder(name, validity: validity))
            #expect(folder.all(.envelope).isEmpty != isThere, "\(name) \(validity)")
            #expect(folder.textStates().isEmpty != isThere)
        }
    }

    @Test
    func whatWasPutInItsPlaceIsNotUsed() throws {
        let test = TestIndex()
        do {
            _ = try test.inbox()
            let database = try Database(test.path)
            try database.run(
                "DROP TABLE envelope; CREATE VIEW envelope AS SELECT 1 AS id, 0 AS identity, x'31' AS octets"
            )
        }
        let index = test.open()
        #expect(index.folder("INBOX", validity: 7) == nil)
        let inbox = try #require(index.folder("INBOX", validity: 7))
        #expect(inbox.all(.envelope) == [:])
        #expect(test.faults.withLockedValue { $0 }.count == 1)
        // A link leads elsewhere.
        let other = TestIndex()
        #expect(symlink(test.path, other.path) == 0)
        #expect(other.open().folder("INBOX", validity: 7) == nil)
    }

    @Test
    func textsOfMessagesThatAreGoneDoNotPileUp() throws {
        let test = TestIndex()
        let index = try OpenIndex(test.path, maximumGarbage: 30)
        let folder = try index.folder("INBOX", 1)
        func keep(_ uid: UInt32) throws {
            let message = IndexedMessage(uid: uid, identity: 0)
            try index.keep([.init(message: message, header: [], body: Array("abc".utf8))], folder)
        }
        for uid in 1...20 as ClosedRange<UInt32> { try keep(uid) }
        try index.remove(Array(1...10), folder)
        #expect(try index.textStates(folder).count == 10)
        try index.remove([11], folder)
        // Emptied, so that what is still there is taken in again.
        #expect(try index.textStates(folder) == [])
        #expect(try index.candidates("\"abc\"", folder) == [])
        try keep(12)
        #expect(try index.candidates("\"abc\"", folder) == [12])
    }
}
