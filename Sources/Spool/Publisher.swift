import Files
import NIOConcurrencyHelpers
import NIOCore

/// Makes, changes and removes the files of messages that the journal holds safely. What it can't do now (a full disk) it
/// tries again each second; the journal keeps its records meanwhile.
final class Publisher: @unchecked Sendable {
    // Unchecked: `late`, `waiting` and the two behind them belong to the publisher's lane, whose work is done in order.

    private enum Work {
        case operation(SpoolOperation)
        /// The files of a message that was held in memory.
        case filing(MessageID, file: ByteBuffer, lines: ByteBuffer)

        var id: MessageID {
            switch self {
            case .operation(let operation): operation.id
            case .filing(let id, _, _): id
            }
        }
    }

    let files: SpoolFiles
    let unfiled: UnfiledMessages
    private let workers: any SpoolWorkers
    private let onFailure: @Sendable (MessageID, SpoolError) -> Void
    /// Told when there is room again.
    private let onRoom = NIOLockedValueBox<(@Sendable () -> Void)?>(nil)
    /// In the order they came.
    private var late: [Work] = []
    /// What waits until nothing is late.
    private var waiting: [@Sendable () -> Void] = []
    private var isRetryScheduled = false
    private var isClosed = false
    private let ticking = NIOLockedValueBox(false)
    /// Moves that may still be joined by others: nothing else came behind them.
    private let joining = NIOLockedValueBox<Moves?>(nil)
    /// Operations that were not tried yet.
    private let backlog = NIOLockedValueBox(0)

    private static let maximumBacklog = 5000
    private static let retryMilliseconds: Int64 = 1000
    private static let tickMilliseconds: Int64 = 1000
    /// How long a message stays without a file.
    private static let maximumAge: UInt64 = 4

    /// - Parameter onFailure: told when a file could not be made or removed, for the log.
    init(
        files: SpoolFiles,
        unfiled: UnfiledMessages,
        workers: any SpoolWorkers,
        onFailure: @escaping @Sendable (MessageID, SpoolError) -> Void
    ) {
        self.files = files
        self.unfiled = unfiled
        self.workers = workers
        self.onFailure = onFailure
    }

    /// Whether files are made as fast as transactions come: otherwise who sends mail has to wait, not memory.
    var hasRoom: Bool { backlog.withLockedValue { $0 <= Self.maximumBacklog } && !unfiled.isOverfull }

    func whenRoom(_ run: @escaping @Sendable () -> Void) { onRoom.withLockedValue { $0 = run } }

    /// Does what has become durable to the files. Any thread may call.
    func publish(_ transactions: [SpoolTransaction], generation: UInt64) {
        let work = unfiled.record(transactions, generation: generation)
        startTicking()
        guard !work.isEmpty else { return }
        let count = work.operations.count + work.filing.count
        backlog.withLockedValue { $0 += count }
        enqueue { [self] in
            for operation in work.operations { perform(.operation(operation)) }
            file(work.filing)
            backlog.withLockedValue { $0 -= count }
            retryLate()
        }
    }

    private func startTicking() {
        let starts = ticking.withLockedValue { isTicking in
            if isTicking || unfiled.isEmpty { return false }
            isTicking = true
            return true
        }
        if starts { scheduleTick() }
    }

    private func scheduleTick() {
        workers.run(.publisher, afterMilliseconds: Self.tickMilliseconds) { [weak self] in self?.tick() }
    }

    private func tick() {
        if isClosed { return }
        file(unfiled.tick(age: Self.maximumAge))
        retryLate()
        let isOver = ticking.withLockedValue { isTicking in
            isTicking = !unfiled.isEmpty
            return !isTicking
        }
        if !isOver { scheduleTick() }
    }

    /// Runs the closure on the publisher's lane once the messages of all segments up to this one have their files, and
    /// everything that was published before was done.
    func whenFiled(upTo generation: UInt64, _ run: @escaping @Sendable () -> Void) {
        enqueue { [self] in
            file(unfiled.ids(upTo: generation))
            waiting.append(run)
            retryLate()
        }
    }

    /// Runs the closure on the publisher's lane once everything so far has been tried.
    func whenTried(_ run: @escaping @Sendable () -> Void) {
        enqueue { [self] in
            file(unfiled.ids(upTo: .max))
            retryLate()
            run()
        }
    }

    /// Does nothing more; runs the closure on the publisher's lane then.
    func close(_ run: @escaping @Sendable () -> Void) {
        enqueue { [self] in
            isClosed = true
            late = []
            waiting = []
            run()
        }
    }

    /// Runs the closure on the publisher's lane behind everything so far.
    func whenIdle(_ work: @escaping @Sendable () -> Void) { enqueue(work) }

    /// Does work behind everything so far, moves included.
    private func enqueue(_ work: @escaping @Sendable () -> Void) {
        workers.run(.publisher, work)
        // Whoever hears of this is behind it.
        joining.withLockedValue { $0 = nil }
    }

    /// Moves into one area that share what is waited for.
    private final class Moves: Sendable {
        struct Move {
            let id: MessageID
            let done: @Sendable (SpoolError?) -> Void
        }

        let area: SpoolFiles.Area
        let all: NIOLockedValueBox<[Move]>

