import Files
import NIOConcurrencyHelpers
import NIOCore
import SimulatedDisk
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

@Suite struct MboxTests {
    let test: TestMail
    let deliverer: MailDeliverer
    let place: MailboxLocation

    init() throws {
        test = try TestMail()
        deliverer = MailDeliverer(test.mail)
        place = try test.location("alice", .mbox)
    }

    private func deliver(_ text: String, key: String, retry: Bool = false, claimed: Int? = nil) throws -> MailboxError?
    {
        deliverer.deliver([try test.delivery(text, to: place, key: key, retry: retry, claimed: claimed)])[0].error
    }

    /// As a process leaves it that is killed while it adds a message: the journal, and a part of the message.
    private func tear(_ part: String, key: String) throws {
        let file = try test.mail.directory.open("alice", [.reading, .writing, .appending])
        let start = Array("\(part.hasPrefix("\n") ? "\n" : "")\(Self.start(key))".utf8)
        try MboxJournal("alice", in: test.mail.directory).begin(file, at: file.status().size, key: key, start: start)
        try file.write(Array(part.utf8))
    }

    private static func start(_ key: String) -> String { "From b Mon Nov 23 15:40:35 2026\nX-Delivery-Id: \(key)\n" }

    /// A message that another program adds.
    private static let other = "From c@example.net Tue Nov 24 16:00:00 2026\nSubject: other\n\nother\n\n"

    private func append(_ text: String) throws {
        try test.mail.directory.open("alice", [.writing, .appending, .creating]).write(Array(text.utf8))
    }

    @Test func fromLinesComeBackAsTheyWere() throws {
        let body = "From me\r\n>From you\r\n>>From all\r\n> From\r\nFromage\r\n\r\nFrom the end"
        #expect(try deliver("Subject: x\r\n\r\n\(body)", key: "k1") == nil)
        #expect(try deliver("Subject: y\r\n\r\nsecond\r\n", key: "k2") == nil)
        let folder = try test.mail.open(place).open(.inbox, readOnly: false)
        #expect(folder.uids == [1, 2])
        #expect(try folder.text(1).hasSuffix("Subject: x\r\n\r\n\(body)\r\n"))
        #expect(try folder.text(2).hasSuffix("Subject: y\r\n\r\nsecond\r\n"))
    }

    @Test(arguments: [
        "F", "From b Mon Nov 23 15:40:35 2026\n", "From b Mon Nov 23 15:40:35 2026\nX-Deliv",
        "\nFrom b Mon Nov 23 15:40:35 2026\nX-De", "\(start("k2"))A: b\n\n",
        "\(start("k2"))\nFrom: me\nFrom me\n>From you\n\n",
        "\0\0\0\0", "From b \0\0\0\0\0\0\0\0", "\(start("k2"))\0\0\0torn",
        "\(start("k2"))\nIt came From me on Mon at 10:30\nFrom Mon Nov",
    ])
    func tornAppendIsTakenBack(_ part: String) throws {
        #expect(try deliver("Subject: 1\r\n\r\none\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        try tear(part, key: "k2")
        #expect(try deliver("Subject: 2\r\n\r\ntwo\r\n", key: "k2", retry: true) == nil)
        let after = try test.text("alice")
        #expect(after.hasPrefix(before + "From bob@example.test "))
        #expect(after.hasSuffix("Subject: 2\n\ntwo\n\n"))
        #expect(!test.exists("alice.martlet-append"))
        #expect(try test.mail.open(place).usage().messages == 2)
    }

