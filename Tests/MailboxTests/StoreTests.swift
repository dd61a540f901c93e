import Files
import NIOCore
import SimulatedDisk
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

@Suite struct StoreTests {
    private func name(_ text: String) throws -> FolderName { try #require(FolderName(text)) }

    private func list(_ store: any MailStore) throws -> [String] {
        try store.folders().map { "\($0.name)\($0.isSelectable ? "" : " -")\($0.hasChildren ? " +" : "")" }
    }

    @Test(arguments: ["", ".", "a.", ".a", "a..b", "a/b", "a*", "%", "a\u{1}", "ü", String(repeating: "x", count: 251)])
    func namesThatAFolderMayNotHave(_ text: String) { #expect(FolderName(text) == nil) }

    @Test func inboxHasNoCase() throws {
        #expect(try name("inBOX") == .inbox)
        #expect(try name("inbox.sub") != .inbox)
    }

    @Test(arguments: ["", "/etc", "a/../b", "..", "a//b", "a/.", "a\0b"])
    func pathsThatLeadOut(_ path: String) { #expect(MailboxLocation(path: path, format: .maildir) == nil) }

    @Test func foldersAreMadeListedRenamedAndRemoved() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        try store.create(try name("A.B"))
        try store.create(try name("Sent"))
        #expect(try list(store) == ["INBOX", "A - +", "A.B", "Sent"])
        #expect(throws: MailboxError.exists) { try store.create(try name("Sent")) }
        #expect(throws: MailboxError.exists) { try store.create(.inbox) }
        try store.create(try name("A"))
        try store.create(try name("AB"))
        try store.rename(try name("A"), to: try name("C.D"))
        #expect(try list(store) == ["INBOX", "AB", "C - +", "C.D +", "C.D.B", "Sent"])
        #expect(throws: MailboxError.exists) { try store.rename(try name("AB"), to: try name("Sent")) }
        #expect(throws: MailboxError.notFound) { try store.rename(try name("no"), to: try name("yes")) }
        #expect(throws: MailboxError.invalidName) { try store.rename(try name("C.D"), to: try name("C.D.E")) }
        try store.delete(try name("C.D"))
        #expect(try list(store) == ["INBOX", "AB", "C - +", "C.D - +", "C.D.B", "Sent"])
        #expect(throws: MailboxError.notFound) { try store.delete(try name("C.D")) }
        #expect(throws: MailboxError.notFound) { _ = try store.open(try name("C.D"), readOnly: false) }
        #expect(throws: MailboxError.invalidName) { try store.delete(.inbox) }
        #expect(try fixture.names("tmp").isEmpty)
    }

    @Test func foldersAreRenamedTogetherOrNotAtAll() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        for text in ["A", "A.B", "A.C", "D.C"] { try store.create(try name(text)) }
        let before = try list(store)
        #expect(throws: MailboxError.exists) { try store.rename(try name("A"), to: try name("D")) }
        #expect(try list(store) == before)
    }

    @Test func renameThatFailsHalfwayIsTakenBack() throws {
        let (disk, store) = try simulated()
        for text in ["A", "A.B", "A.C"] { try store.create(try name(text)) }
        let before = try list(store)
        disk.start(FaultPlan(faults: [.init(.rename, code: EIO, times: 1, path: { $0.hasSuffix("/.A.B") })]))
        #expect(throws: (any Error).self) { try store.rename(try name("A"), to: try name("D")) }
        #expect(try list(store) == before)
    }

    /// What of it can't be removed is no folder any more.
    @Test func deletedFolderIsDeletedWhateverBecomesOfItsFiles() throws {
        let (disk, store) = try simulated()
        try store.create(try name("A"))
        _ = try store.open(try name("A"), readOnly: false).add("a\r\n")
        disk.start(FaultPlan(faults: [.init(.remove, code: EIO)]))
        try store.delete(try name("A"))
        #expect(try list(store) == ["INBOX"])
        #expect(try disk.names("mail/alice/tmp", in: nil).count == 1)
    }

    /// Also where its directory is there already, as others lie in it.
    @Test(arguments: 0..<40 as Range<UInt64>) func folderInATreeIsWholeOrNotThere(_ seed: UInt64) throws {
        var counts: Set<Int> = []
        for end in 1...40 {
            let (disk, store) = try simulated(seed: seed, format: .maildirTree)
            let delimiter = store.delimiter
            try store.create(try #require(FolderName("A/B", delimiter: delimiter)))
            try disk.syncAll(of: disk.open(".", in: nil, [.reading, .directory], mode: 0))
            disk.start(FaultPlan(endAt: end))
            try? store.create(try #require(FolderName("A", delimiter: delimiter)))
            disk.powerCut()
            let parts = try disk.names("mail/alice/A", in: nil).map { String(decoding: $0, as: UTF8.self) }
            if parts.contains("cur") { #expect(parts.contains("new") && parts.contains("tmp")) }
            counts.insert(parts.count)
        }
        #expect(counts.contains(1) && counts.contains(4))
    }

    /// Whatever a deletion that was interrupted has left of it, and nothing of that is in it.
    @Test func folderThatWasHalfDeletedCanBeMadeAgain() throws {
        var counts: [Bool: Int] = [:]
        for end in 1...40 {
            let (disk, store) = try simulated(format: .maildirTree)
            let name = try #require(FolderName("A", delimiter: store.delimiter))
            try store.create(try #require(FolderName("A/B", delimiter: store.delimiter)))
            try store.create(name)
            _ = try disk.open("mail/alice/A/new/1.m.host", in: nil, [.writing, .creating], mode: 0o600)
            _ = try disk.open("mail/alice/A/tmp/2.m.host", in: nil, [.writing, .creating], mode: 0o600)
            disk.start(FaultPlan(endAt: end))
            try? store.delete(name)
            disk.kill()
            let folders = try self.store(on: disk, .maildirTree).folders()
            let isThere = folders.contains { $0.name == name && $0.isSelectable }
            counts[isThere, default: 0] += 1
            if !isThere { try self.store(on: disk, .maildirTree).create(name) }
            let folder = try self.store(on: disk, .maildirTree).open(name, readOnly: false)
            #expect(folder.messages.count == (isThere ? 1 : 0))
        }
        #expect(counts.count == 2)
    }

    private func store(on disk: SimulatedFileSystem, _ format: MailboxFormat) throws -> any MailStore {
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let location = try #require(MailboxLocation(path: "alice", format: format))
        return try MailDirectory("mail", on: mailDisk).open(location)
    }

    private func simulated(
        seed: UInt64 = 1,
        format: MailboxFormat = .maildir
    ) throws -> (disk: SimulatedFileSystem, store: any MailStore) {
        let disk = SimulatedFileSystem(seed: seed)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        return (disk, try store(on: disk, format))
    }

    @Test func folderThatIsMadeAgainHasAnotherUIDValidity() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        var seen: Set<UInt32> = []
        for _ in 1...5 {
            try store.create(try name("A"))
            seen.insert(try store.open(try name("A"), readOnly: false).uidValidity)
            try store.delete(try name("A"))
        }
        #expect(seen.count == 5)
    }

    @Test func renamingTheInboxMovesItsMessages() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        try fixture.put("x\n", as: "1.m.host")
        try store.rename(.inbox, to: try name("Old"))
        #expect(try store.open(.inbox, readOnly: false).messages.isEmpty)
        #expect(try store.open(try name("Old"), readOnly: false).messages.count == 1)
    }

    @Test func subscriptionsAreKept() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        for text in ["A", "B.C", "A"] { try store.subscribe(try name(text)) }
        #expect(try store.subscriptions().map(\.description) == ["A", "B.C"])
        try store.unsubscribe(try name("A"))
        try store.unsubscribe(try name("never"))
        #expect(try fixture.store().subscriptions().map(\.description) == ["B.C"])
    }

    @Test func sessionLockExcludesOneOther() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store()
        var lock: SessionLock? = try store.lockSession()
        #expect(throws: MailboxError.locked) { _ = try fixture.store().lockSession() }
        // Deliveries and other sessions go on.
        try fixture.put("x\n", as: "1.m.host")
        #expect(try fixture.inbox().messages.count == 1)
        withExtendedLifetime(lock) {}
        lock = nil
        _ = try fixture.store().lockSession()
    }

    @Test func usageCountsAllFoldersAndFollowsChanges() throws {
        let fixture = try MaildirFixture()
        let store = try fixture.store(quota: 100)
        try store.create(try name("A"))
        try fixture.put("12345", as: "1.m.host,S=5,W=5")
        try fixture.put("1234567", as: "2.m.host")
        try fixture.put("123", as: "3.m.host,S=3,W=3", in: ".A/cur")
        #expect(try store.usage() == MailboxUsage(octets: 15, messages: 3))
        let inbox = try store.open(.inbox, readOnly: false)
        _ = try inbox.expunge([1])
        #expect(try store.usage() == MailboxUsage(octets: 10, messages: 2))
        let append = try inbox.append()
        try append.write(ByteBuffer(string: String(repeating: "x", count: 91)))
        #expect(throws: MailboxError.overQuota) {
            _ = try append.finish(flags: [], keywords: [], internalDate: nil)
        }
        #expect(try store.usage() == MailboxUsage(octets: 10, messages: 2))
        let huge = "100S\n" + String(repeating: "9223372036854775807 9223372036854775807\n", count: 2)
        for content in ["garbage\nx y\n", huge, "100S\n-9223372036854775808 -1\n-1 -1\n"] {
            try fixture.put(content, as: "maildirsize", in: ".")
            #expect(try store.usage() == MailboxUsage(octets: 10, messages: 2))
        }
    }

