import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// Makes the files in the spool from transactions that the journal holds safely, on a thread of its own.
final class Publisher: @unchecked Sendable {
    // Unchecked: `late` and `waiting` belong to the thread.

    let files: SpoolFiles
    private let thread = NIOThreadPool(numberOfThreads: 1)
    private let callBack: Spool.CallBack
    /// Messages whose files could not be made for now; the journal keeps them meanwhile.
    private var late: [(transaction: SpoolTransaction, operations: [SpoolOperation])] = []
    /// What waits until nothing is late.
    private var waiting: [@Sendable () -> Void] = []
    private var isRetryScheduled = false
    /// Transactions that were not tried yet.
    private let backlog = NIOLockedValueBox(0)
    private static let maximumBacklog = 1000

    init(files: SpoolFiles, callBack: @escaping Spool.CallBack) {
        self.files = files
        self.callBack = callBack
        thread.start()
    }

    /// Blocks while files are made more slowly than transactions come: who sends mail has to wait then, not memory.
    func waitForRoom() {
        while backlog.withLockedValue({ $0 > Self.maximumBacklog }) { usleep(200) }
    }

    func publish(_ transactions: [SpoolTransaction]) {
        backlog.withLockedValue { $0 += transactions.count }
        thread.submit { [self] _ in
            defer { backlog.withLockedValue { $0 -= transactions.count } }
            var applied: [@Sendable () -> Void] = []
            for transaction in transactions {
                let failed = transaction.operations.filter { !apply($0) }
                if !failed.isEmpty {
                    late.append((transaction, failed))
                } else if let tell = transaction.applied {
                    applied.append(tell)
                }
            }
            if !applied.isEmpty { callBack { [applied] in for tell in applied { tell() } } }
            retryLate()
        }
    }

    /// Runs the closure on the thread once everything so far has been published.
    func whenPublished(_ run: @escaping @Sendable () -> Void) {
        thread.submit { [self] _ in
            if late.isEmpty { run() } else { waiting.append(run) }
        }
    }

    /// Runs the closure on the thread once everything so far has been tried.
    func whenWritten(_ run: @escaping @Sendable () -> Void) {
        thread.submit { _ in run() }
    }

    /// Whether it was done. What is removed needs no space; lines that could not be written cost another attempt
    /// at worst, or are in the journal.
    private func apply(_ operation: SpoolOperation) -> Bool {
        if case .done(let id) = operation, !late.isEmpty {
            for index in late.indices { late[index].operations.removeAll { $0.id == id } }
        }
        do {
            try files.apply(operation)
        } catch {
            switch operation {
            case .put, .state: return false
            case .note, .done: return true
            }
        }
        return true
    }

    /// In the order they came.
    private func retryLate() {
        while let first = late.first {
            var entry = first
            entry.operations.removeAll { apply($0) }
            if !entry.operations.isEmpty {
                late[0] = entry
                scheduleRetry()
                return
            }
            late.removeFirst()
            if let tell = entry.transaction.applied { callBack(tell) }
        }
        let waiting = waiting
        self.waiting = []
        for run in waiting { run() }
    }

    private func scheduleRetry() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: .seconds(1)) { [weak self] in
            self?.thread.submit { [self] _ in
                self?.isRetryScheduled = false
                self?.retryLate()
            }
        }
    }

    func close() async { await thread.drain() }
}

extension SpoolFiles {
    /// Does to the files what an operation says. Doing it again changes nothing but the times of files.
    func apply(_ operation: SpoolOperation) throws(SpoolError) {
        switch operation {
        case .put(let id, let file): try create(.queue, id, file)
        case .state(let id, let lines), .note(let id, let lines): try append(.state, id, lines)
        case .done(let id):
            remove(.state, id)
            remove(.queue, id)
            remove(.hold, id)
        }
    }
}
