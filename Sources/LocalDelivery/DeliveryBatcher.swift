import Mailbox
import NIOCore
import NIOPosix

/// Collects deliveries while the disk is busy and gives them to the next free thread together. Belongs to one event loop.
final class DeliveryBatcher: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.

    typealias Outcome = Result<Void, MailboxError>

    private struct Job {
        let delivery: Delivery
        let isWanted: () -> Bool
        let done: CheckedContinuation<Outcome?, Never>
    }

    private let deliverer: MailDeliverer
    private let pool: NIOThreadPool
    /// For deliveries that may wait for others: for the lock of an mbox, for the pieces of a large message.
    private let slowPool: NIOThreadPool
    private let eventLoop: any EventLoop
    private let maximumBatch: Int
    /// Batches at the same time. One: while it waits for the disk, the next one grows.
    private static let maximumRunning = 1
    private var waiting: [Job] = []
    private var running = 0
    private var isScheduled = false

    init(
        deliverer: MailDeliverer,
        pool: NIOThreadPool,
        slowPool: NIOThreadPool,
        loop: any EventLoop,
        maximumBatch: Int
    ) {
        self.deliverer = deliverer
        self.pool = pool
        self.slowPool = slowPool
        eventLoop = loop
        self.maximumBatch = maximumBatch
    }

    /// Delivers a message that is in memory. Returns when it is on stable storage in the mailbox, or is not in it.
    ///
    /// - Parameter isWanted: asked right before the work begins.
    /// - Returns: nil where it was not wanted any more and nothing was done.
    func deliver(_ delivery: Delivery, isWanted: @escaping () -> Bool) async -> Outcome? {
        eventLoop.assertInEventLoop()
        // An mbox may be locked for long: nobody else waits for it.
        if delivery.location.format == .mbox { return await deliverApart([delivery]).first }
        return await withCheckedContinuation { continuation in
            waiting.append(Job(delivery: delivery, isWanted: isWanted, done: continuation))
            schedule()
        }
    }

    /// Delivers what nobody else should wait for, one after the other.
    func deliverApart(_ deliveries: [Delivery]) async -> [Outcome] {
        eventLoop.assertInEventLoop()
        return (try? await run(deliveries, on: slowPool).get()) ?? Self.failed(deliveries)
    }

    /// At the end of this turn of the loop: requests that arrived together are delivered together.
    private func schedule() {
        guard !isScheduled, running < Self.maximumRunning else { return }
        isScheduled = true
        eventLoop.execute { [self] in
            isScheduled = false
            runBatch()
        }
    }

    private func runBatch() {
        guard !waiting.isEmpty, running < Self.maximumRunning else { return }
        var batch: [Job] = []
        var index = 0
        while index < waiting.count, batch.count < maximumBatch {
            let job = waiting[index]
            index += 1
            if job.isWanted() { batch.append(job) } else { job.done.resume(returning: nil) }
        }
        waiting.removeFirst(index)
        guard !batch.isEmpty else { return }
        running += 1
        run(batch.map(\.delivery), on: pool).assumeIsolated().whenSuccess { [self] outcomes in
            running -= 1
            for (job, outcome) in zip(batch, outcomes) { job.done.resume(returning: outcome) }
            if !waiting.isEmpty { schedule() }
        }
    }

    /// The one way from the loop to the disk.
    private func run(_ deliveries: [Delivery], on pool: NIOThreadPool) -> EventLoopFuture<[Outcome]> {
        let deliverer = deliverer
        return pool.runIfActive(eventLoop: eventLoop) { deliverer.deliver(deliveries) }
            .recover { _ in Self.failed(deliveries) }
    }

    /// The pool has ended.
    private static func failed(_ deliveries: [Delivery]) -> [Outcome] {
        deliveries.map { _ in .failure(.system("deliver", 0)) }
    }
}
