import Files
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import SMTP
import SpoolSimulation

@testable import Spool

/// A directory for one test, removed with all that is in it.
final class TemporarySpool: Sendable {
    let path: String
    let disk: any FileSystem
    private let current = NIOLockedValueBox(SimulatedWorkers())
    private let heard = NIOLockedValueBox<(failures: [SpoolError], late: [MessageID])>(([], []))
    private let moment = NIOLockedValueBox<UInt64>(1_795_447_200_000_000)

    /// On the machine's disk.
    init() {
        path = "/tmp/martlet-spool-\(UInt64.random(in: 0 ... .max))"
        disk = KernelFileSystem()
    }

    /// On another one.
    init(_ disk: any FileSystem) {
        path = "spool"
        self.disk = disk
    }

    deinit { if disk is KernelFileSystem { try? FileManager.default.removeItem(atPath: path) } }

    /// Who does the work of the spool that was opened last.
    var workers: SimulatedWorkers { current.withLockedValue { $0 } }
    /// What the spools said that they can't go on for.
    var failures: [SpoolError] { heard.withLockedValue { $0.failures } }
    /// The messages whose files could not be made or changed.
    var late: [MessageID] { heard.withLockedValue { $0.late } }

    /// Opens the spool as a daemon would, with small segments and nobody else on its threads.
    func open(segment: Int = 2 << 20, memory: Int = 32 << 20) throws(SpoolError) -> Spool {
        current.withLockedValue { $0 = SimulatedWorkers() }
        return try open(segment: segment, memory: memory, on: workers)
    }

    func open(segment: Int, memory: Int, on workers: any SpoolWorkers) throws(SpoolError) -> Spool {
        var options = Spool.Options()
        options.journalSegment = segment
        options.memory = memory
        options.reserve = 0
        var host = Spool.Host(
            disk: disk,
            workers: workers,
            microseconds: { [moment] in
                moment.withLockedValue { moment in
                    moment += 1
                    return moment
                }
            },
            random: { UInt64.random(in: 0 ... .max) }
        )
        host.onLate = { [heard] id, _ in heard.withLockedValue { $0.late.append(id) } }
        return try Spool(path: path, options: options, host: host) { [heard] error in
            heard.withLockedValue { $0.failures.append(error) }
        }
    }

    /// The end of the process, as of `kill -9`: what it had still to do is not done.
    func kill(_ spool: Spool) {
        workers.stop()
        spool.files.close()
    }

    /// Lets time pass until every message has its file.
    func file() { workers.advance(milliseconds: 6000) }

    /// All IDs in `queue/` on disk.
    func queued() throws -> Set<MessageID> { Set(try ids("queue")) }

    private func ids(_ path: String) throws -> [MessageID] {
        try names(path).flatMap { shard in try names("\(path)/\(shard)").compactMap { MessageID($0) } }
    }

    private func names(_ path: String) throws -> [String] {
        try disk.names("\(self.path)/\(path)", in: nil).map { String(decoding: $0, as: UTF8.self) }
    }

    func exists(_ path: String) -> Bool { (try? disk.status("\(self.path)/\(path)", in: nil)) != nil }

    func read(_ path: String) throws -> ByteBuffer {
        try disk.contents(of: "\(self.path)/\(path)", in: nil, maximum: 1 << 26)
    }

    func write(_ octets: ByteBuffer, to path: String, at offset: Int = 0) throws {
        let file = try disk.open("\(self.path)/\(path)", in: nil, [.reading, .writing, .creating], mode: 0o600)
        defer { disk.close(file) }
        try disk.write(octets, to: file, at: offset)
        try disk.sync(file)
    }

    func truncate(_ path: String, to octets: Int) throws {
        let file = try disk.open("\(self.path)/\(path)", in: nil, [.reading, .writing], mode: 0)
        defer { disk.close(file) }
        try disk.truncate(file, to: octets)
    }

    /// Changes one octet.
    func spoil(_ path: String, at offset: Int) throws {
        let octet = try read(path).getInteger(at: offset, as: UInt8.self) ?? 0
        try write(ByteBuffer(integer: ~octet), to: path, at: offset)
    }

    func remove(_ path: String) throws { try disk.remove("\(self.path)/\(path)", in: nil) }

    /// The records of one of the journal's files: where they begin, and where they end.
    func records(_ number: Int = 0) throws -> [Range<Int>] {
        let journal = try read("journal/\(number)")
        var records: [Range<Int>] = []
        var offset = JournalSegment.start
        while let length = journal.getInteger(at: offset, as: UInt32.self), length > 0 {
            let end = offset + JournalRecord.header + Int(length)
            records.append(offset..<end)
            offset = end
        }
        return records
    }
}

extension MessageEnvelope {
    /// The envelope of a message that is one of many.
    static func some(_ id: MessageID) throws -> MessageEnvelope {
        var envelope = MessageEnvelope(
            id: id,
            arrived: 1,
            sender: try EnvelopeSender(parsing: "<alice@example.test>".utf8),
            recipients: [try EnvelopeRecipient(parsing: "<bob@example.test>".utf8)]
        )
        envelope.client = "192.0.2.7"
        return envelope
    }
}

extension StateEntry {
    static func delivered(_ recipient: Int, _ text: String = "ok") -> StateEntry {
        StateEntry(time: 1, recipient: recipient, event: .final(.delivered, EnhancedStatusCode(2, 0, 0)), text: text)
    }

    static func deferred(_ recipient: Int, _ text: String = "busy") -> StateEntry {
        let event = Event.deferred(attempts: 1, next: 99, status: EnhancedStatusCode(4, 2, 1))
        return StateEntry(time: 1, recipient: recipient, event: event, text: text)
    }

    var octets: ByteBuffer { ByteBuffer(string: line) }
}

extension Spool {
    /// Commits a small message; it's durable when this returns.
    func add(_ text: String, added: String = "") async throws -> MessageID {
        let id = makeID()
        try await commitDurably([put(id, text, added: added)])
        return id
    }

    func put(_ id: MessageID, _ text: String, added: String = "") throws -> SpoolOperation {
        let file = QueueFile.encode(
            try .some(id),
            message: ByteBuffer(string: text),
            added: ByteBuffer(string: added)
        ).file
        return .put(id, file: file)
    }

    /// Returns when the operations are durable.
    func commitDurably(_ operations: [SpoolOperation]) async throws(SpoolError) {
        let error: SpoolError? = await withCheckedContinuation { continuation in
            commit(operations) { continuation.resume(returning: $0) }
        }
        if let error { throw error }
    }

    func text(of id: MessageID, isHeld: Bool = false) throws(SpoolError) -> String? {
        try content(of: id, isHeld: isHeld, verified: true, messageLimit: .max).message.map { String(buffer: $0) }
    }

    func setHeld(_ id: MessageID, _ isHeld: Bool) async throws(SpoolError) {
        let error: SpoolError? = await withCheckedContinuation { continuation in
            setHeld(id, isHeld) { continuation.resume(returning: $0) }
        }
        if let error { throw error }
    }

    func setCorrupt(_ id: MessageID) async throws(SpoolError) {
        let error: SpoolError? = await withCheckedContinuation { continuation in
            setCorrupt(id) { continuation.resume(returning: $0) }
        }
        if let error { throw error }
    }
}
