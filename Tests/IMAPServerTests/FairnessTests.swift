import Files
import IMAP
import MailIndex
import NIOConcurrencyHelpers
import NIOCore
import Network
import SimulatedDisk
import Testing

@testable import IMAPServer
@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// What one user asks takes little memory, and never a thread from the others for long.
@Suite struct FairnessTests {
    /// One thread serves all: a search through a large message leaves it to others between its steps.
    @Test func searchInLargeMessagesHoldsUpNobody() async throws {
        try await TestSystem.run(pool: BlockingPool(threads: 1), messageLimit: 8 << 20) { system in
            let alice = try await system.client()
            let line = Array("This line is searched, like all the others in this message.\r\n".utf8)
            try await alice.append(
                Array("Subject: large\r\n\r\n".utf8) + Array(repeatElement(line, count: 40_000).joined())
            )
            let bob = try await system.client(as: "bob")
            _ = try await alice.command("SELECT INBOX")
            for key in ["TEXT", "NOT BODY", "OR SUBJECT nothing BODY"] {
                try await alice.send("s SEARCH \(key) \"is not in it\"\r\n")
                let isOver = NIOLockedValueBox(false)
                async let found = Self.lines(of: alice, to: "s OK", isOver)
                for command in ["SELECT INBOX", "STATUS INBOX (MESSAGES)", "LIST \"\" *", "NOOP"] {
                    #expect(try await bob.command(command).last?.contains(" OK ") == true)
                }
                #expect(!isOver.withLockedValue { $0 }, "\(key)")
                #expect(try await found.first == (key == "NOT BODY" ? "* SEARCH 1" : "* SEARCH"))
            }
        }
    }

    private static func lines(
        of client: TestClient,
        to end: String,
        _ isOver: NIOLockedValueBox<Bool>
    ) async throws -> [String] {
        let lines = try await client.lines(to: end)
        isOver.withLockedValue { $0 = true }
        return lines
    }

    /// A lock is waited for on the loop, not on the only thread.
    @Test func lockedMboxHoldsUpNobody() async throws {
        try await TestSystem.run(pool: BlockingPool(threads: 1)) { system in
            let lock = "\(system.directory)/mail/mbox.lock"
            let clients = try await [
                system.client(as: "mbox"), system.client(as: "mbox"), system.client(as: "mbox"),
            ]
            // Of a program that is alive: the first one.
            let file = open(lock, O_WRONLY | O_CREAT | O_EXCL, 0o644)
            #expect(file >= 0 && write(file, "1\n", 2) == 2)
            close(file)
            let isOver = NIOLockedValueBox(false)
            try await withThrowingTaskGroup(of: [String].self) { group in
                for client in clients {
                    try await client.send("s SELECT INBOX\r\n")
                    group.addTask { try await Self.lines(of: client, to: "s OK", isOver) }
                }
                let alice = try await system.client()
                for _ in 0..<20 { #expect(try await alice.command("STATUS INBOX (MESSAGES)").count == 2) }
                #expect(!isOver.withLockedValue { $0 })
                #expect(unlink(lock) == 0)
                for try await lines in group { #expect(lines.contains("* 0 EXISTS")) }
            }
        }
    }

    @Test func patternsAreNoLongerThanNames() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            func pattern(_ octets: Int) -> String { String(repeating: "*a", count: octets / 2) }
            #expect(try await client.command("LIST \"\" \(pattern(31_000))").last?.contains(" BAD ") == true)
            #expect(try await client.command("LSUB \"\" \(pattern(31_000))").last?.contains(" BAD ") == true)
            #expect(try await client.command("LIST \(String(repeating: "a", count: 600)) \(pattern(600))").count == 1)
            let many = Array(repeating: pattern(1000), count: 20).joined(separator: " ")
            #expect(try await client.command("LIST \"\" (\(many))").last?.contains(" BAD ") == true)
            #expect(try await client.command("LIST \"\" \(pattern(1000))").last?.contains(" OK ") == true)
            #expect(try await client.command("LIST \"\" (I%X *B%)").count == 2)
        }
    }

    private static func message(headerOf octets: Int) -> [UInt8] {
        let line = " \(String(repeating: "x", count: 975))\r\n"
        let lines = String(repeating: line, count: octets / line.utf8.count)
        return Array("Subject: s\r\nX: y\r\n\(lines)\r\nbody\r\n".utf8)
    }

