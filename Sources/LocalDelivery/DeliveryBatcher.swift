import Mailbox
import NIOCore
import NIOPosix
import Network

/// Collects deliveries while the disk is busy and gives them to the next free thread together. Belongs to one event loop.
final class DeliveryBatcher: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.

    private struct Job {
        let delivery: Delivery
        let isWanted: () -> Bool
        let done: CheckedContinuation<Result<Void, MailboxError>?, Never>
    }

    private let deliverer: MailDeliverer
    private let pool: NIOThreadPool
    /// For slow deliveries, which must not hold up the others: into an mbox, which may be large, or of a message that is still
    /// arriving in pieces. Mailboxes have their turns in it.
    private let slowPool: BlockingPool
    private let eventLoop: any EventLoop
    private let maximumBatch: Int
    /// Batches at the same time. One: while it waits for the disk, the next one grows.
    private static let maximumRunning = 1
    private var waiting: [Job] = []
    private var running = 0
    private var isScheduled = false
    /// Waiters for each mbox with a delivery in progress, in order of arrival.
    private var mboxes: [MailboxLocation: [CheckedContinuation<Void, Never>]] = [:]

    init(
        deliverer: MailDeliverer,
        pool: NIOThreadPool,
        slowPool: BlockingPool,
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
    func deliver(_ delivery: Delivery, isWanted: @escaping () -> Bool) async -> Result<Void, MailboxError>? {
        eventLoop.assertInEventLoop()
        if delivery.location.format == .mbox { return await deliver(toMbox: delivery, isWanted: isWanted) }
        return await withCheckedContinuation { continuation in
            waiting.append(Job(delivery: delivery, isWanted: isWanted, done: continuation))
            schedule()
        }
    }

    /// Delivers what nobody else should wait for, one after the other.
    func deliverApart(_ deliveries: [Delivery]) async -> [Result<Void, MailboxError>] {
        eventLoop.assertInEventLoop()
        var results: [Result<Void, MailboxError>] = []
        for delivery in deliveries {
            let result: Result<Void, MailboxError>? =
                switch delivery.location.format {
                case .maildir, .maildirTree: await deliverSlowly(delivery)
                case .mbox: await deliver(toMbox: delivery, isWanted: { true })
                }
            results.append(result ?? Self.failure)
        }
        return results
    }

    /// One delivery per mbox at a time. While another program has it locked, a timer waits, not a thread.
    private func deliver(toMbox delivery: Delivery, isWanted: () -> Bool) async -> Result<Void, MailboxError>? {
        var wait = BusyWait()
        await enter(delivery.location)
        defer { leave(delivery.location) }
        while isWanted() {
            let result = await deliverSlowly(delivery)
            guard case .failure(.busy) = result, let pause = wait.next() else { return result }
            await eventLoop.pause(pause)
        }
        return nil
    }

    private func enter(_ mbox: MailboxLocation) async {
        guard mboxes[mbox] != nil else { return mboxes[mbox] = [] }
        await withCheckedContinuation { mboxes[mbox]?.append($0) }
    }

    private func leave(_ mbox: MailboxLocation) {
        guard let next = mboxes[mbox]?.first else { return mboxes[mbox] = nil }
        mboxes[mbox]?.removeFirst()
        next.resume()
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
        start(batch.map(\.delivery), on: pool).assumeIsolated().whenSuccess { [self] results in
            running -= 1
            for (job, result) in zip(batch, results) { job.done.resume(returning: result) }
            if !waiting.isEmpty { schedule() }
        }
    }

    private func deliverSlowly(_ delivery: Delivery) async -> Result<Void, MailboxError> {
        let deliverer = deliverer
        let results = await slowPool.line(delivery.location.path).run { deliverer.deliver([delivery]) }
        return results.first ?? Self.failure
    }

    private func start(
        _ deliveries: [Delivery],
        on pool: NIOThreadPool
    ) -> EventLoopFuture<[Result<Void, MailboxError>]> {
        let deliverer = deliverer
        return pool.runIfActive(eventLoop: eventLoop) { deliverer.deliver(deliveries) }
            .recover { _ in deliveries.map { _ in Self.failure } }
    }

    /// The pool has ended.
    private static let failure = Result<Void, MailboxError>.failure(.system("deliver", 0))
}
