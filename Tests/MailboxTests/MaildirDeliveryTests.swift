import Files
import NIOConcurrencyHelpers
import NIOCore
import SimulatedDisk
import Testing

#if canImport(Glibc)
import Glibc
#endif

@testable import Mailbox

@Suite struct MaildirDeliveryTests {
    let test: TestMail
    let deliverer: MailDeliverer

    init() throws {
        test = try TestMail()
        deliverer = MailDeliverer(test.mail)
    }

    private func deliver(_ text: String, key: String, retry: Bool = false) throws -> MailboxError? {
        deliverer.deliver([try test.delivery(text, to: test.location("alice"), key: key, retry: retry)])[0].error
    }

    @Test func batchGoesIntoSeveralMaildirs() throws {
        let deliveries = try (0..<12).map {
            try test.delivery("A: \($0)\r\n\r\nx\r\n", to: test.location("example.test/user\($0 % 3)"), key: "k\($0)")
        }
        #expect(deliverer.deliver(deliveries).allSatisfy { $0.error == nil })
        for user in 0..<3 {
            let names = try test.names("example.test/user\(user)/new")
            #expect(names.count == 4)
            #expect(try test.names("example.test/user\(user)/tmp").isEmpty)
            for name in names {
                let text = try test.text("example.test/user\(user)/new/\(name)")
                #expect(text.hasPrefix("Return-Path: <bob@example.test>\nA: ") && text.hasSuffix("\n\nx\n"))
                #expect(MaildirFileName.size(UInt8(ascii: "S"), in: Array(name.utf8)) == text.utf8.count)
                #expect(MaildirFileName.size(UInt8(ascii: "W"), in: Array(name.utf8)) == text.utf8.count + 4)
            }
        }
    }

    @Test func repeatedDeliveryIsFoundInNewAndInCur() throws {
        #expect(try deliver("a\r\n", key: "k1") == nil)
        #expect(try deliver("a\r\n", key: "k1", retry: true) == nil)
        #expect(try test.names("alice/new").count == 1)
        let folder = try test.maildir().open(.inbox)
        _ = try folder.store(FlagChange(.add, .seen), to: folder.uids)
        #expect(try deliver("a\r\n", key: "k1", retry: true) == nil)
        #expect(try test.names("alice/new").isEmpty)
        #expect(try test.names("alice/cur").count == 1)
        // Another key that begins alike is another message.
        #expect(try deliver("a\r\n", key: "k12", retry: true) == nil)
        #expect(try test.names("alice/new").count == 1)
    }

    /// Octets that, while they are read, have something done to the mailbox.
    private struct MeddlingSource: DeliverySource {
        var text = ByteBuffer(string: "Subject: x\r\n\r\nx\r\n")
        let meddle: @Sendable () throws -> Void

        var octets: Int { text.readableBytes }

        func read(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError) {
            do { try meddle() } catch { throw .corrupt("\(error)") }
            try consume(text)
        }
    }

    /// What goes into directories that were removed or moved meanwhile is not delivered.
    @Test func folderThatGoesDuringADeliveryTakesNoMailWithIt() throws {
        let maildir = try test.maildir()
        let folder = try #require(FolderName("lists"))
        for isDeleted in [true, false] {
            if isDeleted { try maildir.create(folder) }
            let path = test.path
            let delivery = Delivery(
                to: try test.location("alice"),
                folder: folder,
                key: "k\(isDeleted)",
                arrived: 1_795_447_200,
                sender: "",
                prefix: [],
                source: MeddlingSource {
                    if isDeleted {
                        try maildir.delete(folder)
                    } else {
                        try #require(rename("\(path)/alice", "\(path)/moved") == 0)
                    }
                },
                mayBeKnown: false
            )
            let error = deliverer.deliver([delivery])[0].error
            #expect(error != nil)
            #expect(try deliver("again\r\n", key: "k\(isDeleted)", retry: true) == nil)
            #expect(try test.names("alice/new").count == 1)
        }
    }