        init(_ first: Move, to area: SpoolFiles.Area) {
            self.area = area
            all = NIOLockedValueBox([first])
        }
    }

    /// Moves a message's file, which is made where there is none yet. On stable storage when the closure is called, on
    /// the publisher's lane.
    func move(_ id: MessageID, to area: SpoolFiles.Area, _ done: @escaping @Sendable (SpoolError?) -> Void) {
        let move = Moves.Move(id: id, done: done)
        let fresh: Moves? = joining.withLockedValue { joining in
            if let moves = joining, moves.area == area {
                moves.all.withLockedValue { $0.append(move) }
                return nil
            }
            let moves = Moves(move, to: area)
            joining = moves
            return moves
        }
        guard let fresh else { return }
        workers.run(.publisher) { [self] in
            // Whoever comes now is the first of others.
            joining.withLockedValue { if $0 === fresh { $0 = nil } }
            perform(fresh.all.withLockedValue { $0 }, to: area)
        }
    }

    // MARK: On the publisher's lane

    /// Makes moves, then waits once for each directory that they changed.
    private func perform(_ moves: [Moves.Move], to area: SpoolFiles.Area) {
        var results: [Result<SpoolFiles.Area, SpoolError>] = []
        var synced: [SpoolFiles.Directory: SpoolError?] = [:]
        func sync(_ directories: [SpoolFiles.Directory]) -> SpoolError? {
            var failure: SpoolError?
            for directory in directories {
                if synced[directory] == nil {
                    do throws(SpoolError) {
                        try files.sync(directory)
                        synced[directory] = .some(nil)
                    } catch {
                        synced[directory] = .some(error)
                    }
                }
                failure = failure ?? synced[directory] ?? nil
            }
            return failure
        }
        for move in moves {
            do throws(SpoolError) { results.append(.success(try rename(move.id, to: area))) } catch {
                results.append(.failure(error))
            }
        }
        // New names first: a power failure that takes the old ones must not leave none.
        var failures = zip(moves, results).map { move, result -> SpoolError? in
            switch result {
            case .success: sync(files.directories(area, of: move.id))
            case .failure(let error): error
            }
        }
        for (index, result) in results.enumerated() where failures[index] == nil {
            if case .success(let from) = result { failures[index] = sync(files.directories(from, of: moves[index].id)) }
        }
        for (move, failure) in zip(moves, failures) { move.done(failure) }
    }

    /// Moves a message's file, not yet for good.
    ///
    /// - Returns: where it was.
    private func rename(_ id: MessageID, to area: SpoolFiles.Area) throws(SpoolError) -> SpoolFiles.Area {
        if isClosed { throw .broken }
        if let (file, lines) = unfiled.beginFiling(id) {
            let work = Work.filing(id, file: file, lines: lines)
            if let error = attempt(work) {
                late.append(work)
                scheduleRetry()
                throw error
            }
        }
        if late.contains(where: { $0.id == id }) { throw .full }
        let from: SpoolFiles.Area
        if try files.exists(.queue, id) {
            from = .queue
        } else if try files.exists(.hold, id) {
            from = .hold
        } else {
            throw .missing
        }
        // What was made without a sync of its own needs one before its record in the journal may be given up.
        if from != area { try files.rename(id, from: from, to: area) }
        // Its directories are synced also where nothing is to be moved: an earlier move may have failed after the rename.
        return from
    }

    private func file(_ ids: [MessageID]) {
        for id in ids {
            guard let (file, lines) = unfiled.beginFiling(id) else { continue }
            perform(.filing(id, file: file, lines: lines))
        }
    }

    /// Behind what is late for the same message, everything is.
    private func perform(_ work: Work) {
        if case .operation(.done(let id)) = work {
            let isFiling = late.contains { $0.id == id }
            if isFiling { late.removeAll { $0.id == id } }
        }
        if isClosed { return }
        if late.contains(where: { $0.id == work.id }) || attempt(work) != nil { late.append(work) }
    }

    /// Why it has to be tried again; nil where it was done, or need not be.
    private func attempt(_ work: Work, isRetry: Bool = false) -> SpoolError? {
        do throws(SpoolError) {
            switch work {
            case .operation(let operation): try files.apply(operation, again: isRetry)
            case .filing(let id, let file, let lines):
                try files.create(.queue, id, file)
                if lines.readableBytes > 0 { try files.apply(.state(id, lines: lines), again: isRetry) }
                unfiled.filed(id)
            }
            return nil
        } catch {
            if !isRetry { onFailure(work.id, error) }
            switch work {
            // Another attempt at worst.
            case .operation(.note): return nil
            case .operation, .filing: return error
            }
        }
    }

    private func retryLate() {
        if isClosed { return }
        while let first = late.first {
            guard attempt(first, isRetry: true) == nil else {
                scheduleRetry()
                break
            }
            late.removeFirst()
        }
        if late.isEmpty {
            let run = waiting
            waiting = []
            for closure in run { closure() }
        }
        if hasRoom, let tell = onRoom.withLockedValue({ $0 }) { tell() }
    }

    private func scheduleRetry() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        workers.run(.publisher, afterMilliseconds: Self.retryMilliseconds) { [weak self] in
            self?.isRetryScheduled = false
            self?.retryLate()
        }
    }
}
