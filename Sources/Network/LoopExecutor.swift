import DequeModule
import NIOConcurrencyHelpers
import NIOCore

/// Runs tasks on the thread of an event loop, so that a session's straight-line code and its channel need no hops and
/// no locks between them.
package final class LoopExecutor: TaskExecutor, @unchecked Sendable {
    // Unchecked: `ready` and the two behind it belong to the loop's thread, which debug builds check at every way in.

    private let loop: any EventLoop
    /// In the order they came.
    private var ready: Deque<UnownedJob> = []
    /// Jobs are being run, or will be when `perform` is over.
    private var isRunning = false
    private var isScheduled = false

    package init(_ loop: any EventLoop) { self.loop = loop }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if loop.inEventLoop {
            add(job)
        } else {
            loop.execute { [self] in perform { ready.append(job) } }
        }
    }

    /// Does what makes tasks ready, and runs these before it returns: no turn of the loop lies between octets that arrived
    /// and the session that waits for them.
    func perform(_ body: () -> Void) {
        loop.assertInEventLoop()
        guard !isRunning else { return body() }
        isRunning = true
        body()
        runReady()
        isRunning = false
        if !ready.isEmpty { schedule() }
    }

    private func add(_ job: UnownedJob) {
        loop.assertInEventLoop()
        ready.append(job)
        if !isRunning { schedule() }
    }

    private func schedule() {
        guard !isScheduled else { return }
        isScheduled = true
        loop.execute { [self] in
            isScheduled = false
            perform {}
        }
    }

    /// Those that are ready now. What they make ready comes behind what the loop has to run; its sockets come behind both
    /// (`EventLoop.letOthersGo`).
    private func runReady() {
        var left = ready.count
        while left > 0, let job = ready.popFirst() {
            left -= 1
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
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
