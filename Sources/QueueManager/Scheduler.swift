import Bus
import DequeModule
import HeapModule
import Logging
import NIOCore
import NIOPosix
import Network
import SMTP
import Spool

/// Decides what is delivered when. Belongs to one event loop; every call must come from its thread.
///
/// Jobs that are due stand in the line of their destination; destinations that have such jobs, room and no rest to keep
/// stand in the scheduler's line and are served in turn. Jobs and destinations that wait for a time lie in a heap.
package final class Scheduler: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.

    struct Alarm: Comparable {
        let time: Int64
        let event: Event

        enum Event {
            case job(DeliveryJob)
            case destination(Destination)
        }

        static func < (left: Alarm, right: Alarm) -> Bool { left.time < right.time }
        static func == (left: Alarm, right: Alarm) -> Bool { left.time == right.time }
    }

    let settings: QueueSettings
    let spool: Spool
    let loop: any EventLoop
    let clock: QueueClock
    let log: QueueLog
    var counters = QueueCounters()
    var table = MessageTable()
    var origins = OriginIndex()
    /// Of messages that are being received.
    var comingOrigins: Set<String> = []
    /// Messages that came since the start, in the directories of the spool that are still to be read: they are known,
    /// although their files are found there.
    private var arrivals: Set<MessageID> = []
    /// Those directories.
    private var unreadShards = Set(0..<MessageID.shards)
    var destinations: [String: Destination] = [:]
    /// Deliveries that are going on.
    var active = 0
    private var line: Deque<Destination> = []
    private var alarms = Heap<Alarm>()
    private var timer: (time: Int64, task: Scheduled<Void>)?
    private var isPumpScheduled = false
    private var cachedEnvelopes = 0
    private(set) var isClosed = false
    private lazy var localLink = link(settings.deliverSocket)
    private lazy var remoteLink = link(settings.relaySocket)
    let backoff: Backoff

    package init(settings: QueueSettings, spool: Spool, loop: any EventLoop, clock: QueueClock, logger: Logger) {
        self.settings = settings
        self.spool = spool
        self.loop = loop
        self.clock = clock
        log = QueueLog(logger)
        backoff = Backoff(minimum: settings.retryMinimum, maximum: settings.retryMaximum)
    }

    private func link(_ path: String) -> DelivererLink {
        DelivererLink(path: path, on: loop, logger: log.logger) { [weak self] in self?.returned() }
    }

    private func returned() {
        for destination in destinations.values { enterLine(destination) }
        pump()
    }

    /// Gives nothing to deliverers any more.
    func close() {
        isClosed = true
        timer?.task.cancel()
        localLink.close()
        remoteLink.close()
    }

    // MARK: Messages come

    /// A message is about to be put into the spool.
    func announce(_ id: MessageID) {
        if unreadShards.contains(id.shard) { arrivals.insert(id) }
    }

    /// Whether a message whose file was found came since the start.
    func hasArrived(_ id: MessageID) -> Bool { arrivals.contains(id) }

    /// All that was in a directory of the spool at the start is known.
    func shardWasRead(_ shard: Int) {
        unreadShards.remove(shard)
        if unreadShards.isEmpty { arrivals = [] }
    }

    /// What is still to be read takes long: only what may be found there is kept in mind.
    func forgetArrivalsElsewhere() { arrivals = arrivals.filter { unreadShards.contains($0.shard) } }

    /// Takes a message in whose file is in the spool.
    ///
    /// - Parameter state: what happened to it so far, as far as it's not new.
    func add(_ head: QueueFileHead, state: [StateEntry] = [], isHeld: Bool = false, isNew: Bool) {
        guard table[head.envelope.id] == nil else { return }
        let message = QueuedMessage(head)
        let progress = MessageProgress(state)
        message.isHeld = isHeld
        message.isWarned = progress.isWarned
        makeJobs(of: message, head.envelope, progress, mayBeKnown: !isNew)
        if message.jobs.isEmpty {
            // Everything had its result, and a power failure took the note that it may go.
            spool.commit([.done(message.id)])
            return
        }
        table.insert(message)
        if let origin = message.origin { origins.insert(origin, message.id) }
        if isNew, cachedEnvelopes < settings.cachedEnvelopes {
            cachedEnvelopes += 1
            message.envelope = head.envelope
        }
        if !isHeld { for job in message.jobs { schedule(job) } }
        schedulePump()
    }

    func makeJobs(
        of message: QueuedMessage,
        _ envelope: MessageEnvelope,
        _ progress: MessageProgress,
        mayBeKnown: Bool
    ) {
        message.jobs = []
        var open: [String: DeliveryJob] = [:]
        for (index, recipient) in envelope.recipients.enumerated() where !progress.final.contains(index) {
            let name = destinationName(of: recipient)
            let limit = name.isEmpty ? 1 : settings.deliveryRecipients
            let (attempts, due) = progress.attempts[index] ?? (0, 0)
            // What is due at different times is not one job.
            let key = attempts == 0 ? name : "\(name) \(due)"
            if let job = open[key], job.recipients.count < limit {
                job.recipients.append(Int32(clamping: index))
                continue
            }
            let job = DeliveryJob(
                message,
                destination(name),
                recipients: [Int32(clamping: index)],
                mayBeKnown: mayBeKnown
            )
            job.attempts = attempts
            job.due = due
            open[key] = job
            message.jobs.append(job)
        }
    }

    /// The lower-case domain of `<local@domain> …`; empty where it's one of ours. Only a parser knows where a domain
    /// begins: a quoted local part may hold anything, `>` and `@` included.
    private func destinationName(of recipient: String) -> String {
        // Intake lets nothing else through; what can't be read is given to local-deliver, which says so.
        guard let recipient = try? EnvelopeRecipient(parsing: recipient.utf8) else { return "" }
        let domain = recipient.address.lowercasedDomain
        return settings.domains.contains(domain) ? "" : domain
    }

    private func destination(_ name: String) -> Destination {
        if let destination = destinations[name] { return destination }
        let limit = name.isEmpty ? settings.localConcurrency : settings.destinationConcurrency
        let destination = Destination(name: name, maximumWindow: limit)
        destinations[name] = destination
        return destination
    }

    // MARK: Lines and alarms

    /// Puts a job where it belongs by its time.
    func schedule(_ job: DeliveryJob) {
        if job.due > clock.now() {
            job.phase = .deferred
            setAlarm(Alarm(time: job.due, event: .job(job)))
        } else {
            job.phase = .ready
            // What was known of the destination may have been forgotten meanwhile, and begun anew for others.
            job.destination = destination(job.destination.name)
            job.destination.line.append(job)
            enterLine(job.destination)
        }
    }

    func enterLine(_ destination: Destination) {
        guard !destination.isInLine, !destination.line.isEmpty, destination.hasRoom else { return }
        if destination.blockedUntil > 0, destination.blockedUntil > clock.now() { return }
        destination.isInLine = true
        line.append(destination)
    }

    func setAlarm(_ alarm: Alarm) {
        alarms.insert(alarm)
        setTimer()
    }

    private func setTimer() {
        guard let next = alarms.min?.time, !isClosed else { return }
        if let timer, timer.time <= next { return }
        timer?.task.cancel()
        let wait = max(1, next - clock.now())
        timer = (next, loop.scheduleTask(in: .milliseconds(wait)) { [weak self] in self?.timeHasCome() })
    }

    /// Looks what is due. Called by the timer; tests that move their clock call it themselves.
    package func timeHasCome() {
        timer?.task.cancel()
        timer = nil
        let now = clock.now()
        while let alarm = alarms.min, alarm.time <= now {
            alarms.removeMin()
            switch alarm.event {
            case .job(let job):
                if job.phase == .deferred, job.due <= now { schedule(job) }
            case .destination(let destination):
                if destination.blockedUntil <= now {
                    expire(destination)
                    enterLine(destination)
                }
            }
        }
        setTimer()
        pump()
    }

    func schedulePump() {
        guard !isPumpScheduled else { return }
        isPumpScheduled = true
        loop.execute { [self] in
            isPumpScheduled = false
            pump()
        }
    }

    /// Begins as many deliveries as there is room for.
    func pump() {
        while active < settings.concurrency, !isClosed, let destination = line.popFirst() {
            destination.isInLine = false
            let link = destination.isLocal ? localLink : remoteLink
            guard link.isThere else {
                // It comes into the line again when the deliverer does.
                link.connect()
                continue
            }
            while let job = destination.line.popFirst() {
                guard job.phase == .ready else { continue }
                begin(job, link)
                break
            }
            enterLine(destination)
        }
    }

    // MARK: A delivery

    private func begin(_ job: DeliveryJob, _ link: DelivererLink) {
        job.phase = .active
        job.destination.began()
        active += 1
        if let envelope = job.message.envelope {
            send(Delivery(job, envelope), link)
            return
        }
        Task(executorPreference: LoopExecutor.of(loop)) {
            if let envelope = await self.loadForDelivery(job) {
                self.send(Delivery(job, envelope), link)
            }
        }
    }

    /// nil, after the job was ended, where there is nothing to deliver.
    private func loadForDelivery(_ job: DeliveryJob) async -> MessageEnvelope? {
        do throws(SpoolError) {
            let head = try await load(job.message.id, verified: true)
            if !job.message.isRemoved { return head.envelope }
            ended(job)
            return nil
        } catch {
            ended(job)
            await setAside(job.message, error)
            return nil
        }
    }

    /// Reads a message's envelope off the loop.
    func load(_ id: MessageID, isHeld: Bool = false, verified: Bool) async throws(SpoolError) -> QueueFileHead {
        try await offLoop { [spool] () throws(SpoolError) in
            try spool.head(of: id, isHeld: isHeld, verified: verified)
        }
    }

    /// Runs what blocks on a thread of the spool's pool.
    func offLoop<Value: Sendable>(
        _ work: @escaping @Sendable () throws(SpoolError) -> Value
    ) async throws(SpoolError) -> Value {
        let result: Result<Value, SpoolError>? = try? await spool.pool.runIfActive {
            do throws(SpoolError) { return .success(try work()) } catch { return .failure(error) }
        }
        guard let result else { throw .broken }
        return try result.get()
    }

    private func send(_ delivery: Delivery, _ link: DelivererLink) {
        if isClosed { return }
        link.send(delivery.frame) { [self] result in
            switch result {
            case .failure(let error):
                lost(delivery, error)
                return true
            case .success(let reply):
                let isComplete = delivery.take(reply)
                if isComplete { finish(delivery) }
                return isComplete
            }
        }
    }

    /// The deliverer went away without an answer: that's nobody's fault, and the message goes as soon as it's back.
    private func lost(_ delivery: Delivery, _ error: BusError) {
        if isClosed { return }
        let job = delivery.job
        log.interrupted(job.message.id, "\(error)")
        if delivery.hasAnswers {
            // What was answered counts; the rest comes again.
            delivery.interrupt()
            finish(delivery)
            return
        }
        ended(job)
        job.mayBeKnown = true
        again(job)
    }

    /// A delivery takes no room any more.
    func ended(_ job: DeliveryJob) {
        active -= 1
        job.phase = .idle
        job.destination.ended()
        enterLine(job.destination)
        schedulePump()
    }

    /// Puts a job first in its line.
    func again(_ job: DeliveryJob) {
        guard !settleWish(of: job.message), !job.message.isRemoved else { return }
        job.phase = .ready
        job.destination.line.prepend(job)
        enterLine(job.destination)
        schedulePump()
    }

    func dropEnvelope(of message: QueuedMessage) {
        guard message.envelope != nil else { return }
        message.envelope = nil
        cachedEnvelopes -= 1
    }

    /// The message has left the queue.
    func forget(_ message: QueuedMessage) {
        dropEnvelope(of: message)
        for job in message.jobs { job.phase = .idle }
        message.jobs = []
        table.remove(message.id)
        if let origin = message.origin { origins.left(origin, at: clock.now()) }
    }

    func forgetIfIdle(_ destination: Destination) {
        guard destination.isForgettable, !destination.isInLine, destinations[destination.name] === destination else {
            return
        }
        destinations[destination.name] = nil
    }

    /// A message whose file is not what was written goes to `corrupt/`; one whose file somebody removed is forgotten.
    func setAside(_ message: QueuedMessage, _ error: SpoolError) async {
        if message.isRemoved { return }
        var error = error
        if error == .missing {
            do throws(SpoolError) {
                if try await isElsewhere(message) { return }
            } catch let other {
                // Only where it's in neither place is it gone.
                error = other
            }
        }
        switch error {
        case .missing:
            log.missing(message.id)
            spool.commit([.done(message.id)])
        case .corrupt(let reason):
            log.corrupt(message.id, reason)
            let (id, isHeld) = (message.id, message.isHeld)
            try? await offLoop { [spool] () throws(SpoolError) in try spool.setCorrupt(id, isHeld: isHeld) }
        case .full, .failed, .broken, .owned:
            // It may be readable later.
            log.unreadable(message.id, "\(error)")
            let due = clock.now() + settings.retryMinimum
            for job in message.jobs where job.phase == .idle {
                job.due = due
                schedule(job)
            }
            return
        }
        message.isRemoved = true
        forget(message)
    }

    /// Whether the message's file lies in `hold/` although it should be in `queue/`, or the other way round: then it is
    /// taken to be held, or not.
    ///
    /// - Throws: why that isn't known.
    private func isElsewhere(_ message: QueuedMessage) async throws(SpoolError) -> Bool {
        let (id, wasHeld) = (message.id, message.isHeld)
        do throws(SpoolError) {
            _ = try await load(id, isHeld: !wasHeld, verified: false)
        } catch .missing {
            return false
        }
        if message.isRemoved { return true }
        log.moved(id, isHeld: !wasHeld)
        message.isHeld = !wasHeld
        for job in message.jobs where job.phase != .active {
            job.phase = .idle
            if !message.isHeld { schedule(job) }
        }
        schedulePump()
        return true
    }
}
