import Files
import NIOCore
import Testing

@testable import Spool

@Suite struct SpoolCheckTests {
    /// A spool that nobody uses, with messages in files.
    private func spool(_ count: Int) async throws -> (TemporarySpool, [MessageID]) {
        let directory = TemporarySpool()
        let spool = try directory.open()
        var ids: [MessageID] = []
        for number in 0..<count { ids.append(try await spool.add("message \(number)\r\n")) }
        directory.file()
        try await spool.commitDurably(ids.map { .state($0, lines: StateEntry.delivered(1).octets) })
        await spool.close()
        return (directory, ids)
    }

    private func check(_ directory: TemporarySpool, isMending: Bool = false) throws -> SpoolCheck {
        try SpoolCheck(path: directory.path, disk: directory.disk, isMending: isMending)
    }

    @Test func wholeSpoolHasNoFaults() async throws {
        let (directory, _) = try await spool(3)
        for isMending in [false, true] {
            let check = try check(directory, isMending: isMending)
            #expect(check.findings.isEmpty)
            #expect(check.messages == 3)
            #expect(check.unfiled == 0)
        }
    }

    @Test func spoolInUseIsLeftAlone() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        #expect { try check(directory) } throws: { error in
            if case .owned? = error as? SpoolError { true } else { false }
        }
        await spool.close()
    }

    /// What the journal alone has is said, and is in files after mending.
    @Test func whatIsInTheJournalIsNoFault() async throws {
        let directory = TemporarySpool()
        let spool = try directory.open()
        let id = try await spool.add("in the journal\r\n")
        directory.kill(spool)
        let before = try directory.read("journal/0")
        let found = try check(directory)
        #expect(found.findings.isEmpty)
        #expect(found.unfiled == 1)
        #expect(try directory.read("journal/0") == before)
        #expect(try directory.queued().isEmpty)
        let mended = try check(directory, isMending: true)
        #expect(mended.messages == 1)
        #expect(try directory.queued() == [id])
    }

    /// queue-manager doesn't start with it.
    @Test func damagedPausesAreSetAside() async throws {
        let (directory, _) = try await spool(1)
        try directory.write(ByteBuffer(string: "PAU"), to: "pauses")
        func check(isMending: Bool, isWhole: Bool = false) throws -> [SpoolCheck.Finding] {
            let disk = directory.disk
            return try SpoolCheck(path: directory.path, disk: disk, isMending: isMending) { octets in
                #expect(String(buffer: octets) == "PAU")
                return isWhole
            }.findings
        }
        #expect(try check(isMending: true, isWhole: true).isEmpty)
        #expect(try check(isMending: false).map(\.kind) == [.pauses])
        #expect(directory.exists("pauses"))
        #expect(try check(isMending: true).map(\.isMended) == [true])
        #expect(!directory.exists("pauses") && directory.exists("corrupt/pauses"))
        #expect(try check(isMending: true).isEmpty)
    }

    @Test func strangersAreNamed() async throws {
        let (directory, _) = try await spool(1)
        try directory.write(ByteBuffer(string: "x"), to: "core")
        try directory.disk.makeDirectory("\(directory.path)/queue/lost+found", in: nil, mode: 0o700)
        try directory.disk.makeDirectory("\(directory.path)/state/il", in: nil, mode: 0o700)
        let findings = try check(directory, isMending: true).findings
        #expect(findings.map(\.path).sorted() == ["core", "queue/lost+found", "state/il"])
        #expect(findings.allSatisfy { $0.kind == .unknown && !$0.isMended })
        #expect(directory.exists("core"))
    }

    @Test func faultsAreFoundAndMended() async throws {
        let (directory, ids) = try await spool(6)
        // Behind the journal's back: it would make good what it still knows.
        for number in 0...5 where directory.exists("journal/\(number)") {
            try directory.disk.remove("\(directory.path)/journal/\(number)", in: nil)
        }
        try directory.spoil("queue/\(ids[0].path)", at: try directory.read("queue/\(ids[0].path)").readableBytes - 3)
        let elsewhere = MessageID.directory((ids[1].shard + 1) % MessageID.shards)
        try? directory.disk.makeDirectory("\(directory.path)/queue/\(elsewhere)", in: nil, mode: 0o700)
        try directory.disk.rename(
            "\(directory.path)/queue/\(ids[1].path)",
            in: nil,
            to: "\(directory.path)/queue/\(elsewhere)/\(ids[1])",
            in: nil
        )
        try directory.write(try directory.read("queue/\(ids[2].path)"), to: "hold/\(ids[2])")
        try directory.disk.remove("\(directory.path)/queue/\(ids[3].path)", in: nil)
        let state = try directory.read("state/\(ids[4].path)")
        try directory.write(ByteBuffer(string: "torn"), to: "state/\(ids[4].path)", at: state.readableBytes)
        try directory.write(ByteBuffer(string: "x"), to: "queue/\(elsewhere)/core")
        try directory.write(ByteBuffer(string: "x"), to: "incoming/\(ids[5])")
        let expected: Set<SpoolCheck.Finding.Kind> = [
            .damaged, .misplaced, .twofold, .orphan, .torn, .unknown, .incoming,
        ]
        let found = try check(directory)
        #expect(Set(found.findings.map(\.kind)).isSuperset(of: expected.subtracting([.orphan])))
        #expect(found.findings.allSatisfy { !$0.isMended })
        #expect(directory.exists("incoming/\(ids[5])"))
        let mended = try check(directory, isMending: true)
        #expect(Set(mended.findings.map(\.kind)) == expected)
        #expect(mended.findings.allSatisfy { $0.isMended || $0.kind == .unknown })
        #expect(directory.exists("corrupt/\(ids[0])"))
        #expect(directory.exists("queue/\(ids[1].path)"))
        #expect(directory.exists("hold/\(ids[2])") && !directory.exists("queue/\(ids[2].path)"))
        #expect(!directory.exists("state/\(ids[3].path)"))
        #expect(try directory.read("state/\(ids[4].path)") == state)
        let again = try check(directory, isMending: true)
        #expect(again.findings.map(\.kind) == [.unknown])
        #expect(again.messages == 4)
        #expect(again.held == 1)
        let spool = try directory.open()
        #expect(try spool.text(of: ids[1]) == "message 1\r\n")
        await spool.close()
    }
}
