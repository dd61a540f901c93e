import NIOConcurrencyHelpers
import NIOCore

/// Runs tasks on the thread of an event loop, so that a session's straight-line code and its channel need no hops and
/// no locks between them.
package final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    package init(_ loop: any EventLoop) { self.loop = loop }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }

    private static let known = NIOLockedValueBox<[ObjectIdentifier: LoopExecutor]>([:])

    /// The executor of a loop: always the same one.
    package static func of(_ loop: any EventLoop) -> LoopExecutor {
        known.withLockedValue { known in
            if let executor = known[ObjectIdentifier(loop)] { return executor }
            let executor = LoopExecutor(loop)
            known[ObjectIdentifier(loop)] = executor
            return executor
        }
    }
}
