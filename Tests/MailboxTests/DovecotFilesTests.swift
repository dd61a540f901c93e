import Files
import NIOConcurrencyHelpers
import NIOCore
import SimulatedDisk
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// The files that Dovecot 2.3 keeps in a Maildir, as it writes them (taken from one that ran).
@Suite struct DovecotFilesTests {
    private static let list = """
        3 V1795979583 N9 G01ddb1123f790c6ba875000083ecc375
        1 :1795979583.M312138P30120.vm,S=27,W=31
        2 Pmine W4000 Xkept :1795979583.M331786P30120.vm
        4 :1795979583.M411359P30120.vm,S=27,W=31

        """

    private func fixture(_ list: String? = Self.list) throws -> MaildirFixture {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        if let list { try fixture.put(list, as: MaildirUIDList.path, in: ".") }
        try fixture.put("A: b\n\nbody\n", as: "1795979583.M312138P30120.vm,S=27,W=31:2,ab", in: "cur")
        try fixture.put("A: b\n\nbody\n", as: "1795979583.M331786P30120.vm:2,Sab", in: "cur")
        try fixture.put("A: b\n\nbody\n", as: "1795979583.M411359P30120.vm,S=27,W=31", in: "new")
        return fixture
    }

    private func text(_ fixture: MaildirFixture, _ name: String) throws -> String {
        let octets = try DirectoryAccess(fixture.root).contents(name, maximum: 1 << 20)
        return String(decoding: try #require(octets), as: UTF8.self)
    }

    @Test func listOfDovecotIsReadAndAddedTo() throws {
        let fixture = try fixture()
        try fixture.put("0 $Junk\n1 hello\n", as: "dovecot-keywords", in: ".")
        let inbox = try fixture.inbox()
        #expect(inbox.uidValidity == 1_795_979_583)
        #expect(inbox.uidNext == 9)
        #expect(inbox.uids == [1, 2, 4])
        #expect(inbox.messages.map(\.isRecent) == [false, false, true])
        #expect(inbox.keywords == ["$Junk", "hello"])
        #expect(inbox.messages.map(\.flags) == [[], .seen, []])
        #expect(inbox.messages[1].keywords.indices == [0, 1])
        // From the name, and from the list's own key.
        #expect(inbox.messages.map(\.octets) == [31, 4000, 31])
        #expect(try inbox.add("x\r\n") == 9)
        let lines = try text(fixture, MaildirUIDList.path).split(separator: "\n")
        #expect(lines.dropLast().joined(separator: "\n") + "\n" == Self.list)
        #expect(lines.last?.hasPrefix("9 :") == true)
        #expect(!(try fixture.names(".").contains("dovecot-uidlist.lock")))
    }

    @Test func linesAreWrittenAnewWithWhatIsUnknownHere() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        var list = "3 V7 N1 Gabc Zmore\n"
        for number in 1...1100 { list += "\(number) Q\(number) :\(number).m.host\n" }
        try fixture.put(list, as: MaildirUIDList.path, in: ".")
        try fixture.put("x\n", as: "1100.m.host:2,", in: "cur")
        try fixture.put("x\n", as: "7.m.host:2,", in: "cur")
        let inbox = try fixture.inbox()
        #expect(inbox.uids == [7, 1100])
        #expect(
            try text(fixture, MaildirUIDList.path)
                == "3 V7 N1101 Gabc Zmore\n7 Q7 :7.m.host\n1100 Q1100 :1100.m.host\n"
        )
    }

    @Test func versionOneIsReadAndWrittenAsThree() throws {
        let fixture = try fixture(
            "1 1000 8\n2 1795979583.M331786P30120.vm\n5 1795979583.M312138P30120.vm,S=27,W=31\n"
        )
        let inbox = try fixture.inbox()
        #expect(inbox.uidValidity == 1000)
        #expect(inbox.uids == [2, 5, 8])
        let start = "3 V1000 N8 G\(MaildirUIDList.identifier(ofValidity: 1000))\n2 :1795979583.M331786P30120.vm\n"
        #expect(try text(fixture, MaildirUIDList.path).hasPrefix(start))
    }

    @Test(
        arguments: [
            "", "\n", "3\n", "4 V1 N1\n", "3 N4\n", "3 V0 N4\n", "3 V5 N0\n", "3 Vx N1\n", "3 V99999999999 N1\n",
            "3 V5 N5\n2 :a\n1 :b\n", "3 V5 N5\n2 :a\n2 :b\n", "3 V5 N5\n3 \n", "3 V5 N5\n3 a:b\n", "3 V5 N5\n3 :\n",
            "3 V5 N5\n0 :a\n", "3 V5 N5\n4294967295 :a\n", "1 5\n", "\0\0\0\n",
        ]
    )
    func listThatMakesNoSenseIsBegunAnew(_ list: String) throws {
        let fixture = try fixture(list)
        let inbox = try fixture.inbox()
        #expect(inbox.uids == [1, 2, 3])
        #expect(inbox.uidValidity > 1_000_000_000)
        #expect(try fixture.inbox().uidValidity == inbox.uidValidity)
    }

    /// Whatever is in the files, all messages are there, each with a UID of its own.
    @Test func anyOctetsMayBeInTheFiles() throws {
        var random = SplitMix64(seed: 7)
        for _ in 0..<100 {
            let fixture = try fixture(nil)
            for (name, content) in [
                (MaildirUIDList.path, Self.list), ("dovecot-keywords", "0 $Junk\n1 hello\n"),
                ("subscriptions", "V\t2\n\nA\tB\n"), ("dovecot-uidvalidity", "6b0c7944"),
            ] {
                var octets = Array(content.utf8)
                for _ in 0...Int.random(in: 0...3, using: &random) {
                    let place = Int.random(in: 0..<octets.count, using: &random)
                    switch Int.random(in: 0...3, using: &random) {
                    case 0: octets[place] = UInt8.random(in: 0...255, using: &random)
                    case 1: octets.insert([0, 10, 32, 58, 57].randomElement(using: &random) ?? 0, at: place)
                    case 2: octets.removeSubrange(place..<min(octets.count - 1, place + 5))
                    default: octets.append(contentsOf: octets[place...])
                    }
                }
                try OpenFile("\(fixture.root)/\(name)", [.writing, .creating]).write(octets)
            }
            let inbox = try fixture.inbox()
            #expect(inbox.uids.count == 3 && inbox.uids == Set(inbox.uids).sorted())
            #expect(inbox.uidNext > inbox.uids[2])
            _ = try fixture.store().subscriptions()
            #expect(try inbox.store(FlagChange(.add, .seen, keywords: ["new"]), to: inbox.uids).count == 3)
            // Another process reads what this one has made of them.
            let other = try MailDirectory(fixture.path, on: .makeKernel())
            let location = try #require(MailboxLocation(path: "example.test/bob", format: .maildir))
            #expect(try other.open(location).open(.inbox, readOnly: false).uids == inbox.uids)
        }
    }

    @Test func ownListOfEarlierVersionsIsTakenOver() throws {
        let fixture = try fixture(nil)
        try fixture.put(
            """
            martlet-uidlist 1 V77 N3
            5 1795979583.M312138P30120.vm,S=27,W=31
            3 1795979583.M331786P30120.vm

            """,
            as: "martlet-uidlist",
            in: "."
        )
        try fixture.put("", as: "martlet-uidlist.lock", in: ".")
        try fixture.put("4000000000\n", as: "martlet-uidvalidity", in: ".")
        let inbox = try fixture.inbox()
        #expect(inbox.uidValidity == 77)
        #expect(inbox.uids == [3, 5, 6])
        #expect(inbox.popIdentifiers == [3: "77.3", 5: "77.5"])
        #expect(try fixture.names(".").filter { $0.hasPrefix("martlet-uidlist") }.isEmpty)
        let store = try fixture.store()
        let name = try #require(FolderName("A"))
        try store.create(name)
        #expect(try store.open(name, readOnly: true).uidValidity == 4_000_000_001)
        #expect(!(try fixture.names(".").contains("martlet-uidvalidity")))
        #expect(try text(fixture, "dovecot-uidvalidity") == "ee6b2801")
        #expect(try fixture.names(".").contains("dovecot-uidvalidity.ee6b2801"))
    }

    /// A crash between both may leave the older one.
    @Test func ownListThatWasTakenOverAlreadyIsRemoved() throws {
        let fixture = try fixture()
        try fixture.put("martlet-uidlist 1 V1795979583 N3\n2 other\n", as: "martlet-uidlist", in: ".")
        #expect(try fixture.inbox().uids == [1, 2, 4])
        #expect(!(try fixture.names(".").contains("martlet-uidlist")))
    }

    @Test func validityGoesOnWhereDovecotWas() throws {
        let fixture = try fixture(nil)
        try fixture.put("f0000000", as: "dovecot-uidvalidity", in: ".")
        try fixture.put("", as: "dovecot-uidvalidity.f0000005", in: ".")
        #expect(try fixture.inbox().uidValidity == 0xF000_0006)
        #expect(
            try fixture.names(".").filter { $0.hasPrefix("dovecot-uidvalidity") }
                == ["dovecot-uidvalidity", "dovecot-uidvalidity.f0000006"]
        )
    }

    @Test func whatDovecotHasLockedIsBusy() throws {
        let fixture = try fixture()
        let inbox = try fixture.inbox()
        // Process 1 is alive.
        try fixture.put("1:\(MaildirFileName.hostName)", as: "dovecot-uidlist.lock", in: ".")
        let append = try inbox.append()
        try append.write(ByteBuffer(string: "x\r\n"))
        #expect(throws: MailboxError.busy) { _ = try append.finish(flags: .seen, keywords: [], internalDate: nil) }
        #expect(throws: MailboxError.busy) { _ = try inbox.copy([1], to: inbox) }
        // What gives no UID goes on.
        #expect(try inbox.store(FlagChange(.add, .seen), to: [1]).count == 1)
        try DirectoryAccess(fixture.root).remove("dovecot-uidlist.lock")
        #expect(try append.finish(flags: .seen, keywords: [], internalDate: nil) == 9)
        // Of a process that is gone.
        try fixture.put("999999999:\(MaildirFileName.hostName)", as: "dovecot-uidlist.lock", in: ".")
        #expect(try inbox.add("y\r\n") == 10)
    }

    @Test func listThatAWriterLeftUnsafeIsWrittenAnew() throws {
        let fixture = try fixture()
        let path = "\(fixture.root)/\(MaildirUIDList.path)"
        let before = try OpenFile(path, .reading)
        try fixture.put("", as: MaildirUIDList.mark, in: ".")
        #expect(try fixture.inbox().uids == [1, 2, 4])
        #expect(try OpenFile(path, .reading).status().inode != before.status().inode)
        #expect(try text(fixture, MaildirUIDList.path) == Self.list)
        #expect(!(try fixture.names(".").contains(MaildirUIDList.mark)))
    }

    @Test func messagesAreFoundAgainWhereTheListCouldNotBeSecuredAtOnce() throws {
        let fixture = try fixture()
        let inbox = try fixture.inbox()
        try fixture.put(Self.list, as: "next", in: ".")
        #expect(rename("\(fixture.root)/next", "\(fixture.root)/\(MaildirUIDList.path)") == 0)
        try fixture.put("", as: MaildirUIDList.mark, in: ".")
        // Process 1 is alive.
        try fixture.put("1:\(MaildirFileName.hostName)", as: "dovecot-uidlist.lock", in: ".")
        #expect(throws: MailboxError.busy) { try inbox.refresh() }
        #expect(throws: MailboxError.busy) { try inbox.text(1) }
        try DirectoryAccess(fixture.root).remove("dovecot-uidlist.lock")
        #expect(try inbox.text(1) == "A: b\r\n\r\nbody\r\n")
        _ = try inbox.refresh()
        #expect(inbox.uids == [1, 2, 4])
        #expect(!(try fixture.names(".").contains(MaildirUIDList.mark)))
    }

    enum FailedSync: CaseIterable {
        /// Of lines that were added; they can't be taken back either.
        case ofLines
        /// Of the directory that the list was renamed into.
        case ofDirectory
        /// Of lines that another program added without one.
        case ofOthersLines
    }

    /// What a failed sync leaves can be read by the next process, and may be gone after a power failure.
    @Test(arguments: 0..<20 as Range<UInt64>, FailedSync.allCases)
    func uidsThatWereSeenOutliveAFailedSync(_ seed: UInt64, _ failure: FailedSync) throws {
        let disk = SimulatedFileSystem(seed: seed)
        let place = try #require(MailboxLocation(path: "alice", format: .maildir))
        let name = try #require(FolderName("A"))
        /// As another process opens it.
        func store(at seconds: Int64 = 1_800_000_000) throws -> any MailStore {
            let mailDisk = MailboxDisk(disk, process: 1, microseconds: { seconds * 1_000_000 }, uptime: { 0 })
            return try MailDirectory("mail", on: mailDisk).open(place)
        }
        func put(_ text: String, as path: String, _ options: OpenOptions = []) throws {
            let file = try disk.open("mail/alice/.A/\(path)", in: nil, [.writing, .creating, options], mode: 0o600)
            try disk.write(ByteBuffer(string: text), to: file)
        }
        func sync() throws {
            for path in ["cur", "new"] {
                let directory = try disk.open("mail/alice/.A/\(path)", in: nil, [.reading, .directory], mode: 0)
                for name in try disk.names(".", in: directory) {
                    try disk.sync(disk.open(String(decoding: name, as: UTF8.self), in: directory, .reading, mode: 0))
                }
                try disk.sync(directory)
            }
        }
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        try store().create(name)
        try put("x\n", as: "cur/1.m.host:2,")
        if failure != .ofDirectory {
            #expect(try store().open(name, readOnly: false).uids == [1])
            try put("x\n", as: "cur/2.m.host:2,")
        }
        try disk.syncAll(of: disk.open(".", in: nil, [.reading, .directory], mode: 0))
        let isList: @Sendable (String) -> Bool = { $0.hasSuffix("/.A/dovecot-uidlist") }
        let faults: [FaultPlan.Fault]
        switch failure {
        case .ofLines:
            // The first sync is the reader's.
            let syncs = NIOLockedValueBox(0)
            let isWriters: @Sendable (String) -> Bool = { path in
                isList(path)
                    && syncs.withLockedValue { syncs in
                        syncs += 1
                        return syncs == 2
                    }
            }
            faults = [.init(.syncData, code: EIO, path: isWriters), .init(.truncate, code: EIO, path: isList)]
        case .ofDirectory: faults = [.init(.sync, code: EIO, times: 1, path: { $0.hasSuffix("/.A") })]
        case .ofOthersLines:
            try put("2 :2.m.host\n", as: "dovecot-uidlist", .appending)
            faults = [.init(.syncData, code: EIO, times: 1, path: isList)]
        }
        disk.start(FaultPlan(faults: faults))
        #expect(throws: MailboxError.self) { try store().open(name, readOnly: false) }
        let seen = try store().open(name, readOnly: false)
        let last = failure == .ofDirectory ? 1 : 2
        #expect(seen.uids == (1...UInt32(last)).map { $0 })
        // That message goes, and another one comes.
        try disk.remove("mail/alice/.A/cur/\(last).m.host:2,", in: nil)
        try put("y\n", as: "cur/3.m.host:2,")
        try sync()
        disk.powerCut()
        // A lock file without its content is stale by then.
        let after = try store(at: 1_800_001_000).open(name, readOnly: false)
        #expect(after.uids == seen.uids.dropLast() + [seen.uidNext] && after.uidValidity == seen.uidValidity)
    }

    @Test func whatDovecotAddsMeanwhileIsSeen() throws {
        let fixture = try fixture()
        let inbox = try fixture.inbox()
        try fixture.put("x\n", as: "9.dovecot.host,S=2,W=3:2,F", in: "cur")
        let list = try OpenFile("\(fixture.root)/\(MaildirUIDList.path)", [.writing, .appending])
        try list.write(Array("30 G0123 :9.dovecot.host,S=2,W=3\n".utf8))
        #expect(try inbox.refresh())
        #expect(inbox.uids == [1, 2, 4, 30])
        #expect(inbox.message(30)?.flags == .flagged)
        #expect(try inbox.add("y\r\n") == 31)
        // Written anew and put in the place of the old one.
        var anew = Self.list.replacing("N9", with: "N40")
        anew += "30 :9.dovecot.host,S=2,W=3\n"
        try fixture.put(anew, as: "next", in: ".")
        #expect(rename("\(fixture.root)/next", "\(fixture.root)/\(MaildirUIDList.path)") == 0)
        #expect(try inbox.add("z\r\n") == 40)
        _ = try inbox.refresh()
        #expect(inbox.uids == [1, 2, 4, 30, 40, 41])
    }

    @Test(
        arguments: [
            ("V\t2\n\nWork\tReports\nM&APw-ll\nüber\t.x\nINBOX\n", "V\t2\n\nM&APw-ll\nüber\t.x\nINBOX\nA\tB\n"),
            ("Work.Reports\nM&APw-ll\nstrange/one\nINBOX\n", "M&APw-ll\nstrange/one\nINBOX\nA.B\n"),
        ]
    )
    func subscriptionsKeepTheirFormat(_ before: String, _ after: String) throws {
        let fixture = try fixture()
        try fixture.put(before, as: "subscriptions", in: ".")
        let store = try fixture.store()
        #expect(try store.subscriptions().map(\.description) == ["Work.Reports", "M&APw-ll", "INBOX"])
        try store.unsubscribe(try #require(FolderName("Work.Reports")))
        try store.subscribe(try #require(FolderName("A.B")))
        try store.subscribe(try #require(FolderName("inbox")))
        #expect(try text(fixture, "subscriptions") == after)
    }

    @Test func newSubscriptionsAreOfVersionTwo() throws {
        let fixture = try fixture()
        try fixture.store().subscribe(try #require(FolderName("A.B")))
        #expect(try text(fixture, "subscriptions") == "V\t2\n\nA\tB\n")
    }

    @Test func namesAreAnyOctets() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        // A host's name in Latin-1, half a character, and what stands for an octet elsewhere.
        let bases: [[UInt8]] = [
            Array("1.m.h".utf8) + [0xFC] + Array("tte,S=2,W=3".utf8), Array("2.m.".utf8) + [0xC3],
            Array("3.m.\u{10FF41}é".utf8),
        ]
        for base in bases {
            let path = (Array("\(fixture.root)/new/".utf8) + base + [0]).map { CChar(bitPattern: $0) }
            let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
            #expect(descriptor >= 0 && write(descriptor, "x\n", 2) == 2)
            close(descriptor)
        }
        let inbox = try fixture.inbox()
        #expect(inbox.uids == [1, 2, 3])
        #expect(try inbox.uids.map { try inbox.text($0) } == ["x\r\n", "x\r\n", "x\r\n"])
        _ = try inbox.store(FlagChange(.add, .seen), to: [1, 2, 3])
        let list = try #require(try DirectoryAccess(fixture.root).contents(MaildirUIDList.path, maximum: 1000))
        let lines = list.split(separator: UInt8(ascii: "\n")).dropFirst()
        for (line, base) in zip(lines, bases) { #expect(line.dropFirst(3).elementsEqual(base)) }
        var names: Set<[UInt8]> = []
        try DirectoryAccess(fixture.root).visitNames("cur") { names.insert(Array($0)) }
        #expect(names == Set(bases.map { $0 + Array(":2,S".utf8) }))
        #expect(try inbox.copy([1, 2, 3], to: inbox).count == 3)
        #expect(try inbox.expunge([1, 2, 3]) == [1, 2, 3])
        #expect(try fixture.inbox().uids == [4, 5, 6])
    }

    @Test func lettersOfOthersAreKept() throws {
        let fixture = try MaildirFixture()
        _ = try fixture.store()
        try fixture.put("x\n", as: "1.m.host:2,SXA", in: "cur")
        let inbox = try fixture.inbox()
        _ = try inbox.store(FlagChange(.add, .flagged), to: [1])
        #expect(try fixture.names("cur") == ["1.m.host:2,AFSX"])
        _ = try inbox.store(FlagChange(.remove, .seen), to: [1])
        #expect(try fixture.names("cur") == ["1.m.host:2,AFX"])
        #expect(try inbox.text(1) == "x\r\n")
    }
}
