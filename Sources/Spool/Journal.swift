import Files
import NIOConcurrencyHelpers
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// What is committed together, and who wants to know.
struct SpoolTransaction: Sendable {
    var operations: [SpoolOperation]
    /// Told once the operations survive a power failure, or that they never will.
    var durable: (@Sendable (SpoolError?) -> Void)?
}

/// The journal: takes transactions from any thread, writes all that wait with one `pwrite` and one `fdatasync`, and then
/// has done to the files what cannot wait.
///
/// Nobody waits on a thread: a writer that can't go on stops, and is started again by what it lacks.
final class Journal: @unchecked Sendable {
    // Unchecked: `active`, `position` and `formerEnd` belong to the writer's lane, all else is behind the lock.

    private struct Batch {
        var records = ByteBuffer()
        var transactions: [SpoolTransaction] = []
    }

    private enum Writer {
        case idle
        case busy
        /// Waits for files to be made, or for a segment.
        case paused
    }

    private struct State {
        var pending: [Batch] = []
        var writer = Writer.idle
        var isBroken = false
        /// Segments that nothing needs.
        var free: [JournalSegment] = []
        /// A segment that has begun its next use already.
        var spare: (segment: JournalSegment, header: JournalSegment.Header)?
        /// Full segments that hold what has no file yet, or whose files may not be on stable storage, oldest first.
        var full: [(segment: JournalSegment, generation: UInt64, isBeingCut: Bool)] = []
        /// Generations that are needed: of the full segments, the active one and the spare.
        var needed: [UInt64] = []
        var generation: UInt64
        var segments: Int
        /// The number of the next segment that is made.
        var next: Int
        var isMaking = false
    }

    private static let maximumSegments = 6
    /// Full segments that are left alone: most of what they hold is done with before it needs a file.
    private static let kept = 1

    private let directory: FileHandle
    private let disk: any FileSystem
    private let segmentSize: Int
    /// Octets of records that are written at once, unless one record alone has more.
    private var batchLimit: Int { min(1 << 20, segmentSize / 4) }
    private let state: NIOLockedValueBox<State>
    private let workers: any SpoolWorkers
    private let random: @Sendable () -> UInt64
    private let publisher: Publisher
    private let onFailure: @Sendable (SpoolError) -> Void
    private var active: (segment: JournalSegment, header: JournalSegment.Header)
    private var position: Int
    private var formerEnd = 0

    /// - Parameter found: what recovery left: nothing in the segments is needed any more.
    init(
        _ found: JournalRecovery.Result,
        publisher: Publisher,
        workers: any SpoolWorkers,
        random: @escaping @Sendable () -> UInt64,
        onFailure: @escaping @Sendable (SpoolError) -> Void
    ) throws(SpoolError) {
        guard let first = found.segments.first else { throw .broken }
        let generation = found.generation + 1
        let header = JournalSegment.Header(generation: generation, oldest: generation, salt: random() | 1)
        try first.begin(header)
        active = (first, header)
        position = JournalSegment.start
        segmentSize = first.size
        disk = first.disk
        state = NIOLockedValueBox(
            State(
                free: Array(found.segments.dropFirst()),
                needed: [generation],
                generation: generation,
                segments: found.segments.count,
                next: found.next
            )
        )
        directory = found.directory
        self.workers = workers
        self.random = random
        self.publisher = publisher
        self.onFailure = onFailure
        publisher.whenRoom { [weak self] in self?.resume() }
        workers.run(.cutter) { [self] in prepareSpare() }
    }

    /// Whether it has failed, and nothing can be promised any more.
    var isBroken: Bool { state.withLockedValue { $0.isBroken } }

    /// What records are meant to have at most. Octets.
    var recordLimit: Int { min(1 << 20, segmentSize / 4) }

