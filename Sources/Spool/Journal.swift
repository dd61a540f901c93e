import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// What is committed together, and who wants to know.
struct SpoolTransaction: Sendable {
    var operations: [SpoolOperation]
    /// Told once the operations survive a power failure, or that they never will.
    var durable: (@Sendable (SpoolError?) -> Void)?
    /// Told once the files in the spool are as the operations say.
    var applied: (@Sendable () -> Void)?
}

/// The journal: takes transactions from any thread, writes all that wait with one `pwrite` and one `fdatasync`, and
/// then has the files made from them, which need no sync of their own until their segment is used again.
///
/// Three threads: one writes and syncs, one makes files, one waits for `syncfs` and prepares segments.
final class Journal: @unchecked Sendable {
    // Unchecked: `active` and `position` belong to the writer's thread, all else is behind the lock.

    private struct Batch {
        var records = ByteBuffer()
        var transactions: [SpoolTransaction] = []
    }

    private struct State {
        var pending: [Batch] = []
        var isWriterBusy = false
        var isBroken = false
        /// Segments that nothing needs.
        var free: [JournalSegment] = []
        /// A segment that has begun its next use already.
        var spare: (segment: JournalSegment, generation: UInt64)?
        /// Full segments whose files may not be on stable storage yet, oldest first; the active one is the last.
        var needed: [UInt64] = []
        var generation: UInt64
        var segments: Int
    }

    /// Octets of records that are written at once at most, unless one record alone has more.
    private static let batchLimit = 1 << 20
    private static let maximumSegments = 6

    private let directory: CInt
    private let segmentSize: Int
    private let state: NIOLockedValueBox<State>
    private let making = NIOLock()
    private let writer = NIOThreadPool(numberOfThreads: 1)
    private let cutter = NIOThreadPool(numberOfThreads: 1)
    private let publisher: Publisher
    private let callBack: Spool.CallBack
    private let onFailure: @Sendable (SpoolError) -> Void
    private var active: JournalSegment
    private var position: Int

    /// - Parameters:
    ///   - segments: all that there are; none is needed any more.
    ///   - generation: the last one that was used.
    init(
        directory: CInt,
        segments: [JournalSegment],
        generation: UInt64,
        files: SpoolFiles,
        callBack: @escaping Spool.CallBack,
        onFailure: @escaping @Sendable (SpoolError) -> Void
    ) throws(SpoolError) {
        guard let first = segments.first else { throw .broken }
        try first.begin(JournalSegment.Header(generation: generation + 1, oldest: generation + 1))
        active = first
        position = JournalSegment.start
        segmentSize = first.size
        state = NIOLockedValueBox(
            State(
                free: Array(segments.dropFirst()),
                needed: [generation + 1],
                generation: generation + 1,
                segments: segments.count
            )
        )
        self.directory = directory
        self.callBack = callBack
        self.onFailure = onFailure
        publisher = Publisher(files: files, callBack: callBack)
        writer.start()
        cutter.start()
        cutter.submit { [self] _ in prepareSpare() }
    }

    /// The largest record that is taken. Octets.
    var recordLimit: Int { min(1 << 20, segmentSize / 4) }

    func commit(_ transaction: SpoolTransaction) {
        let start: Bool? = state.withLockedValue { state in
            if state.isBroken { return nil }
            if state.pending.last.map({ $0.records.readableBytes > Self.batchLimit }) ?? true {
                state.pending.append(Batch())
            }
            let last = state.pending.count - 1
            _ = JournalRecord.append(transaction.operations, to: &state.pending[last].records)
            state.pending[last].transactions.append(transaction)
            defer { state.isWriterBusy = true }
            return !state.isWriterBusy
        }
        guard let start else {
            if let durable = transaction.durable { callBack { durable(.broken) } }
            return
        }
        if start { writer.submit { [self] _ in writeAll() } }
    }

    // MARK: The writer's thread

    private func writeAll() {
        while let batch = takeBatch() {
            do {
                if batch.records.readableBytes > 0 { try write(batch.records) }
            } catch {
                fail(batch, error)
                return
            }
            let durable = batch.transactions.compactMap(\.durable)
            if !durable.isEmpty { callBack { for tell in durable { tell(nil) } } }
            publisher.publish(batch.transactions)
            publisher.waitForRoom()
        }
    }

