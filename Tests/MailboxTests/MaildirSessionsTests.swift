import Files
import NIOCore
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// Several sessions in one folder of a Maildir, and what other programs do to it meanwhile.
@Suite struct MaildirSessionsTests {
    private func name(_ text: String) throws -> FolderName { try #require(FolderName(text)) }

    /// One is told, and only once: for what was delivered, appended and copied.
    @Test func recentIsGivenOnce() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        try fixture.put("a\n", as: "1.m.host")
        let looking = try store.open(.inbox, readOnly: true)
        #expect(looking.messages.map(\.isRecent) == [true])
        let first = try store.open(.inbox, readOnly: false)
        let second = try store.open(.inbox, readOnly: false)
        #expect(first.messages.map(\.isRecent) == [true])
        #expect(second.messages.map(\.isRecent) == [false])
        _ = try looking.refresh()
        #expect(looking.messages.map(\.isRecent) == [false])
        let target = try store.open(.inbox, readOnly: true)
        let plain = try target.add("b\r\n")
        let flagged = try target.add("c\r\n", .seen)
        let copied = try second.copy([1], to: target).map(\.target)
        _ = try second.refresh()
        _ = try first.refresh()
        #expect(second.messages.map(\.isRecent) == [false, true, true, true])
        #expect(first.messages.map(\.isRecent) == [true, false, false, false])
        #expect(second.uids == [1, plain, flagged] + copied)
        #expect(try store.open(.inbox, readOnly: false).messages.allSatisfy { !$0.isRecent })
    }

    /// `tmp/` is cleared by what was done to a file last, not by the date that it was given.
    @Test func appendOfAnOldMessageIsNoRubbish() throws {
        let fixture = try MaildirFixture()
        let inbox = try fixture.inbox()
        let file = try inbox.append()
        try file.write(ByteBuffer(string: "old\r\n"))
        let name = try #require(try fixture.names("tmp").first)
        try OpenFile("\(fixture.root)/tmp/\(name)", [.writing]).setModified(1000)
        try DirectoryAccess(fixture.root).removeOldTemporaries()
        let uid = try file.finish(flags: [], keywords: [], internalDate: 1000)
        #expect(try inbox.internalDate(of: uid) == 1000)
    }

    @Test func folderThatWasDeletedOrMadeAgainIsGone() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        for change in [
            { (store: any MailStore) in try store.delete(try self.name("A")) },
            {
                try $0.delete(try self.name("A"))
                try $0.create(try self.name("A"))
            },
        ] {
            try? store.delete(try name("A"))
            try store.create(try name("A"))
            let folder = try store.open(try name("A"), readOnly: false)
            _ = try folder.add("x\r\n")
            let append = try folder.append()
            try change(try fixture.store())
            #expect(throws: MailboxError.vanished) { _ = try folder.refresh() }
            #expect(throws: (any Error).self) {
                _ = try append.finish(flags: [], keywords: [], internalDate: nil)
            }
        }
    }

    @Test func inboxIsOneFolderWhateverItsCase() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        #expect(try name("inbox.X") == name("INBOX.X"))
        try store.create(try name("inbox.X"))
        #expect(throws: MailboxError.exists) { try store.create(try name("Inbox.X")) }
        for stray in [".inbox", ".INBOX", ".inBox.Y"] {
            for part in ["", "/cur", "/new", "/tmp"] { mkdir("\(fixture.root)/\(stray)\(part)", 0o700) }
        }
        #expect(try store.folders().map(\.name.description) == ["INBOX", "INBOX.X"])
        #expect(try store.folders().map(\.hasChildren) == [true, false])
        #expect(try store.open(try name("iNBOX.X"), readOnly: false).uids.isEmpty)
        try store.rename(try name("inbox.X"), to: try name("iNBOX.Z"))
        #expect(try store.folders().map(\.name.description) == ["INBOX", "INBOX.Z"])
    }

    /// What one of them does is in the others at their next look, without a listing.
    @Test func sessionsShareWhatTheyKnow() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        for number in 1...50 { try fixture.put("x\n", as: "\(number).m.host,S=2,W=3:2,", in: "cur") }
        let (one, two) = (try store.open(.inbox, readOnly: false), try store.open(.inbox, readOnly: false))
        _ = try one.store(FlagChange(.add, .seen, keywords: ["k"]), to: Array(1...10))
        _ = try one.expunge([50])
        let uid = try one.add("y\r\n", .flagged)
        #expect(try two.refresh())
        #expect(two.uids == Array(1...49) + [uid])
        #expect(two.messages.count { $0.flags == .seen && $0.keywords.indices == [0] } == 10)
        #expect(two.keywords == ["k"])
        #expect(one.uids == two.uids)
        // The recent one is his who came first.
        #expect(one.messages.map(\.flags) == two.messages.map(\.flags))
        #expect(try !one.refresh())
    }

    @Test func twoWithOneBaseNameAreOneMessage() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        try fixture.put("x\n", as: "1.m.host:2,S", in: "cur")
        try fixture.put("x\n", as: "1.m.host")
        let inbox = try fixture.store().open(.inbox, readOnly: true)
        #expect(inbox.uids == [1])
        #expect(try fixture.inbox().uids == [1])
    }
}