    func commit(_ transaction: SpoolTransaction) {
        let octets = JournalRecord.length(of: transaction.operations)
        let capacity = segmentSize - JournalSegment.start
        guard octets <= capacity else {
            let error = SpoolError.failed("write \(octets) octets to the journal", code: EFBIG)
            if let durable = transaction.durable { workers.callBack { durable(error) } }
            return
        }
        let starts: Bool? = state.withLockedValue { state in
            if state.isBroken { return nil }
            // A batch goes into one segment.
            let isNew = state.pending.last.map { last in
                last.records.readableBytes > batchLimit || last.records.readableBytes + octets > capacity
            }
            if isNew ?? true {
                state.pending.append(Batch())
            }
            let last = state.pending.count - 1
            _ = JournalRecord.append(transaction.operations, to: &state.pending[last].records)
            state.pending[last].transactions.append(transaction)
            guard state.writer == .idle else { return false }
            state.writer = .busy
            return true
        }
        guard let starts else {
            if let durable = transaction.durable { workers.callBack { durable(.broken) } }
            return
        }
        if starts { workers.run(.writer) { [self] in writeAll() } }
    }

    // MARK: The writer's lane

    private func writeAll() {
        while true {
            guard publisher.hasRoom else { return pause(unless: { publisher.hasRoom }) }
            guard let batch = nextBatch() else { return }
            do {
                if batch.records.readableBytes > 0, try !write(batch.records) {
                    requeue(batch)
                    return pause(unless: { state.withLockedValue { $0.spare != nil || $0.isBroken } })
                }
            } catch {
                fail(batch, error)
                return
            }
            let durable = batch.transactions.compactMap(\.durable)
            publisher.publish(batch.transactions, generation: active.header.generation)
            if !durable.isEmpty { workers.callBack { for tell in durable { tell(nil) } } }
        }
    }

    private func nextBatch() -> Batch? {
        state.withLockedValue { state in
            if state.pending.isEmpty {
                state.writer = .idle
                return nil
            }
            return state.pending.removeFirst()
        }
    }

    private func requeue(_ batch: Batch) { state.withLockedValue { $0.pending.insert(batch, at: 0) } }

    private func pause(unless condition: () -> Bool) {
        state.withLockedValue { $0.writer = .paused }
        // It may have become true just before.
        if condition() { resume() }
    }

    /// Lets a writer that was stopped look again.
    private func resume() {
        let starts = state.withLockedValue { state in
            guard state.writer == .paused else { return false }
            state.writer = .busy
            return true
        }
        if starts { workers.run(.writer) { [self] in writeAll() } }
    }

    /// False where there is no segment for it now.
    private func write(_ records: ByteBuffer) throws(SpoolError) -> Bool {
        if isBroken { throw .broken }
        if position + records.readableBytes > active.segment.size, try !switchSegment() { return false }
        var records = records
        JournalRecord.seal(
            &records,
            generation: active.header.generation,
            salt: active.header.salt,
            batchStart: position,
            formerEnd: formerEnd
        )
        try active.segment.write(records, at: position)
        try active.segment.sync()
        position += records.readableBytes
        return true
    }

    private func switchSegment() throws(SpoolError) -> Bool {
        guard let next = try nextSegment() else { return false }
        let full = active
        formerEnd = position
        active = next
        position = JournalSegment.start
        state.withLockedValue { $0.full.append((full.segment, full.header.generation, false)) }
        workers.run(.cutter) { [self] in prepareSpare() }
        cutFull(butLast: Self.kept)
        return true
    }

    /// Has the full segments cut; false where there are none.
    @discardableResult
    private func cutFull(butLast kept: Int) -> Bool {
        let (cut, isAny): ([UInt64], Bool) = state.withLockedValue { state in
            var cut: [UInt64] = []
            for index in state.full.indices.dropLast(kept) where !state.full[index].isBeingCut {
                state.full[index].isBeingCut = true
                cut.append(state.full[index].generation)
            }
            return (cut, !state.full.isEmpty)
        }
        for generation in cut {
            publisher.whenFiled(upTo: generation) { [self] in workers.run(.cutter) { [self] in self.cut(generation) } }
        }
        return isAny
    }

