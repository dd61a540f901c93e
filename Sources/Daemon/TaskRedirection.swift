import CLinux
import NIOCore
import Network

/// Runs tasks that prefer no executor on an event loop: a daemon has no libdispatch threads, which could not live without
/// /proc (`CLinux_redirect_tasks`).
enum TaskRedirection {
    // Unsafe: written once, before the first task.
    nonisolated(unsafe) private static var loop: (any EventLoop)?

    static func install(on loop: any EventLoop) {
        self.loop = loop
        CLinux_redirect_tasks { job in
            guard let job, let loop = TaskRedirection.loop else { return }
            TaskRedirection.run(Job(address: job), on: loop, in: nil)
        } _: { job, nanoseconds in
            guard let job, let loop = TaskRedirection.loop else { return }
            TaskRedirection.run(Job(address: job), on: loop, in: .nanoseconds(nanoseconds))
        }
    }

    /// A job of the runtime by its address.
    private struct Job: @unchecked Sendable {
        // Unchecked: it's run once, by the one who gets it.
        let address: UnsafeMutableRawPointer
    }

    private static func run(_ job: Job, on loop: any EventLoop, in delay: TimeAmount?) {
        let run: @Sendable () -> Void = {
            let job = unsafeBitCast(job.address, to: UnownedJob.self)
            job.runSynchronously(on: LoopExecutor.of(loop).asUnownedTaskExecutor())
        }
        if let delay {
            loop.scheduleTask(in: delay, run)
        } else {
            loop.execute(run)
        }
    }
}