    @Test func sessionTakesTornAppendBack() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        try tear("\(Self.start("k2"))Subj", key: "k2")
        #expect(try test.mail.open(place).usage().messages == 1)
        #expect(!test.exists("alice.martlet-append"))
    }

    /// A program that doesn't know of the journal adds a message where ours broke off: as its own, behind an empty line or in
    /// the middle of our last line.
    @Test(arguments: [
        "", "F", "From b Mon N", "\(start("k2"))", "\(start("k2"))\ntorn\n\n", "\(start("k2"))\ntorn\n",
        "\(start("k2"))\nto",
        "\(start("k2"))\nFrom", "\0\0\0\0", "\0\0\0\0\n\n", "From b Mon Nov 23 15:40:35 2026\n\0\0\0\0\0\0",
        "From b \0\0\n",
    ])
    func othersMailBehindATornAppendStays(_ torn: String) throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        try tear(torn, key: "k2")
        try append(Self.other)
        #expect(try deliver("\r\nwhole\r\n", key: "k2", retry: true) == nil)
        let text = try test.text("alice")
        #expect(text.hasPrefix(before))
        #expect(text.contains(Self.other))
        #expect(text.components(ofKey: "k2") == 1)
        #expect(text.hasSuffix("\nwhole\n\n"))
        #expect(!test.exists("alice.martlet-append"))
    }

    @Test(arguments: [
        "\(start("k2"))\nto", "\(start("k2"))\ntorn\n", "\0\0\0\0\0\0", "F", "From b Mon N", "\nFrom b\n", "\0\0\n\n",
        String(repeating: "\0", count: 200),
    ])
    func othersMailIsSeenBehindATornAppend(_ torn: String) throws {
        try append("From a@example.net Mon Nov 23 10:00:00 2026\nSubject: first\n\nfirst\n\n")
        try tear(torn, key: "k2")
        try append(Self.other)
        let folder = try test.mail.open(place).open(.inbox, readOnly: false)
        let last = try #require(folder.uids.last)
        #expect(try folder.text(last) == "Subject: other\r\n\r\nother\r\n")
        let first = try folder.text(1)
        #expect(first.hasPrefix("Subject: first\r\n\r\nfirst\r\n") && !first.utf8.contains(0))
        // And what is left of ours where it's more than the first lines.
        #expect(folder.uids.count == (torn.utf8.count >= Self.start("k2").utf8.count ? 3 : 2))
    }

    /// Another program has put a new file into the mbox's place, with a part of a message of ours.
    @Test func tornMessageInAnMboxWrittenAnewIsNotTakenForDelivered() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        try tear("\(Self.start("k2"))\ntorn", key: "k2")
        let text = try test.text("alice")
        try test.write(Self.other + text, to: "new")
        try test.mail.directory.rename("new", to: "alice")
        #expect(try deliver("\r\nwhole\r\n", key: "k2", retry: true) == nil)
        let after = try test.text("alice")
        #expect(after.hasPrefix(Self.other) && after.hasSuffix("\nwhole\n\n"))
    }

    /// As an older version wrote it, without the message's first lines.
    @Test func olderJournalKeepsAllButTheKey() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        try tear("\(Self.start("k2"))\ntorn\n\n", key: "k2")
        let inode = try test.mail.directory.status("alice").inode
        try test.write("\(before.utf8.count) \(inode) k2\n", to: "alice.martlet-append")
        #expect(try deliver("\r\nwhole\r\n", key: "k2", retry: true) == nil)
        let after = try test.text("alice")
        #expect(after.hasPrefix(before) && after.components(ofKey: "k2") == 1 && after.hasSuffix("\nwhole\n\n"))
    }

    @Test(arguments: ["0 1 k9\n", "nonsense", ""]) func strangeJournalIsNotBelieved(_ journal: String) throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        try test.write(journal, to: "alice.martlet-append")
        #expect(try deliver("two\r\n", key: "k2") == nil)
        #expect(try test.text("alice").hasPrefix(before))
    }

    @Test func repeatedDeliveryIsFound() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        #expect(try deliver("one\r\n", key: "k1", retry: true) == nil)
        #expect(try test.mail.open(place).usage().messages == 1)
    }

    /// A message that quotes another one with its header, or whose sender knows what we look for.
    @Test(arguments: [
        "A: b\r\nX-Delivery-Id: k2\r\n\r\nX-Delivery-Id: k2\r\n\r\nX-Delivery-Id: k2\r\n",
        "\r\n\r\nFrom me\r\nX-Delivery-Id: k2\r\n", "\r\nFrom me\r\nX-Delivery-Id: k2\r\n",
    ])
    func keysInMessagesAreNobodys(_ text: String) throws {
        #expect(try deliver(text, key: "k1") == nil)
        let before = try test.text("alice")
        #expect(try deliver("two\r\n", key: "k2", retry: true) == nil)
        let after = try test.text("alice")
        #expect(after.hasPrefix(before) && after.hasSuffix("\ntwo\n\n"))
        // Nor does it lose its text where the real one is to be forgotten.
        try tear("\(Self.start("k3"))torn\n", key: "k3")
        try test.write("0 1 k2\n", to: "alice.martlet-append")
        #expect(try test.mail.open(place).usage().messages == 3)
        #expect(try test.text("alice").hasPrefix(before))
        #expect(try test.text("alice").contains("X-Delivery-Id: --\n"))
    }

    /// However long the mbox takes to read.
    @Test func lockIsRefreshedWhileTheMboxIsRead() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let now = NIOLockedValueBox<Int64>(1_800_000_000)
        let mailDisk = MailboxDisk(
            disk,
            process: 1,
            microseconds: {
                now.withLockedValue { now in
                    now += 61
                    return now * 1_000_000
                }
            },
            uptime: { 0 }
        )
        let times = NIOLockedValueBox(0)
        let counting = FaultPlan.Fault(.setModified, code: EIO) { _ in
            times.withLockedValue { $0 += 1 }
            return false
        }
        let mail = try MailDirectory("mail", on: mailDisk)
        let file = try disk.open("mail/alice", in: nil, [.writing, .creating], mode: 0o600)
        let line = String(repeating: "x", count: 1023) + "\n"
        try disk.write(ByteBuffer(string: Self.other + String(repeating: line, count: 64 * 8) + "\n"), to: file)
        for _ in 0..<2 {
            disk.start(FaultPlan(faults: [counting]))
            times.withLockedValue { $0 = 0 }
            let small = try test.delivery("x\r\n", to: place, key: "k2", retry: true)
            #expect(MailDeliverer(mail).deliver([small])[0].error == nil)
            #expect(times.withLockedValue { $0 } >= 8)
        }
        disk.start(FaultPlan(faults: [counting]))
        times.withLockedValue { $0 = 0 }
        #expect(try mail.open(place).usage().messages == 2)
        #expect(times.withLockedValue { $0 } >= 8)
    }

    @Test func shortSourceLeavesTheMboxAsItWas() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        #expect(try deliver("two\r\n", key: "k2", claimed: 1000) != nil)
        #expect(try test.text("alice") == before)
        #expect(!test.exists("alice.martlet-append"))
    }

    @Test func quotaIsKept() throws {
        let small = try test.location("alice", .mbox, quota: 10)
        #expect(deliverer.deliver([try test.delivery("12345678901\r\n", to: small, key: "k")])[0].error == .overQuota)
    }

    @Test func threadsDeliverAtOnce() async throws {
        let deliveries = try (0..<10).map { try test.delivery("A: \($0)\r\n\r\nx\r\n", to: place, key: "k\($0)") }
        let deliverer = deliverer
        await withTaskGroup(of: Void.self) { group in
            for part in [deliveries.prefix(5), deliveries.suffix(5)] {
                group.addTask {
                    var left = Array(part)
                    while !left.isEmpty {
                        let results = deliverer.deliver(left)
                        #expect(results.allSatisfy { $0.error == nil || $0.error == .busy })
                        left = zip(left, results).filter { $0.1.error == .busy }.map(\.0)
                    }
                }
            }
        }
        let folder = try test.mail.open(place).open(.inbox, readOnly: false)
        #expect(folder.messages.count == 10)
        let texts = try folder.uids.map { try folder.text($0) }
        for index in 0..<10 { #expect(texts.contains { $0.hasSuffix("A: \(index)\r\n\r\nx\r\n") }) }
        #expect(!test.exists("alice.lock"))
    }

    /// Nobody waits on a thread: who called tries again.
    @Test func mboxThatSomebodyHasIsBusy() throws {
        let lock = try MboxLock.acquire("alice", in: test.mail.directory)
        #expect(try deliver("one\r\n", key: "k1") == .busy)
        #expect(throws: MailboxError.busy) { try test.mail.open(place).open(.inbox, readOnly: true) }
        withExtendedLifetime(lock) {}
    }

    private func setAge(ofLock seconds: Int) throws {
        let file = try test.mail.directory.open("alice.lock", [.writing])
        try file.setModified(time(nil) - seconds)
    }

    @Test func lockOfADeadProgramIsRemoved() throws {
        for text in ["\(getpid())\n", "\(getpid()):\(MaildirFileName.hostName)\n", "4194303\n"] {
            try test.write(text, to: "alice.lock")
            #expect(try deliver("one\r\n", key: "k1") == nil)
            #expect(!test.exists("alice.lock"))
        }
    }

    /// However old its lock file is.
    @Test func lockOfALiveProgramStays() throws {
        let program = getppid()
        for text in ["\(program)\n", "\(program):\(MaildirFileName.hostName)\n"] {
            try test.write(text, to: "alice.lock")
            for age in [0, 301] {
                try setAge(ofLock: age)
                #expect(try deliver("two\r\n", key: "k2") == .busy)
            }
            #expect(test.exists("alice.lock"))
        }
        // Of before the machine was started: that program is another.
        try setAge(ofLock: 100 * 365 * 86400)
        #expect(try deliver("two\r\n", key: "k2") == nil)
    }

    /// Its process can't be asked after: only its age counts.
    @Test(arguments: ["4194303:elsewhere.example.test\n", "\n", "mutt\n"])
    func lockOfWhoKnowsWhomIsStaleInTime(_ text: String) throws {
        try test.write(text, to: "alice.lock")
        try setAge(ofLock: 290)
        #expect(try deliver("one\r\n", key: "k1") == .busy)
        try setAge(ofLock: 310)
        #expect(try deliver("one\r\n", key: "k1") == nil)
    }

    @Test func lockOfSomebodyElseOutlivesOurs() throws {
        do {
            let lock = try MboxLock.acquire("alice", in: test.mail.directory)
            #expect(lock.isHeld)
            try test.mail.directory.remove("alice.lock")
            try test.write("1\n", to: "alice.lock")
            #expect(!lock.isHeld)
        }
        #expect(try test.text("alice.lock") == "1\n")
    }

    /// Programs that judge by its age see that it's held.
    @Test func lockIsRefreshedWhileItIsHeld() throws {
        let now = NIOLockedValueBox<Int64>(1_800_000_000)
        let disk = MailboxDisk(
            KernelFileSystem(),
            process: 1,
            microseconds: { now.withLockedValue { $0 } * 1_000_000 },
            uptime: { 0 }
        )
        let directory = try DirectoryAccess(test.path, on: disk)
        let lock = try MboxLock.acquire("alice", in: directory)
        try setAge(ofLock: 1000)
        let old = try directory.status("alice.lock").modified
        lock.refresh()
        #expect(try directory.status("alice.lock").modified == old)
        now.withLockedValue { $0 += 60 }
        lock.refresh()
        #expect(try directory.status("alice.lock").modified == 1_800_000_060)
    }

    /// Another program has made the mbox and its directory, and has synced its message but not their names.
    @Test(arguments: 0..<20 as Range<UInt64>) func directoriesThatOthersMadeAreSynced(_ seed: UInt64) throws {
        let disk = SimulatedFileSystem(seed: seed)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let root = try disk.open(".", in: nil, [.reading, .directory], mode: 0)
        try disk.syncAll(of: root)
        try disk.makeDirectory("mail/boxes", in: nil, mode: 0o700)
        let file = try disk.open("mail/boxes/erin", in: nil, [.writing, .creating], mode: 0o600)
        try disk.write(ByteBuffer(string: Self.other), to: file)
        try disk.sync(file)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let deliverer = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        for key in ["k1", "k2"] {
            let delivery = try test.delivery("a\r\n", to: test.location("boxes/erin", .mbox), key: key)
            #expect(deliverer.deliver([delivery])[0].error == nil)
        }
        disk.powerCut()
        let text = String(buffer: try disk.contents(of: "mail/boxes/erin", in: nil, maximum: 10_000))
        #expect(text.hasPrefix(Self.other) && text.components(ofKey: "k1") == 1 && text.components(ofKey: "k2") == 1)
    }

    /// After a restart each request says that its message may be there: the file is not read for each of them.
    @Test func retriesReadTheFileOnce() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let reads = NIOLockedValueBox(0)
        let counting = FaultPlan.Fault(.read, code: EIO) { _ in
            reads.withLockedValue { $0 += 1 }
            return false
        }
        func deliver(_ key: String, by deliverer: MailDeliverer, octets: Int = 2) throws -> Int {
            let text = String(repeating: "x", count: octets) + "\r\n"
            reads.withLockedValue { $0 = 0 }
            #expect(deliverer.deliver([try test.delivery(text, to: place, key: key, retry: true)])[0].error == nil)
            return reads.withLockedValue { $0 }
        }
        let first = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        for number in 0..<20 { _ = try deliver("k\(number)", by: first, octets: 64 * 1024) }
        disk.start(FaultPlan(faults: [counting]))
        let deliverer = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        #expect(try deliver("new", by: deliverer) >= 20)
        for number in 0..<20 { #expect(try deliver("new\(number)", by: deliverer) < 10) }
        let size = try disk.status("mail/alice", in: nil, followingLinks: true).size
        // What is there is found, whoever has delivered it.
        for key in ["k0", "k19", "new", "new19"] { _ = try deliver(key, by: deliverer) }
        #expect(try disk.status("mail/alice", in: nil, followingLinks: true).size == size)
    }

    /// What a failed sync leaves can be read by the next process, and may be gone after a power failure.
    @Test(arguments: 0..<20 as Range<UInt64>, [false, true])
    func uidsThatWereSeenOutliveAFailedSync(_ seed: UInt64, isOfTheDirectory: Bool) throws {
        let disk = SimulatedFileSystem(seed: seed)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let root = try disk.open(".", in: nil, [.reading, .directory], mode: 0)
        func put(_ text: String) throws {
            let file = try disk.open("mail/alice", in: nil, [.writing, .creating, .truncating], mode: 0o600)
            try disk.write(ByteBuffer(string: text), to: file)
            try disk.sync(file)
        }
        /// As another process opens it.
        func open(at seconds: Int64 = 1_800_000_000) throws -> any MailFolder {
            let mailDisk = MailboxDisk(disk, process: 1, microseconds: { seconds * 1_000_000 }, uptime: { 0 })
            return try MailDirectory("mail", on: mailDisk).open(place).open(.inbox, readOnly: false)
        }
        try put("From a@example.net Mon Nov 23 10:00:00 2026\nSubject: first\n\nfirst\n\n")
        try disk.syncAll(of: root)
        let fault = FaultPlan.Fault(isOfTheDirectory ? .sync : .syncData, code: EIO, times: 1) { path in
            path == "mail" || path.hasSuffix(".martlet-uidlist")
        }
        disk.start(FaultPlan(faults: [fault]))
        #expect(throws: MailboxError.self) { try open() }
        let seen = try open()
        #expect(seen.uids == [1])
        try put(Self.other)
        disk.powerCut()
        // A lock file without its content is stale by then.
        let after = try open(at: 1_800_001_000)
        #expect(after.uids == [2] && after.uidValidity == seen.uidValidity)
    }

    /// The end of the last line may be lost, as it's synced with what comes behind it.
    @Test(arguments: ["", "\0", "\0\0\0"]) func uidListMayLackItsEnd(_ end: String) throws {
        try append(Self.other)
        try append(Self.other.replacing("other", with: "second"))
        let store = try test.mail.open(place)
        let validity = try store.open(.inbox, readOnly: false).uidValidity
        let list = try test.text("alice.martlet-uidlist")
        #expect(list.hasSuffix("\n"))
        // The second message and, of a list that was written anew, the header have only been seen with what stands there.
        for text in [list, String(list.prefix { $0 != "\n" } + "\n")] {
            try test.write(text.dropLast() + end, to: "alice.martlet-uidlist")
            let folder = try test.mail.open(place).open(.inbox, readOnly: false)
            #expect(folder.uids == [1, 2] && folder.uidValidity == validity)
            #expect(try test.text("alice.martlet-uidlist") == (text == list ? list.replacing("N1", with: "N3") : list))
        }
        // A part of a line takes nobody's place.
        let lines = list.split(separator: "\n")
        try test.write("\(lines[0])\n\(lines[1])\n3 \(lines[1].dropFirst(2))\(end)", to: "alice.martlet-uidlist")
        #expect(try test.mail.open(place).open(.inbox, readOnly: false).uids == [1, 2])
    }

    @Test func uidsOutliveExpunge() throws {
        for index in 1...3 { #expect(try deliver("Subject: \(index)\r\n\r\nx\r\n", key: "k\(index)") == nil) }
        let store = try test.mail.open(place)
        let folder = try store.open(.inbox, readOnly: false)
        _ = try folder.store(FlagChange(.add, .flagged), to: [3])
        #expect(try folder.expunge([2]) == [2])
        let again = try store.open(.inbox, readOnly: false)
        #expect(again.uids == [1, 3] && again.uidValidity == folder.uidValidity)
        #expect(again.message(3)?.flags == .flagged)
        #expect(try again.text(3).contains("Subject: 3\r\n"))
    }
}

extension String {
    /// How many messages in an mbox have a key.
    fileprivate func components(ofKey key: String) -> Int {
        split(separator: "\n").count { $0 == "X-Delivery-Id: \(key)" }
    }
}