    private func nextSegment() throws(SpoolError) -> (JournalSegment, JournalSegment.Header)? {
        let spare = state.withLockedValue { state in
            defer { state.spare = nil }
            return state.spare
        }
        if let spare { return spare }
        // The cutter may be making one; if it can't, its error is ours.
        do throws(SpoolError) {
            try makeSpare()
        } catch .full {
            // No room for one more: those that there are have to do.
            guard cutFull(butLast: 0) else { throw .full }
        }
        return state.withLockedValue { state in
            defer { state.spare = nil }
            return state.spare
        }
    }

    private func fail(_ batch: Batch, _ error: SpoolError) {
        let lost = state.withLockedValue { state in
            state.isBroken = true
            defer { state.pending = [] }
            return state.pending.flatMap(\.transactions)
        }
        let told = (batch.transactions + lost).compactMap(\.durable)
        workers.callBack { for tell in told { tell(error) } }
        onFailure(error)
    }

    // MARK: The cutter's lane

    /// A full segment whose messages have their files: once those are on stable storage it may be used again.
    private func cut(_ generation: UInt64) {
        do {
            try publisher.files.syncAll()
        } catch {
            fail(Batch(), error)
            return
        }
        state.withLockedValue { state in
            state.needed.removeAll { $0 == generation }
            guard let index = state.full.firstIndex(where: { $0.generation == generation }) else { return }
            state.free.append(state.full.remove(at: index).segment)
        }
        prepareSpare()
        resume()
    }

    private func prepareSpare() {
        guard state.withLockedValue({ $0.spare == nil && !$0.isBroken }) else { return }
        // If it can't be made now, the writer finds out when it needs it.
        try? makeSpare()
        resume()
    }

    /// Does nothing where there is a spare segment, one is being made, or there can't be one until another was cut.
    private func makeSpare() throws(SpoolError) {
        let plan = state.withLockedValue {
            state -> (reused: JournalSegment?, name: String, header: JournalSegment.Header)? in
            if state.spare != nil || state.isMaking || state.isBroken { return nil }
            if state.free.isEmpty, state.segments >= Self.maximumSegments { return nil }
            state.isMaking = true
            state.generation += 1
            let header = JournalSegment.Header(
                generation: state.generation,
                oldest: state.needed.first ?? state.generation,
                salt: random() | 1
            )
            return (state.free.isEmpty ? nil : state.free.removeFirst(), String(state.next), header)
        }
        guard let plan else { return }
        do throws(SpoolError) {
            let segment: JournalSegment
            if let reused = plan.reused {
                segment = reused
            } else {
                segment = try JournalSegment.make(plan.name, in: directory, size: segmentSize, disk: disk)
                state.withLockedValue { state in
                    state.segments += 1
                    state.next += 1
                }
            }
            do throws(SpoolError) {
                try segment.begin(plan.header)
            } catch {
                state.withLockedValue { $0.free.insert(segment, at: 0) }
                throw error
            }
            state.withLockedValue { state in
                state.spare = (segment, plan.header)
                state.needed.append(plan.header.generation)
                state.isMaking = false
            }
        } catch {
            state.withLockedValue { $0.isMaking = false }
            throw error
        }
    }

    // MARK: Ending

    /// Returns when everything that was committed is in its files. Nothing may be committed afterwards.
    func close() async {
        repeat {
            await onLane(.writer)
            await withCheckedContinuation { continuation in publisher.whenTried { continuation.resume() } }
            await onLane(.cutter)
        } while state.withLockedValue { $0.writer == .busy && !$0.isBroken }
        await withCheckedContinuation { continuation in publisher.close { continuation.resume() } }
        let (segments, lost) = state.withLockedValue { state in
            // Nothing that wakes up later may write.
            state.isBroken = true
            defer { state.pending = [] }
            let segments = state.free + state.full.map(\.segment) + (state.spare.map { [$0.segment] } ?? [])
            return (segments, state.pending.flatMap(\.transactions).compactMap(\.durable))
        }
        workers.callBack { for tell in lost { tell(.broken) } }
        for segment in segments { segment.close() }
        active.segment.close()
        disk.close(directory)
    }

    private func onLane(_ lane: SpoolLane) async {
        await withCheckedContinuation { continuation in workers.run(lane) { continuation.resume() } }
    }
}