    /// A response is made in pieces, from a header that was read once.
    @Test func aHeaderIsReadOnceForAllItems() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let store = try MailDirectory("mail", on: mailDisk).open(
            try #require(MailboxLocation(path: "alice", format: .maildir, quota: 0))
        )
        let folder = try store.open(.inbox, readOnly: false)
        let append = try folder.append()
        let embedded = "Content-Type: message/rfc822\r\n\r\n"
        try append.write(ByteBuffer(bytes: Array(embedded.utf8) + Self.message(headerOf: 200_000)))
        _ = try append.finish(flags: [], keywords: [], internalDate: nil)
        let reads = NIOLockedValueBox(0)
        let counting = FaultPlan.Fault(.read, code: EIO) { _ in
            reads.withLockedValue { $0 += 1 }
            return false
        }
        func run(_ items: [FetchItem]) -> FetchRun {
            FetchRun(
                [FetchRun.Request(place: 0, message: folder.messages[0])],
                items,
                in: folder,
                for: Dialect(),
                index: nil,
                structures: StructureCache()
            )
        }
        let section = Section(part: [1], text: .headerFields([Array("x".utf8)]))
        let items = [FetchItem](repeating: .section(section, partial: nil, peek: true), count: 50)
        disk.start(FaultPlan(faults: [counting]))
        let fetch = run(items)
        var sizes: [Int] = []
        var isOver = false
        while !isOver {
            let step = try fetch.advance()
            #expect(step.stream == nil)
            if step.octets.readableBytes > 10 { sizes.append(step.octets.readableBytes) }
            isOver = step.isLast
        }
        #expect(sizes.count == items.count)
        #expect(sizes.allSatisfy { (190_000..<210_000).contains($0) })
        // Of the message to find its parts, and of one header, in pieces of 64 KiB.
        #expect(reads.withLockedValue { $0 } < 15)
        // Small ones go together.
        let small = run([FetchItem](repeating: .uid, count: 1000))
        #expect(try small.advance().isLast)
    }

    /// What is done with a header takes as long wherever it's from: also those of the index come in several turns.
    @Test func headersFromTheIndexHaveTheirTurns() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("mail", in: nil, mode: 0o700)
        let mailDisk = MailboxDisk(disk, process: 1, microseconds: { 1_800_000_000_000_000 }, uptime: { 0 })
        let store = try MailDirectory("mail", on: mailDisk).open(
            try #require(MailboxLocation(path: "alice", format: .maildir, quota: 0))
        )
        let folder = try store.open(.inbox, readOnly: false)
        let count = 30
        let subject = String(repeating: " \(String(repeating: "x", count: 975))\r\n", count: 12)
        for _ in 0..<count {
            let append = try folder.append()
            try append.write(ByteBuffer(string: "Subject: s\r\n\(subject)\r\nbody\r\n"))
            _ = try append.finish(flags: [], keywords: [], internalDate: nil)
        }
        let path = "/tmp/martlet-walk-\(UInt64.random(in: 0 ... .max))"
        defer { for end in ["", "-wal", "-shm"] { unlink(path + end) } }
        let file = MessageIndex(path: path) { Issue.record("\($0)") }
        let index = try #require(file.folder("INBOX", validity: folder.uidValidity))
        /// How many turns it takes, and how many headers are seen.
        func walk() throws -> (turns: Int, headers: Int) {
            var walk = HeaderWalk(folder.messages.map(\.uid), in: folder, needsHeaders: true, index: index)
            var turns = 1
            var headers = 0
            while try !walk.advance({ (_, _, _) in headers += 1 }) { turns += 1 }
            return (turns, headers)
        }
        let read = try walk()
        let reads = NIOLockedValueBox(0)
        let counting = FaultPlan.Fault(.read, code: EIO) { _ in
            reads.withLockedValue { $0 += 1 }
            return false
        }
        disk.start(FaultPlan(faults: [counting]))
        let known = try walk()
        #expect(reads.withLockedValue { $0 } == 0)
        #expect(known.headers == count && read.headers == count)
        // Of 350 KiB.
        #expect(known.turns >= 3 && read.turns >= 3)
    }

    /// Sixty times a header of a megabyte: never more of it in memory than a few of them.
    @Test func largeAnswersTakeLittleMemory() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.append(Self.message(headerOf: 1_000_000))
            _ = try await client.command("SELECT INBOX")
            let before = Self.mostMemory(reset: true)
            let item = "BODY.PEEK[HEADER.FIELDS (X)]"
            try await client.send("f FETCH 1 (\(Array(repeating: item, count: 60).joined(separator: " ")) UID)\r\n")
            var octets = 0
            var literals = 0
            while true {
                let line = try await client.line()
                octets += line.utf8.count + 2
                if line.utf8.count < 200, line.contains("BODY[HEADER.FIELDS (X)] {") { literals += 1 }
                if line.hasPrefix("f ") { break }
            }
            #expect(octets > 59_000_000 && literals == 60)
            let growth = Self.mostMemory(reset: false) - before
            #expect(growth < 40_000)
        }
    }

    /// The most memory that this process had since that was reset. KiB.
    private static func mostMemory(reset: Bool) -> Int {
        if reset {
            let file = open("/proc/self/clear_refs", O_WRONLY)
            #expect(file >= 0 && write(file, "5", 1) == 1)
            close(file)
        }
        let file = open("/proc/self/status", O_RDONLY)
        defer { close(file) }
        var memory = [UInt8](repeating: 0, count: 8192)
        let count = memory.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
        let lines = String(decoding: memory.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
        let digits = lines.first { $0.hasPrefix("VmHWM") }?.filter(\.isNumber) ?? ""
        return Int(digits) ?? 0
    }
}