    /// The file has its name, but nobody knows whether a power failure would take it away again.
    @Test func failedSyncOfADirectoryLeavesItUncertainAndNothingIsThereTwice() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let deliverer = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        func deliver(key: String, retry: Bool) throws -> MailboxError? {
            let delivery = try test.delivery("a\r\n", to: test.location("alice"), key: key, retry: retry)
            return deliverer.deliver([delivery])[0].error
        }
        #expect(try deliver(key: "k0", retry: false) == nil)
        disk.start(FaultPlan(faults: [.init(.sync, code: EIO, times: 2, path: { $0.hasSuffix("/new") })]))
        #expect(try deliver(key: "k1", retry: false)?.isUncertain == true)
        #expect(try deliver(key: "k1", retry: true) != nil)
        #expect(try deliver(key: "k1", retry: true) == nil)
        #expect(try disk.names("mail/alice/new", in: nil).count == 2)
    }

    /// Nobody knows any more where the first attempt went.
    @Test func messageIsFoundInTheInboxWhenItsFolderCameLater() throws {
        let place = try test.location("alice")
        func deliver(retry: Bool) throws -> MailboxError? {
            let delivery = try test.delivery("a\r\n", to: place, folder: "lists", key: "k1", retry: retry)
            return deliverer.deliver([delivery])[0].error
        }
        #expect(try deliver(retry: false) == nil)
        try test.maildir().create(try #require(FolderName("lists")))
        #expect(try deliver(retry: true) == nil)
        #expect(try test.names("alice/new").count == 1)
        #expect(try test.names("alice/.lists/new").isEmpty)
        #expect(try deliver(retry: false) == nil)
        #expect(try test.names("alice/.lists/new").count == 1)
    }

    @Test func leftoversInTmpDoNotHinder() throws {
        _ = try test.maildir()
        try test.write("half a mess", to: "alice/tmp/1795447200.Qk1.\(MaildirFileName.hostName)")
        #expect(try deliver("whole\r\n", key: "k1", retry: true) == nil)
        let placed = try test.names("alice/new")
        #expect(placed.count == 1)
        #expect(try test.text("alice/new/\(placed.first ?? "")").hasSuffix("whole\n"))
    }

    @Test func shortSourceFailsAndLeavesNothing() throws {
        let place = try test.location("alice")
        let results = deliverer.deliver([
            try test.delivery("good\r\n", to: place, key: "k1"),
            try test.delivery("short\r\n", to: place, key: "k2", claimed: 100),
        ])
        #expect(results.map(\.error) == [nil, .corrupt("the message is incomplete")])
        #expect(try test.names("alice/new").count == 1)
        #expect(try test.names("alice/tmp").isEmpty)
    }

    @Test func sameKeyTwiceInABatchWaits() throws {
        let place = try test.location("alice")
        let results = deliverer.deliver([
            try test.delivery("a\r\n", to: place, key: "k"), try test.delivery("a\r\n", to: place, key: "k"),
        ])
        #expect(results.map(\.error) == [nil, .busy])
        #expect(try deliver("a\r\n", key: "k", retry: true) == nil)
        #expect(try test.names("alice/new").count == 1)
    }

    @Test func fullMailboxTakesNothingUntilExpunge() throws {
        let place = try test.location("alice", quota: 200)
        let text = String(repeating: "x", count: 98) + "\r\n"
        for (key, error) in [("k1", nil), ("k2", .overQuota)] as [(String, MailboxError?)] {
            #expect(deliverer.deliver([try test.delivery(text, to: place, key: key)])[0].error == error)
        }
        #expect(try test.names("alice/tmp").filter { !$0.hasSuffix(".size") }.isEmpty)
        let folder = try test.maildir(quota: 200).open(.inbox)
        #expect(folder.messages.count == 1)
        #expect(try folder.expunge(folder.uids).count == 1)
        #expect(deliverer.deliver([try test.delivery(text, to: place, key: "k9")])[0].error == nil)
    }

    /// More mail than fits, all of it at once.
    @Test func oneBatchFillsAMailboxAndNoMore() throws {
        let place = try test.location("alice", quota: 1 << 20)
        let text = String(repeating: String(repeating: "x", count: 998) + "\r\n", count: 60)
        let results = deliverer.deliver(
            try (0..<200).map { try test.delivery(text, to: place, key: "k\($0)") }
        )
        #expect(results.prefix(17).allSatisfy { $0.error == nil })
        #expect(results.dropFirst(17).allSatisfy { $0.error == .overQuota })
        #expect(try test.names("alice/new").count == 17)
    }

    /// While one message still arrives in pieces, another one comes that fits, but not beside it.
    @Test func batchesOfSeveralThreadsCountEachOther() throws {
        let place = try test.location("alice", quota: 1000)
        let deliverer = deliverer
        let text = String(repeating: "x", count: 598) + "\r\n"
        let second = try test.delivery(text, to: place, key: "second")
        let source = MeddlingSource(text: ByteBuffer(string: text)) {
            #expect(deliverer.deliver([second])[0].error == .overQuota)
        }
        let first = Delivery(
            to: place,
            key: "first",
            arrived: 1_795_447_200,
            sender: "",
            prefix: [],
            source: source,
            mayBeKnown: false
        )
        #expect(deliverer.deliver([first])[0].error == nil)
        #expect(try test.names("alice/new").count == 1)
        // What it claimed is free again once it's gone.
        let folder = try test.maildir(quota: 1000).open(.inbox)
        #expect(try folder.expunge(folder.uids).count == 1)
        #expect(deliverer.deliver([second])[0].error == nil)
    }

    /// After a restart each request says that its message may be there: the directories are not read for each of them.
    @Test func retriesReadDirectoriesOnceABatch() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_010_000_000 }, uptime: { 0 })
        let listings = NIOLockedValueBox(0)
        let counting = FaultPlan.Fault(.names, code: EIO) { path in
            if path.hasSuffix("new") || path.hasSuffix("cur") { listings.withLockedValue { $0 += 1 } }
            return false
        }
        func deliver(_ numbers: Range<Int>, by deliverer: MailDeliverer, retry: Bool = true) throws -> Int {
            let deliveries = try numbers.map {
                try test.delivery("\($0)\r\n", to: test.location("alice"), key: "7.\($0)", retry: retry)
            }
            listings.withLockedValue { $0 = 0 }
            #expect(deliverer.deliver(deliveries).allSatisfy { $0.error == nil })
            return listings.withLockedValue { $0 }
        }
        func count() throws -> Int {
            try ["new", "cur"].reduce(0) { try $0 + disk.names("mail/alice/\($1)", in: nil).count }
        }
        _ = try deliver(0..<50, by: MailDeliverer(try MailDirectory("mail", on: mailDisk)), retry: false)
        disk.start(FaultPlan(faults: [counting]))
        let deliverer = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        // The first batch has some that are there and some that aren't.
        #expect(try deliver(40..<60, by: deliverer) == 2)
        #expect(try count() == 60)
        for start in stride(from: 60, to: 200, by: 20) {
            #expect(try deliver(start..<start + 20, by: deliverer) == 0)
        }
        #expect(try count() == 200)
        // Of a batch of messages that are there, whoever has delivered them.
        #expect(try deliver(0..<20, by: deliverer) == 2)
        #expect(try deliver(180..<200, by: deliverer) == 2)
        #expect(try count() == 200)
        // What a user has removed is delivered once more.
        let name = try #require(try disk.names("mail/alice/new", in: nil).first)
        try disk.remove("mail/alice/new/\(String(decoding: name, as: UTF8.self))", in: nil)
        #expect(try deliver(0..<200, by: deliverer) == 2)
        #expect(try count() == 200)
    }

    /// What was left open by a failure is looked for again.
    @Test func whatIsUncertainIsReadAgain() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let deliverer = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        func deliver(_ key: String) throws -> MailboxError? {
            deliverer.deliver([try test.delivery("a\r\n", to: test.location("alice"), key: key, retry: true)])[0].error
        }
        #expect(try deliver("k1") == nil)
        for (number, operation) in [SimulatedOperation.sync, .rename].enumerated() {
            disk.start(FaultPlan(faults: [.init(operation, code: EIO, times: 1)]))
            #expect(try deliver("k2\(number)")?.isUncertain == true)
            #expect(try deliver("k2\(number)") == nil)
        }
        #expect(try disk.names("mail/alice/new", in: nil).count == 3)
    }

    @Test func maildirThatWasMovedAwayIsMadeAgain() throws {
        #expect(try deliver("a\r\n", key: "k1") == nil)
        try test.mail.directory.rename("alice", to: "old")
        #expect(try deliver("b\r\n", key: "k2") == nil)
        #expect(try test.names("alice/new").count == 1)
        try test.mail.directory.removeTree("alice")
        #expect(try deliver("c\r\n", key: "k3") == nil)
        #expect(try test.names("alice/new").count == 1)
        #expect(try test.names("old/new").count == 1)
        // One of its directories alone.
        try test.mail.directory.rename("alice/new", to: "alice/aside")
        try test.mail.directory.makeDirectory("alice/new")
        #expect(try deliver("d\r\n", key: "k4") == nil)
        #expect(try test.names("alice/new").count == 1)
        try test.mail.directory.removeTree("alice/tmp")
        #expect(try deliver("e\r\n", key: "k5") == nil)
        #expect(try test.names("alice/new").count == 2)
    }

    /// Two deliveries for which there is room: while one's files get their names, the other looks whether it fits.
    @Test func messagesThatArriveAreCountedOnce() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let deliverer = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        let place = try test.location("alice", quota: 2000)
        let text = String(repeating: "x", count: 498) + "\r\n"
        let batch = try ["k1", "k2"].map { try test.delivery(text, to: place, key: $0) }
        let third = try test.delivery(text, to: place, key: "k3")
        let isDone = ConditionLock(value: false)
        let other = NIOLockedValueBox<Task<MailboxError?, Never>?>(nil)
        disk.renamed.withLockedValue {
            $0 = { path in
                guard path.contains(".Qk1.") else { return }
                // So that all is counted anew.
                try? disk.remove("mail/alice/maildirsize", in: nil)
                let task = Task.detached {
                    let error = deliverer.deliver([third])[0].error
                    isDone.lock()
                    isDone.unlock(withValue: true)
                    return error
                }
                other.withLockedValue { $0 = task }
                // Where it has to wait for what arrives, that goes on.
                if isDone.lock(whenValue: true, timeoutSeconds: 0.2) { isDone.unlock() }
            }
        }
        #expect(deliverer.deliver(batch).allSatisfy { $0.error == nil })
        let task = try #require(other.withLockedValue { $0 })
        #expect(await task.value == nil)
        #expect(try MailDirectory("mail", on: mailDisk).open(place).usage().messages == 3)
    }

    /// A session renames a file while the directory is read, which may miss it then.
    @Test(arguments: [1, 2]) func retriesFindWhatIsRenamedMeanwhile(_ times: Int) throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let mail = try MailDirectory("mail", on: mailDisk)
        let place = try test.location("alice")
        #expect(MailDeliverer(mail).deliver([try test.delivery("x\r\n", to: place, key: "k1")])[0].error == nil)
        // Moves it to cur.
        #expect(try mail.open(place).open(.inbox, readOnly: false).messages.count == 1)
        let cur = try mail.directory.open("alice/cur", [.reading, .directory])
        let left = NIOLockedValueBox(times)
        disk.listed.withLockedValue {
            $0 = { path, names in
                guard path == "cur" else { return names }
                return left.withLockedValue { left in
                    left -= 1
                    guard left >= 0 else { return names }
                    // Once alone it was in the same tick of the clock as what was before.
                    if times > 1 { try? cur.setModified(1_800_000_000 - left) }
                    return []
                }
            }
        }
        let again = try test.delivery("x\r\n", to: place, key: "k1", retry: true)
        #expect(MailDeliverer(mail).deliver([again])[0].error == nil)
        disk.listed.withLockedValue { $0 = { $1 } }
        #expect(try mail.open(place).usage().messages == 1)
    }

    /// Where nobody has changed anything lately, once is enough.
    @Test func quietDirectoriesAreReadOnce() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_010_000_000 }, uptime: { 0 })
        let deliverer = MailDeliverer(try MailDirectory("mail", on: mailDisk))
        let times = NIOLockedValueBox(0)
        disk.listed.withLockedValue {
            $0 = { path, names in
                if path == "cur" { times.withLockedValue { $0 += 1 } }
                return names
            }
        }
        let delivery = try test.delivery("x\r\n", to: test.location("alice"), key: "k1", retry: true)
        #expect(deliverer.deliver([delivery])[0].error == nil)
        #expect(times.withLockedValue { $0 } == 1)
    }
}

extension MailboxError {
    fileprivate var isUncertain: Bool {
        if case .uncertain = self { true } else { false }
    }
}
