import Files
import NIOCore
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

@Suite struct FolderTests {
    private func text(_ folder: any MailFolder, _ uid: UInt32) throws -> String {
        let reader = try folder.open(uid)
        return String(buffer: try reader.read(at: 0, count: reader.octets))
    }

    @Test func uidsFollowArrivalAndStayWhenOpenedAgain() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        try fixture.put("b\n", as: "200.b.host")
        try fixture.put("a\n", as: "100.a.host")
        let first = try fixture.inbox()
        #expect(first.messages.map(\.uid) == [1, 2])
        #expect(try text(first, 1) == "a\r\n")
        try fixture.put("old\n", as: "50.c.host")
        let second = try fixture.inbox()
        #expect(second.messages.map(\.uid) == [1, 2, 3])
        #expect(try text(second, 3) == "old\r\n")
        #expect(second.uidValidity == first.uidValidity)
        #expect(second.uidNext == 4)
        #expect(try first.refresh())
        #expect(first.messages.map(\.uid) == [1, 2, 3])
    }

    @Test func uidsAreNotGivenAgainAfterExpunge() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...3 { try fixture.put("x\n", as: "\(number).m.host") }
        #expect(try fixture.inbox().expunge([3]) == [3])
        try fixture.put("y\n", as: "4.m.host")
        #expect(try fixture.inbox().messages.map(\.uid) == [1, 2, 4])
        #expect(try fixture.names("cur").count == 3)
    }

    /// Sessions were told that it's gone, and none may have a message in the middle that wasn't there.
    @Test func messageThatComesBackIsANewOne() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...3 { try fixture.put("x\n", as: "\(number).m.host") }
        let folder = try fixture.inbox()
        let away = "\(fixture.path)/away"
        #expect(rename("\(fixture.root)/cur/2.m.host:2,", away) == 0)
        #expect(try folder.refresh())
        #expect(folder.messages.map(\.uid) == [1, 3])
        #expect(rename(away, "\(fixture.root)/cur/2.m.host:2,S") == 0)
        #expect(try folder.refresh())
        #expect(folder.messages.map(\.uid) == [1, 3, 4])
        #expect(folder.message(4)?.flags == .seen)
        #expect(try folder.store(FlagChange(.add, .draft), to: [2]).isEmpty)
        let other = try MailDirectory(fixture.path, on: .makeKernel())
            .open(try #require(MailboxLocation(path: "example.test/bob", format: .maildir)))
        #expect(try other.open(.inbox, readOnly: false).messages.map(\.uid) == [1, 3, 4])
    }

    @Test(arguments: ["7", "7 half a na", "99999999999 x\n", "x y\n", "0 zero\n"])
    func listThatWasCutOffOrDamagedDoesNotStopAnybody(_ tail: String) throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...2 { try fixture.put("x\n", as: "\(number).m.host") }
        let before = try fixture.inbox()
        let list = try OpenFile("\(fixture.root)/\(MaildirUIDList.path)", [.writing, .appending])
        try list.write(Array(tail.utf8))
        try fixture.put("x\n", as: "3.m.host")
        let after = try fixture.inbox()
        #expect(after.messages.map(\.uid) == [1, 2, 3])
        // Only a list that can't be read at all begins a new numbering.
        #expect((after.uidValidity == before.uidValidity) == !tail.hasSuffix("\n"))
        #expect(try fixture.inbox().messages.map(\.uid) == [1, 2, 3])
    }

    @Test func longListIsRewrittenWithoutItsDead() throws {
        let fixture = try MaildirFixture()
        let directory = try fixture.store().open(.inbox, readOnly: false) as? MaildirFolder
        let folder = try #require(directory)
        for number in 1...1100 { try fixture.put("", as: "\(number).m.host", in: "cur") }
        _ = try folder.refresh()
        _ = try folder.expunge(Array(1...1099))
        try fixture.put("", as: "2000.m.host", in: "cur")
        _ = try folder.refresh()
        #expect(folder.messages.map(\.uid) == [1100, 1101])
        let status = try folder.directory.status(MaildirUIDList.path)
        #expect(status.size < 200)
        #expect(try fixture.inbox().messages.map(\.uid) == [1100, 1101])
        #expect(try fixture.inbox().uidNext == 1102)
    }

    @Test func flagsAndKeywordsAreInTheName() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        try fixture.put("x\n", as: "1.m.host")
        let folder = try fixture.inbox()
        #expect(folder.messages.first?.isRecent == true)
        var changed = try folder.store(FlagChange(.add, [.seen, .answered], keywords: ["$Forwarded"]), to: [1, 9])
        #expect(changed.map(\.uid) == [1])
        #expect(try fixture.names("cur") == ["1.m.host:2,RSa"])
        changed = try folder.store(FlagChange(.remove, .seen, keywords: ["$FORWARDED", "none"]), to: [1])
        #expect(try fixture.names("cur") == ["1.m.host:2,R"])
        _ = try folder.store(FlagChange(.replace, .flagged, keywords: ["$Junk"]), to: [1])
        #expect(try fixture.names("cur") == ["1.m.host:2,Fb"])
        let other = try fixture.inbox()
        #expect(other.keywords == ["$Forwarded", "$Junk"])
        #expect(other.messages.first?.keywords.indices == [1])
        #expect(other.messages.first?.isRecent == false)
    }

    @Test func messageThatOthersRenamedIsFound() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        try fixture.put("x\n", as: "1.m.host")
        let (one, two) = (try fixture.inbox(), try fixture.inbox())
        _ = try one.store(FlagChange(.add, .seen), to: [1])
        #expect(try text(two, 1) == "x\r\n")
        _ = try one.store(FlagChange(.add, .flagged), to: [1])
        #expect(try two.store(FlagChange(.add, .answered), to: [1]).first?.flags == [.seen, .flagged, .answered])
        #expect(try one.expunge([1]) == [1])
        #expect(throws: MailboxError.notFound) { _ = try two.open(1) }
        #expect(try two.store(FlagChange(.add, .draft), to: [1]).isEmpty)
    }

    @Test func readOnlyLeavesMessagesRecent() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        try fixture.put("x\n", as: "1.m.host")
        let looked = try store.open(.inbox, readOnly: true)
        #expect(looked.messages.first?.isRecent == true)
        #expect(try fixture.names("new") == ["1.m.host"])
        #expect(try text(looked, 1) == "x\r\n")
        #expect(try store.open(.inbox, readOnly: false).messages.first?.isRecent == true)
        #expect(try store.open(.inbox, readOnly: false).messages.first?.isRecent == false)
    }

    @Test func appendKeepsOctetsFlagsAndDate() throws {
        let fixture = try MaildirFixture()
        let folder = try fixture.inbox()
        let append = try folder.append()
        try append.write(ByteBuffer(string: "A: b\r"))
        try append.write(ByteBuffer(string: "\n\r\nbody\n"))
        let uid = try append.finish(flags: [.seen], keywords: ["x"], internalDate: 1_000_000)
        #expect(folder.message(uid)?.flags == .seen)
        #expect(folder.message(uid)?.octets == 14)
        #expect(try text(folder, uid) == "A: b\r\n\r\nbody\r\n")
        #expect(try folder.internalDate(of: uid) == 1_000_000)
        #expect(try fixture.names("tmp").isEmpty)
    }

    @Test func appendThatIsGivenUpLeavesNothing() throws {
        let fixture = try MaildirFixture()
        let folder = try fixture.inbox()
        do {
            let append = try folder.append()
            try append.write(ByteBuffer(string: "half"))
            #expect(try fixture.names("tmp").count == 1)
        }
        #expect(try fixture.names("tmp").isEmpty)
        #expect(try !folder.refresh() || folder.messages.isEmpty)
    }

    @Test func copyTakesFlagsKeywordsAndDateAlong() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        let name = try #require(FolderName("Archive"))
        try store.create(name)
        for number in 1...3 { try fixture.put("m\(number)\n", as: "\(number).m.host,S=3,W=4") }
        let inbox = try store.open(.inbox, readOnly: false)
        _ = try inbox.store(FlagChange(.add, .flagged, keywords: ["first", "second"]), to: [3])
        _ = try inbox.store(FlagChange(.remove, [], keywords: ["first"]), to: [3])
        let archive = try store.open(name, readOnly: false)
        let pairs = try inbox.copy([3, 1], to: archive)
        #expect(pairs.map(\.source) == [3, 1])
        let copied = try #require(archive.message(pairs[0].target))
        #expect(copied.flags == .flagged)
        #expect(copied.keywords.indices.map { archive.keywords[$0] } == ["second"])
        #expect(copied.octets == 4)
        #expect(try text(archive, pairs[0].target) == "m3\r\n")
        #expect(try archive.internalDate(of: pairs[0].target) == inbox.internalDate(of: 3))
        #expect(throws: MailboxError.notFound) { _ = try inbox.copy([2, 77], to: archive) }
        _ = try archive.refresh()
        #expect(archive.messages.count == 2)
    }

    @Test func namesThatAreNoMessagesAreLeftAlone() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        try fixture.put("x", as: ".hidden")
        try fixture.put("x\n", as: "no-time-at-all", in: "cur")
        try fixture.put("x\n", as: "5.m.host:1,experimental", in: "cur")
        let folder = try fixture.inbox()
        #expect(folder.messages.count == 2)
        #expect(folder.messages.allSatisfy { $0.flags.isEmpty })
        #expect(try fixture.names("new") == [".hidden"])
    }
}
