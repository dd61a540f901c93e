import Foundation
import NIOConcurrencyHelpers
import NIOCore

@testable import Spool

/// A directory for one test, removed with all that is in it.
final class TemporarySpool: Sendable {
    let path: String

    init() { path = "/tmp/martlet-spool-\(UInt64.random(in: 0 ... .max))" }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Opens the spool as a daemon would, with small segments.
    func open(segment: Int = 2 << 20, failures: NIOLockedValueBox<[SpoolError]>? = nil) throws -> Spool {
        var options = Spool.Options()
        options.journalSegment = segment
        options.reserve = 0
        return try Spool(
            path: path,
            options: options,
            callBack: { $0() },
            onFailure: { error in failures?.withLockedValue { $0.append(error) } }
        )
    }

    var files: SpoolFiles { get throws { try SpoolFiles(path: path) } }

    /// All IDs in `queue/`.
    func queued() throws -> Set<MessageID> {
        let files = try files
        defer { files.close() }
        return Set(try (0..<MessageID.shards).flatMap { try files.list(.queue, shard: $0) })
    }
}

extension Spool {
    /// Commits a small message and waits until its file is there.
    func add(_ text: String, recipients: [String] = ["<bob@example.test>"]) async throws -> MessageID {
        let id = makeID()
        var envelope = MessageEnvelope(id: id, arrived: 1, sender: "<alice@example.test>", recipients: recipients)
        envelope.client = "192.0.2.7"
        let file = QueueFile.encode(envelope, message: ByteBuffer(string: text)).file
        try await commitAndApply([.put(id, file: file)])
        return id
    }

    /// Returns when the files are there.
    func commitAndApply(_ operations: [SpoolOperation]) async throws {
        await withCheckedContinuation { continuation in
            commit(operations, applied: { continuation.resume() })
        }
    }

    func text(of id: MessageID) throws -> String {
        let head = try head(of: id, verified: true)
        return String(buffer: try read(id, at: head.offset, maximum: head.octets))
    }
}
