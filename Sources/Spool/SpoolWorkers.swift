import NIOCore
import NIOPosix

/// What the spool's work is divided into. The work of one lane is done in order, that of `reader` aside, which has
/// several threads.
package enum SpoolLane: Sendable, CaseIterable {
    /// Writes and syncs the journal.
    case writer
    /// Makes, moves and removes files.
    case publisher
    /// Syncs the file system and prepares segments of the journal.
    case cutter
    /// Reads, and writes large messages as they come.
    case reader
}

/// Who does the spool's work: threads, or a test that decides what happens next.
package protocol SpoolWorkers: Sendable {
    /// Has work done that may block.
    func run(_ lane: SpoolLane, _ work: @escaping @Sendable () -> Void)

    /// Has work done later.
    func run(_ lane: SpoolLane, afterMilliseconds delay: Int64, _ work: @escaping @Sendable () -> Void)

    /// Runs a closure where the spool's user wants to hear of things, such as on its event loop.
    func callBack(_ closure: @escaping @Sendable () -> Void)
}

/// Threads of the spool's own, for the user on an event loop. They stay until the process ends: to end them would go through
/// libdispatch, which a daemon must not wake.
package final class SpoolThreads: SpoolWorkers {
    private let writer = NIOThreadPool(numberOfThreads: 1)
    private let publisher = NIOThreadPool(numberOfThreads: 1)
    private let cutter = NIOThreadPool(numberOfThreads: 1)
    private let reader = NIOThreadPool(numberOfThreads: 4)
    private let loop: any EventLoop

    package init(loop: any EventLoop) {
        self.loop = loop
        for pool in [writer, publisher, cutter, reader] { pool.start() }
    }

    package func run(_ lane: SpoolLane, _ work: @escaping @Sendable () -> Void) {
        pool(lane).submit { _ in work() }
    }

    package func run(_ lane: SpoolLane, afterMilliseconds delay: Int64, _ work: @escaping @Sendable () -> Void) {
        let pool = pool(lane)
        loop.scheduleTask(in: .milliseconds(delay)) { pool.submit { _ in work() } }
    }

    package func callBack(_ closure: @escaping @Sendable () -> Void) { loop.execute(closure) }

    private func pool(_ lane: SpoolLane) -> NIOThreadPool {
        switch lane {
        case .writer: writer
        case .publisher: publisher
        case .cutter: cutter
        case .reader: reader
        }
    }
}
