import Mailbox
import NIOCore
import NIOPosix

/// Collects deliveries while the disk is busy and gives them to the next free thread together. Belongs to one event loop.
final class DeliveryBatcher: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private typealias Job = (delivery: Delivery, done: CheckedContinuation<Result<Void, MailboxError>, Never>)

    private let deliverer: MailDeliverer
    private let pool: NIOThreadPool
    let eventLoop: any EventLoop
    private let maximumBatch: Int
    /// Batches at the same time. Two, so that one can be written while the other waits for the disk.
    private static let maximumRunning = 2
    private var waiting: [Job] = []
    private var running = 0
    private var isScheduled = false

    init(deliverer: MailDeliverer, pool: NIOThreadPool, loop: any EventLoop, maximumBatch: Int) {
        self.deliverer = deliverer
        self.pool = pool
        eventLoop = loop
        self.maximumBatch = maximumBatch
    }

    /// Returns when the message is on stable storage in the mailbox, or is not in it.
    func deliver(_ delivery: Delivery) async -> Result<Void, MailboxError> {
        if delivery.location.format == .mbox { return await alone(delivery) }
        return await withCheckedContinuation { continuation in
            waiting.append((delivery, continuation))
            schedule()
        }
    }

    /// An mbox may be locked for long: nobody else waits for it.
    private func alone(_ delivery: Delivery) async -> Result<Void, MailboxError> {
        let deliverer = deliverer
        let results = try? await pool.runIfActive(eventLoop: eventLoop) { deliverer.deliver([delivery]) }.get()
        return results?.first ?? .failure(.system("deliver", 0))
    }

    /// At the end of this turn of the loop: requests that arrived together are delivered together.
    private func schedule() {
        guard !isScheduled, running < Self.maximumRunning else { return }
        isScheduled = true
        eventLoop.execute { [self] in
            isScheduled = false
            run()
        }
    }

    private func run() {
        guard !waiting.isEmpty, running < Self.maximumRunning else { return }
        let batch = Array(waiting.prefix(maximumBatch))
        waiting.removeFirst(batch.count)
        running += 1
        let deliverer = deliverer
        let deliveries = batch.map(\.delivery)
        pool.runIfActive(eventLoop: eventLoop) { deliverer.deliver(deliveries) }
            .assumeIsolated()
            .whenComplete { [self] result in
                running -= 1
                let results = (try? result.get()) ?? deliveries.map { _ in .failure(.system("deliver", 0)) }
                for (job, result) in zip(batch, results) { job.done.resume(returning: result) }
                if !waiting.isEmpty { schedule() }
            }
    }
}
