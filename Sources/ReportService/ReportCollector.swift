import Bus
import CoreMetrics
import DequeModule
import Files
import Logging
import NIOCore
import Network
import Reporting
import SMTP

/// Takes results in and writes them down: one write for all that wait. Belongs to one event loop.
package final class ReportCollector: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Rows of one day that are to be written together, and who waits for that.
    private struct Batch {
        var day: ReportDay
        var rows = ByteBuffer()
        var waiting: [(connection: Connection, tag: String?)] = []
    }

    private let store: ReportStore
    private let pool: BlockingPool
    private let loop: any EventLoop
    private let logger: Logger
    private let maximum: Int
    private let now: @Sendable () -> Int
    private var day: ReportDay
    private var totals: ReportTotals
    /// Of the day's file. Octets.
    private var length = 0
    private var batches: Deque<Batch> = []
    private var isWriting = false
    /// The day of the file whose length is known.
    private var written: ReportDay?
    /// What the log says already of room that is used up.
    private var excesses: Set<ReportTotals.Excess> = []
    /// Lines of a day about that.
    private static let maximumExcesses = 100
    private let results = Counter(label: "results")
    private let dropped = Counter(label: "results-dropped")

    /// - Parameters:
    ///   - maximum: octets of all rows of a day.
    ///   - now: seconds since 1970.
    init(
        _ store: ReportStore,
        maximum: Int,
        pool: BlockingPool,
        on loop: any EventLoop,
        logger: Logger,
        now: @escaping @Sendable () -> Int
    ) {
        self.store = store
        self.pool = pool
        self.loop = loop
        self.logger = logger
        self.maximum = maximum
        self.now = now
        day = ReportDay(of: now())
        totals = ReportTotals(maximum: maximum)
    }

    /// Takes up what was counted today before the last end.
    func start() async throws(FileError) {
        loop.assertInEventLoop()
        try await open(day)
    }

    /// Goes on with a day's file. There is one already after a new start, and where the clock was wrong.
    private func open(_ next: ReportDay) async throws(FileError) {
        let (store, maximum) = (store, maximum)
        let known = try await pool.run { () throws(FileError) in
            try store.results(of: next, maximum: maximum, mending: true)
        }
        written = next
        length = known.octets
        guard known.octets > 0, next == day else { return }
        var all = known.totals
        all.add(contentsOf: totals)
        totals = all
    }

    /// Answers a frame once it's written.
    func take(_ frame: Frame, _ connection: Connection) {
        loop.assertInEventLoop()
        guard let result = try? ReportedResult(frame) else {
            connection.write(Frame.reply(.reject, status: .invalidCommand, text: "not a result", tag: frame["tag"]))
            return
        }
        results.increment()
        let today = ReportDay(of: now())
        // A clock that goes back a little doesn't open what was closed; one that was far ahead is followed.
        if today > day || day.number - today.number > 1 { begin(today) }
        if let excess = totals.add(result) {
            drop(excess)
            connection.write(Frame.ok(tag: frame["tag"]))
            return
        }
        if batches.last?.day != day { batches.append(Batch(day: day)) }
        let last = batches.count - 1
        batches[last].rows.writeImmutableBuffer(ReportTotals.encoded(result))
        batches[last].waiting.append((connection, frame["tag"]))
        write()
    }

    /// What was counted before is in its day's file, or about to be.
    private func begin(_ today: ReportDay) {
        day = today
        totals = ReportTotals(maximum: maximum)
        excesses = []
    }

    private func drop(_ excess: ReportTotals.Excess) {
        dropped.increment()
        guard excesses.count < Self.maximumExcesses, excesses.insert(excess).inserted else { return }
        switch excess {
        case .all: logger.warning("no room for more results today", metadata: ["day": "\(day.name)"])
        case .share(let origin):
            logger.warning(
                "no room for more results of one origin today",
                metadata: ["day": "\(day.name)", "origin": "\(origin)"]
            )
        }
    }

    private func write() {
        guard !isWriting else { return }
        isWriting = true
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            while let batch = batches.popFirst() { await write(batch) }
            isWriting = false
        }
    }

    private func write(_ batch: Batch) async {
        do throws(FileError) {
            if written != batch.day { try await open(batch.day) }
            let (store, length) = (store, length)
            try await pool.run { () throws(FileError) in try store.append(batch.rows, to: batch.day, length: length) }
            self.length += batch.rows.readableBytes
            answer(batch)
        } catch {
            logger.error("results can't be written", metadata: ["reason": "\(error)"])
            answer(batch, isWritten: false)
        }
        if written == day, length > ReportStore.maximumFile(rows: totals.octets) { await compact() }
    }

    private func answer(_ batch: Batch, isWritten: Bool = true) {
        for (connection, tag) in batch.waiting {
            connection.write(isWritten ? Frame.ok(tag: tag) : .reply(.defer, status: .systemTrouble, tag: tag))
            connection.flushSoon()
        }
    }

    /// Writes the day's rows anew, each once. Those that wait are among them.
    private func compact() async {
        let (store, day, totals) = (store, day, totals)
        let covered = batches
        batches = []
        do throws(FileError) {
            length = try await pool.run { () throws(FileError) in try store.replace(day, by: totals) }
            for batch in covered { answer(batch) }
        } catch {
            logger.error("results can't be written anew", metadata: ["reason": "\(error)"])
            batches = covered + batches
        }
    }
}