    /// Deliveries, sessions that scan, and sessions that change flags, all at once.
    @Test func nobodyLosesAMessageOrItsUID() async throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        let count = 150
        let seen = try await withThrowingTaskGroup(of: [String: UInt32].self) { group in
            for deliverer in 0..<2 {
                group.addTask {
                    for number in 0..<count {
                        let name = "\(number).d\(deliverer).host"
                        try fixture.put("\(name)\n", as: name, in: "tmp")
                        guard rename("\(fixture.root)/tmp/\(name)", "\(fixture.root)/new/\(name)") == 0 else {
                            throw MailboxError.system("rename", errno)
                        }
                    }
                    return [:]
                }
            }
            for session in 0..<3 {
                group.addTask {
                    let folder = try fixture.inbox()
                    var uids: [String: UInt32] = [:]
                    var before: Set<UInt32> = []
                    while folder.messages.count < 2 * count {
                        _ = try folder.refresh()
                        let now = Set(folder.messages.map(\.uid))
                        #expect(now.isSuperset(of: before))
                        before = now
                        let some = folder.messages.suffix(20).map(\.uid)
                        let mode = session == 1 ? FlagChange.Mode.add : .remove
                        if session > 0 { _ = try folder.store(FlagChange(mode, .seen), to: some) }
                    }
                    for message in folder.messages {
                        let reader = try folder.open(message.uid)
                        uids[String(buffer: try reader.read(at: 0, count: reader.octets))] = message.uid
                    }
                    return uids
                }
            }
            var seen: [[String: UInt32]] = []
            for try await uids in group where !uids.isEmpty { seen.append(uids) }
            return seen
        }
        #expect(seen.count == 3)
        #expect(seen.allSatisfy { $0 == seen.first })
        #expect(Set(seen[0].values) == Set(1...UInt32(2 * count)))
    }
}
