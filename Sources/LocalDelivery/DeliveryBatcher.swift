import Mailbox
import NIOCore
import NIOPosix

/// Collects deliveries while the disk is busy and gives them to the next free thread together. Belongs to one event loop.
final class DeliveryBatcher: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.

    /// Looks at a message before it's delivered; true where it must not be. Runs on the pool.
    typealias Check = @Sendable () throws(MailboxError) -> Bool
    /// Whether the message was delivered; false where the check was against it.
    typealias Outcome = Result<Bool, MailboxError>

    private struct Job {
        let delivery: Delivery
        let check: Check
        let done: CheckedContinuation<Outcome, Never>
    }

    private let deliverer: MailDeliverer
    private let pool: NIOThreadPool
    /// For mboxes, whose locks others may hold for long: Maildirs never wait for them.
    private let mboxPool: NIOThreadPool
    let eventLoop: any EventLoop
    private let maximumBatch: Int
    /// Batches at the same time. One: while it waits for the disk, the next one grows.
    private static let maximumRunning = 1
    private var waiting: [Job] = []
    private var running = 0
    private var isScheduled = false

    init(
        deliverer: MailDeliverer,
        pool: NIOThreadPool,
        mboxPool: NIOThreadPool,
        loop: any EventLoop,
        maximumBatch: Int
    ) {
        self.deliverer = deliverer
        self.pool = pool
        self.mboxPool = mboxPool
        eventLoop = loop
        self.maximumBatch = maximumBatch
    }

    /// Returns when the message is on stable storage in the mailbox, or is not in it.
    func deliver(_ delivery: Delivery, unless check: @escaping Check) async -> Outcome {
        if delivery.location.format == .mbox { return await alone(delivery, check) }
        return await withCheckedContinuation { continuation in
            waiting.append(Job(delivery: delivery, check: check, done: continuation))
            schedule()
        }
    }

    /// An mbox may be locked for long: nobody else waits for it.
    private func alone(_ delivery: Delivery, _ check: @escaping Check) async -> Outcome {
        let deliverer = deliverer
        let outcomes = try? await mboxPool.runIfActive(eventLoop: eventLoop) {
            Self.deliver([(delivery, check)], deliverer)
        }.get()
        return outcomes?.first ?? .failure(.system("deliver", 0))
    }

    private static func deliver(_ work: [(delivery: Delivery, check: Check)], _ deliverer: MailDeliverer) -> [Outcome] {
        let checks = work.map { work in Result { () throws(MailboxError) in try work.check() } }
        let wanted = work.indices.filter { checks[$0] == .success(false) }
        var outcomes = checks.map { check in check.map { !$0 } }
        for (index, result) in zip(wanted, deliverer.deliver(wanted.map { work[$0].delivery })) {
            outcomes[index] = result.map { true }
        }
        return outcomes
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
        let work = batch.map { (delivery: $0.delivery, check: $0.check) }
        pool.runIfActive(eventLoop: eventLoop) { Self.deliver(work, deliverer) }
            .assumeIsolated()
            .whenComplete { [self] result in
                running -= 1
                let outcomes = (try? result.get()) ?? batch.map { _ in .failure(.system("deliver", 0)) }
                for (job, outcome) in zip(batch, outcomes) { job.done.resume(returning: outcome) }
                if !waiting.isEmpty { schedule() }
            }
    }
}