    private func takeBatch() -> Batch? {
        state.withLockedValue { state in
            if state.pending.isEmpty {
                state.isWriterBusy = false
                return nil
            }
            return state.pending.removeFirst()
        }
    }

    private func write(_ records: ByteBuffer) throws(SpoolError) {
        if position + records.readableBytes > active.size { try switchSegment() }
        var records = records
        let generation = state.withLockedValue { $0.needed.last ?? 0 }
        JournalRecord.seal(&records, generation: generation)
        try SpoolFiles.write(records, to: active.descriptor, at: position)
        position += records.readableBytes
        try active.sync()
    }

    private func switchSegment() throws(SpoolError) {
        let full = (segment: active, generation: state.withLockedValue { $0.needed.last ?? 0 })
        active = try nextSegment()
        position = JournalSegment.start
        // Behind all that was published from the full segment.
        publisher.whenPublished { [self] in
            cutter.submit { [self] _ in cut(full.segment, generation: full.generation) }
        }
    }

    private func nextSegment() throws(SpoolError) -> JournalSegment {
        while true {
            let (spare, mayMake, isBroken) = state.withLockedValue { state in
                defer {
                    if let spare = state.spare { state.needed.append(spare.generation) }
                    state.spare = nil
                }
                return (state.spare, !state.free.isEmpty || state.segments < Self.maximumSegments, state.isBroken)
            }
            if let spare { return spare.segment }
            if isBroken { throw .broken }
            // The disk is slower than what comes in: everybody waits until a segment's files are safe.
            if mayMake { try makeSpare() } else { usleep(1000) }
        }
    }

    private func fail(_ batch: Batch, _ error: SpoolError) {
        let lost = state.withLockedValue { state in
            state.isBroken = true
            defer { state.pending = [] }
            return state.pending.flatMap(\.transactions)
        }
        let told = (batch.transactions + lost).compactMap(\.durable)
        callBack { for tell in told { tell(error) } }
        onFailure(error)
    }

    // MARK: The cutter's thread

    /// A full segment whose files were made: once they are on stable storage it may be used again.
    private func cut(_ segment: JournalSegment, generation: UInt64) {
        do {
            try publisher.files.syncAll()
        } catch {
            fail(Batch(), error)
            return
        }
        state.withLockedValue { state in
            state.needed.removeAll { $0 == generation }
            state.free.append(segment)
        }
        prepareSpare()
    }

    private func prepareSpare() {
        guard state.withLockedValue({ $0.spare == nil && !$0.isBroken }) else { return }
        // If it can't be made now, the writer finds out when it needs it.
        try? makeSpare()
    }

    private func makeSpare() throws(SpoolError) {
        // The writer and the cutter may both want one.
        making.lock()
        defer { making.unlock() }
        let plan = state.withLockedValue { state -> (reused: JournalSegment?, generation: UInt64, oldest: UInt64)? in
            if state.spare != nil { return nil }
            state.generation += 1
            let reused = state.free.isEmpty ? nil : state.free.removeFirst()
            return (reused, state.generation, state.needed.first ?? state.generation)
        }
        guard let plan else { return }
        let segment: JournalSegment
        if let reused = plan.reused {
            segment = reused
        } else {
            let name = String(state.withLockedValue { $0.segments })
            segment = try JournalSegment.make(name, in: directory, size: segmentSize)
            state.withLockedValue { $0.segments += 1 }
        }
        do {
            try segment.begin(JournalSegment.Header(generation: plan.generation, oldest: plan.oldest))
        } catch {
            state.withLockedValue { $0.free.insert(segment, at: 0) }
            throw error
        }
        state.withLockedValue { $0.spare = (segment, plan.generation) }
    }

    // MARK: Ending

    /// Returns when everything that was committed is in its files. Nothing may be committed afterwards.
    func close() async {
        await withCheckedContinuation { continuation in
            writer.submit { [self] _ in publisher.whenWritten { continuation.resume() } }
        }
        await writer.drain()
        await publisher.close()
        await cutter.drain()
        let segments = state.withLockedValue { state in state.free + (state.spare.map { [$0.segment] } ?? []) }
        for segment in segments { Glibc.close(segment.descriptor) }
        Glibc.close(active.descriptor)
        Glibc.close(directory)
    }
}
