import Files
import NIOCore
import SimulatedDisk
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// A Maildir whose files were lost, damaged or changed under its sessions, or whose disk fails.
@Suite struct MaildirTroubleTests {
    private let list = MaildirUIDList.path

    private func name(_ text: String) throws -> FolderName { try #require(FolderName(text)) }

    private func remove(_ path: String, in fixture: MaildirFixture) throws {
        try DirectoryAccess(fixture.root).remove(path)
    }

    /// A Maildir `mail/alice` on a disk that can fail.
    private struct Simulated {
        let disk = SimulatedFileSystem(seed: 1)
        let mailDisk: MailboxDisk
        let store: any MailStore

        init() throws {
            try disk.makeDirectory("mail", in: nil, mode: 0o700)
            mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
            let location = try #require(MailboxLocation(path: "alice", format: .maildir))
            store = try MailDirectory("mail", on: mailDisk).open(location)
        }

        var root: DirectoryAccess { get throws { try DirectoryAccess("mail/alice", on: mailDisk) } }

        func put(_ content: String, as path: String) throws {
            try root.open(path, [.writing, .creating, .truncating]).write(Array(content.utf8))
        }

        func inbox() throws -> any MailFolder { try store.open(.inbox, readOnly: false) }

        func fail(_ operation: SimulatedOperation, _ code: CInt, _ path: @escaping @Sendable (String) -> Bool) {
            disk.start(FaultPlan(faults: [.init(operation, code: code, path: path)]))
        }

        func mend() { disk.start(FaultPlan()) }
    }

    // MARK: Numbering

    @Test func uidsOfAnotherNumberingAreNobodys() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        for number in 1...3 { try fixture.put("\(number)\n", as: "\(number).m.host") }
        let known = try store.open(.inbox, readOnly: false)
        _ = try known.expunge([1])
        let append = try known.append()
        try remove(list, in: fixture)
        let renumbered = try store.open(.inbox, readOnly: false)
        #expect(renumbered.uids == [1, 2] && renumbered.uidValidity != known.uidValidity)
        let files = try fixture.names("cur")
        #expect(throws: MailboxError.vanished) { _ = try known.expunge([2]) }
        #expect(throws: MailboxError.vanished) { _ = try known.store(FlagChange(.add, .seen), to: [2]) }
        #expect(throws: MailboxError.vanished) { _ = try known.open(2) }
        #expect(throws: MailboxError.vanished) { _ = try known.internalDate(of: 2) }
        #expect(throws: MailboxError.vanished) { _ = try known.copy([2], to: renumbered) }
        #expect(throws: MailboxError.vanished) { _ = try renumbered.copy([2], to: known) }
        #expect(throws: MailboxError.vanished) {
            _ = try append.finish(flags: [], keywords: [], internalDate: nil)
        }
        #expect(throws: MailboxError.vanished) { _ = try known.refresh() }
        #expect(known.identity(of: 2) == nil)
        #expect(try fixture.names("cur") == files)
        #expect(try fixture.names("new").isEmpty)
        #expect(try renumbered.expunge([2]) == [2])
    }

    /// As one that comes back in front of sessions that were there when it went.
    @Test func messageThatWasAwayFromTheBeginningIsANewOne() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...3 { try fixture.put("x\n", as: "\(number).m.host:2,", in: "cur") }
        _ = try fixture.inbox()
        let (away, place) = ("\(fixture.path)/away", "\(fixture.root)/cur/2.m.host:2,")
        #expect(rename(place, away) == 0)
        // Later than that, as the clock of directories goes.
        usleep(50_000)
        try OpenFile("\(fixture.root)/\(list)", .writing).setModified(time(nil) - 100)
        let location = try #require(MailboxLocation(path: "example.test/bob", format: .maildir))
        let inbox = try MailDirectory(fixture.path, on: .makeKernel()).open(location).open(.inbox, readOnly: false)
        #expect(inbox.uids == [1, 3])
        #expect(rename(away, place) == 0)
        _ = try inbox.refresh()
        #expect(inbox.uids == [1, 3, 4])
        #expect(try inbox.text(4) == "x\r\n")
    }

    /// Another program gives a UID and writes the file a little later.
    @Test(arguments: [false, true]) func messagesDoNotTurnUpAmongOthers(_ isLate: Bool) throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        try fixture.put("x\n", as: "1.m.host")
        let inbox = try store.open(.inbox, readOnly: false)
        let file = try OpenFile("\(fixture.root)/\(list)", [.writing, .appending])
        try file.write(Array("2 :2.m.host\n".utf8))
        if !isLate { try fixture.put("x\n", as: "2.m.host:2,", in: "cur") }
        #expect(try inbox.add("y\r\n", .seen) == 3)
        if isLate {
            _ = try inbox.refresh()
            #expect(inbox.uids == [1, 3])
            try fixture.put("x\n", as: "2.m.host:2,", in: "cur")
        }
        _ = try inbox.refresh()
        #expect(inbox.uids == (isLate ? [1, 3] : [1, 2, 3]))
        #expect(try inbox.store(FlagChange(.add, .flagged), to: [3]).count == 1)
        #expect(try store.open(.inbox, readOnly: false).uids == [1, 2, 3])
    }

    @Test func damagedOwnListBeginsANewNumbering() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...3 { try fixture.put("x\n", as: "\(number).m.host") }
        try fixture.put("martlet-uidlist 1 V77 N3\n1 1.m.host\nrubbish\n9 2.m.host\n", as: "martlet-uidlist", in: ".")
        let inbox = try fixture.inbox()
        #expect(inbox.uidValidity != 77)
        #expect(inbox.uids == [1, 2, 3])
    }

    @Test func whatOfTheOwnListCannotBeWrittenIsLeftOut() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...3 { try fixture.put("x\n", as: "\(number).m.host") }
        let long = String(repeating: "x", count: 256)
        try fixture.put(
            "martlet-uidlist 1 V77 N3\n5 1.m.host\n5 2.m.host\n7 \n8 \(long)\n9 a:b\n6 3.m.host\n",
            as: "martlet-uidlist",
            in: "."
        )
        #expect(try fixture.inbox().uids == [6, 10, 11])
        let anew = try MailDirectory(fixture.path, on: .makeKernel())
            .open(try #require(MailboxLocation(path: "example.test/bob", format: .maildir)))
            .open(.inbox, readOnly: false)
        #expect(anew.uidValidity == 77)
        #expect(anew.uids == [6, 10, 11])
    }

    @Test func listThatIsNotTheOneReadIsNotAddedTo() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        let directory = try DirectoryAccess(fixture.root)
        for change in [
            { try directory.open(self.list, [.writing, .appending]).write(Array("7 :other\n".utf8)) },
            { try directory.replace(self.list, with: Array("3 V9 N8\n".utf8)) },
        ] {
            var known = MaildirUIDList()
            try known.start(validity: 9, in: directory)
            try known.assign([Array("one".utf8)], in: directory)
            try change()
            let before = try directory.contents(list, maximum: 1000)
            #expect(throws: MailboxError.busy) { try known.assign([Array("two".utf8)], in: directory) }
            #expect(try directory.contents(list, maximum: 1000) == before)
        }
    }

    @Test func lockThatWasTakenAwayIsNotWrittenUnder() throws {
        let fixture = try MaildirFixture()
        let inbox = try #require(try fixture.inbox() as? MaildirFolder)
        let newcomer = MaildirIndex.Newcomer(base: "1.m.host", flags: .seen, keywords: [], staysNew: false)
        #expect(throws: MailboxError.busy) {
            _ = try inbox.add([newcomer]) { (_, path) throws(MailboxError) in
                _ = try inbox.directory.open(path, [.writing, .creating])
                try inbox.directory.remove("dovecot-uidlist.lock")
            }
        }
        #expect(try fixture.names("cur").isEmpty)
    }

    // MARK: What others wrote meanwhile

    @Test func keywordIsStoredThoughTheListWasWrittenAnew() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...3 { try fixture.put("x\n", as: "\(number).m.host") }
        let inbox = try fixture.inbox()
        let directory = try DirectoryAccess(fixture.root)
        let octets = try #require(try directory.contents(list, maximum: 1000))
        try directory.replace(list, with: octets)
        #expect(try inbox.store(FlagChange(.add, .seen, keywords: ["new"]), to: [2]).count == 1)
        #expect(try fixture.names("cur").contains("2.m.host:2,Sa"))
    }

    @Test func listThatCouldNotBeReadIsReadAgain() throws {
        let box = try Simulated()
        for number in 1...3 { try box.put("x\n", as: "new/\(number).m.host") }
        let inbox = try box.inbox()
        let octets = try #require(try box.root.contents(list, maximum: 1000))
        try box.root.replace(list, with: octets)
        box.fail(.syncData, EIO) { $0.hasSuffix(MaildirUIDList.path) }
        let change = FlagChange(.add, .seen, keywords: ["new"])
        #expect(throws: (any Error).self) { _ = try inbox.store(change, to: [1]) }
        #expect(throws: (any Error).self) { _ = try inbox.expunge([1]) }
        #expect(try box.root.names("cur").count == 3)
        box.mend()
        #expect(try inbox.expunge([1]) == [1])
        #expect(try box.root.names("cur").count == 2)
        #expect(try inbox.store(change, to: [2]).count == 1)
    }

    @Test func keywordThatCouldNotBeWrittenIsNotKnown() throws {
        let box = try Simulated()
        try box.put("x\n", as: "new/1.m.host")
        let inbox = try box.inbox()
        box.fail(.rename, EIO) { $0.hasSuffix(KeywordList.path) }
        let change = FlagChange(.add, .seen, keywords: ["new"])
        #expect(throws: (any Error).self) { _ = try inbox.store(change, to: [1]) }
        box.mend()
        #expect(try inbox.store(change, to: [1]).count == 1)
        #expect(try box.root.contents(KeywordList.path, maximum: 100) == Array("0 new\n".utf8))
    }

    @Test func gapsAmongKeywordsAreNoKeywords() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        try store.create(try name("A"))
        try fixture.put("0 a\n2 c\n", as: KeywordList.path, in: ".")
        try fixture.put("x\n", as: "1.m.host:2,abc", in: "cur")
        let inbox = try store.open(.inbox, readOnly: false)
        let target = try store.open(try name("A"), readOnly: false)
        _ = try inbox.copy([1], to: target)
        #expect(target.keywords == ["a", "c"])
        _ = try inbox.store(FlagChange(.replace, [], keywords: [""]), to: [1])
        #expect(try fixture.names("cur") == ["1.m.host:2,"])
    }

    // MARK: Disks that are full or fail

    @Test func fullDiskLeavesReading() throws {
        let box = try Simulated()
        try box.put("x\n", as: "new/1.m.host")
        #expect(try box.store.open(.inbox, readOnly: true).uids == [1])
        box.fail([.open, .write, .rename], ENOSPC) { $0.contains(".lock") || $0.contains("/cur/") }
        let inbox = try box.inbox()
        #expect(inbox.uids == [1])
        #expect(try inbox.text(1) == "x\r\n")
        #expect(try box.root.names("new") == ["1.m.host"])
        try box.put("x\n", as: "new/2.m.host")
        #expect(throws: MailboxError.noSpace) { _ = try inbox.refresh() }
        box.mend()
        _ = try inbox.refresh()
        #expect(inbox.uids == [1, 2])
        #expect(try box.root.names("new").isEmpty)
    }

    @Test func listThatCannotBeShortenedServesAsItIs() throws {
        let box = try Simulated()
        let lines = (1...1100).map { "\($0) :\($0).m.host\n" }
        try box.put("3 V9 N1101\n" + lines.joined(), as: list)
        try box.put("x\n", as: "cur/7.m.host:2,")
        box.fail(.rename, ENOSPC) { $0.hasSuffix(MaildirUIDList.path) }
        let inbox = try box.inbox()
        #expect(inbox.uids == [7])
        #expect(try inbox.add("y\r\n") == 1101)
        box.mend()
        _ = try inbox.refresh()
        #expect(try box.inbox().uids == [7, 1101])
    }

    /// A folder that was made in vain, or whose maker died, is there for others, who must not lose what they put into it.
    @Test(arguments: 0..<20 as Range<UInt64>, [MailboxFormat.maildir, .maildirTree])
    func folderWhoseNameMayBeLostLosesNoMessage(_ seed: UInt64, _ format: MailboxFormat) throws {
        let disk = SimulatedFileSystem(seed: seed)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let location = try #require(MailboxLocation(path: "alice", format: format))
        func store(at seconds: Int64) throws -> any MailStore {
            let mailDisk = MailboxDisk(disk, process: 1, microseconds: { seconds * 1_000_000 }, uptime: { 0 })
            return try MailDirectory("mail", on: mailDisk).open(location)
        }
        let before = try store(at: 1_800_000_000)
        try disk.syncAll(of: disk.open(".", in: nil, [.reading, .directory], mode: 0))
        let name = try #require(FolderName(format == .maildir ? "A.B" : "A/B", delimiter: before.delimiter))
        let parents: Set<String> = ["mail/alice", "mail/alice/A"]
        disk.start(FaultPlan(faults: [.init(.sync, code: EIO, path: { parents.contains($0) })]))
        #expect(throws: MailboxError.self) { try before.create(name) }
        disk.start(FaultPlan())
        #expect(try before.open(name, readOnly: false).add("x\r\n") == 1)
        disk.powerCut()
        #expect(try store(at: 1_800_001_000).open(name, readOnly: false).uids == [1])
    }

    @Test func folderThatCannotBeLookedAtIsNotHidden() throws {
        let box = try Simulated()
        try box.store.create(try name("A"))
        try box.put("", as: ".file")
        #expect(try box.store.folders().map(\.name.description) == ["INBOX", "A"])
        box.fail(.status, EIO) { $0.hasSuffix(".A/cur") }
        #expect(throws: (any Error).self) { _ = try box.store.folders() }
    }

    @Test(arguments: [EXDEV, EMLINK]) func copiesNeedNoHardLinks(_ code: CInt) throws {
        let box = try Simulated()
        try box.store.create(try name("A"))
        for number in 1...3 { try box.put("m\(number)\n", as: "new/\(number).m.host") }
        let inbox = try box.inbox()
        let target = try box.store.open(try name("A"), readOnly: false)
        box.fail(.link, code) { $0.contains("cur/") }
        #expect(try inbox.copy([1, 3], to: target).map(\.source) == [1, 3])
        #expect(try target.uids.map { try target.text($0) } == ["m1\r\n", "m3\r\n"])
        #expect(throws: MailboxError.notFound) { _ = try inbox.copy([2, 9], to: target) }
        #expect(target.uids.count == 2)
        #expect(try box.root.names(".A/tmp").isEmpty)
    }

    // MARK: What is no message, folder or list

    @Test func fileThatCannotBeMovedStaysNew() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        let long = "1.\(String(repeating: "x", count: 251))"
        try fixture.put("long\n", as: long)
        try fixture.put("x\n", as: "2.m.host")
        let inbox = try fixture.inbox()
        #expect(inbox.uids == [1, 2])
        #expect(try inbox.text(1) == "long\r\n")
        #expect(try fixture.names("new") == [long])
        #expect(try fixture.names("cur") == ["2.m.host:2,"])
        try fixture.put("y\n", as: "3.m.host")
        #expect(try fixture.store().open(.inbox, readOnly: true).uids == [1, 2, 3])
        _ = try inbox.refresh()
        #expect(try fixture.names("new") == [long])
        #expect(try inbox.expunge([1]) == [1])
        #expect(try fixture.names("new").isEmpty)
    }

    @Test func nobodyWaitsForAFIFO() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        #expect(mkfifo("\(fixture.root)/cur/1.m.host:2,", 0o600) == 0)
        #expect(symlink("/etc/hostname", "\(fixture.root)/cur/2.m.host:2,") == 0)
        let inbox = try fixture.inbox()
        #expect(throws: MailboxError.corrupt("cur/1.m.host:2, is no regular file")) { _ = try inbox.open(1) }
        #expect(throws: (any Error).self) { _ = try inbox.open(2) }
        try remove(list, in: fixture)
        #expect(mkfifo("\(fixture.root)/\(list)", 0o600) == 0)
        #expect(throws: MailboxError.corrupt("\(list) is no regular file")) { _ = try fixture.inbox() }
        try remove(list, in: fixture)
        #expect(mkfifo("\(fixture.root)/martlet-uidlist", 0o600) == 0)
        #expect(try fixture.inbox().uids == [1, 2])
        #expect(try !fixture.names(".").contains("martlet-uidlist"))
    }

    @Test func oldRubbishGoesAndNothingThatItLeadsTo() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.inbox()
        try fixture.put("x\n", as: "1.m.host:2,", in: "cur")
        #expect(symlink("\(fixture.root)/cur", "\(fixture.root)/tmp/link") == 0)
        #expect(mkdir("\(fixture.root)/tmp/tree", 0o700) == 0)
        #expect(symlink("\(fixture.root)/cur", "\(fixture.root)/tmp/tree/link") == 0)
        for rubbish in ["dovecot-uidlist.1.M2P3Q4.host.new", "dovecot-uidlist.lock.1.M2P3Q4.host"] {
            try fixture.put("", as: rubbish, in: ".")
        }
        let now = try DirectoryAccess(fixture.root)
        now.removeOldTemporaries()
        #expect(try fixture.names("tmp") == ["link", "tree"])
        #expect(throws: (any Error).self) { try now.removeTree("tmp/link") }
        let later = MailboxDisk(
            KernelFileSystem(),
            process: 1,
            microseconds: { Int64(time(nil) + 40 * 3600) * 1_000_000 },
            uptime: { 0 }
        )
        try DirectoryAccess(fixture.root, on: later).removeOldTemporaries()
        #expect(try fixture.names("tmp").isEmpty)
        #expect(try fixture.names("cur") == ["1.m.host:2,"])
        let left = try fixture.names(".").filter { $0.hasPrefix("dovecot-uidlist") }
        #expect(left == ["dovecot-uidlist"])
    }

    @Test func whatIsLeftOfADeletedFolderTakesNoMail() throws {
        let mail = try TestMail()
        let location = try mail.location("alice", .maildirTree)
        let store = try mail.mail.open(location)
        let work = try #require(FolderName("Work", delimiter: store.delimiter))
        let below = try #require(FolderName("Work/Sub", delimiter: store.delimiter))
        try store.create(work)
        try store.create(below)
        let folder = try DeliveryFolder(work, of: location, in: mail.mail.directory)
        #expect(try folder.isInPlace(location, in: mail.mail.directory))
        // As far as a deletion gets that is interrupted.
        try mail.mail.directory.rename("alice/Work/cur", to: "alice/tmp/gone")
        #expect(try !folder.isInPlace(location, in: mail.mail.directory))
        #expect(throws: MailboxError.notFound) {
            _ = try DeliveryFolder(work, of: location, in: mail.mail.directory)
        }
        try mail.write("x\n", to: "alice/Work/new/1.m.host")
        try store.create(work)
        #expect(try store.open(work, readOnly: false).uids == [])
        #expect(try store.folders().map(\.name.description) == ["INBOX", "Work", "Work/Sub"])
    }

    @Test func sizesThatNamesClaimAreNotSummedBeyondMeasure() {
        #expect(MaildirFileName.size(UInt8(ascii: "S"), in: Array("1.m,S=1099511627776".utf8)) == 1 << 40)
        #expect(MaildirFileName.size(UInt8(ascii: "S"), in: Array("1.m,S=1099511627777".utf8)) == nil)
        var usage = MailboxUsage(octets: .max - 1, messages: 0)
        usage.add(octets: 5)
        #expect(usage.octets == .max)
    }

    @Test func manyAreChangedInOneCall() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        for number in 1...1201 { try fixture.put("", as: "\(number).m.host,S=0,W=0:2,", in: "cur") }
        let inbox = try fixture.inbox()
        #expect(try inbox.store(FlagChange(.add, .seen), to: inbox.uids).map(\.uid) == inbox.uids)
        #expect(try !inbox.refresh())
        #expect(inbox.messages.allSatisfy { $0.flags == .seen })
        #expect(try inbox.expunge(Array(1...1200)).count == 1200)
        #expect(try !inbox.refresh())
        #expect(inbox.uids == [1201])
        #expect(try fixture.names("cur").count == 1)
    }
}
