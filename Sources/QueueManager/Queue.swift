import DequeModule
import Logging
import NIOCore
import SMTP
import Spool

/// The mail queue: what it holds, when each message is tried, and what comes of it. Belongs to one event loop; every call
/// must come from its thread.
///
/// The store knows the messages, the schedule says which is next, the runner delivers it; here is what leads from one to
/// the other.
package final class Queue: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    let settings: QueueSettings
    let spool: Spool
    let loop: any EventLoop
    let clock: QueueClock
    let log: QueueLog
    var counters = QueueCounters()
    var store = MessageStore()
    var schedule: Schedule
    var origins = OriginIndex()
    /// Of messages that are being received.
    var comingOrigins: Set<String> = []
    var arrivals = Arrivals()
    var localDomains: LocalDomains
    var reasons = FailureReasons()
    var postmasterReports = PostmasterReports()
    /// What is to be done to pauses, in order; the first is being written.
    var pauseChanges: Deque<PauseChange> = []
    /// What is being gone through; the first is next.
    var walks: Deque<Walk> = []
    /// Destinations that are being looked through for what has waited too long.
    var sweptDestinations: Set<String> = []
    /// Whose accounts are disabled; nil where nobody asks.
    var submitters: Submitters?
    /// Where aliases lead; nil where nobody is asked.
    var aliases: AliasDirectory?
    private var runner: Runner?
    private(set) var timer: (time: Int64, task: Scheduled<Void>)?
    private var isPumpScheduled = false
    private var isPumpPostponed = false
    private(set) var isClosed = false
    /// Messages whose content is kept in memory until they were tried. Octets.
    private var cached = 0

    /// How many deliveries begin in one turn.
    private static let begunAtOnce = 50

    /// The longest wait for a time: the clock may be set forward meanwhile. Milliseconds.
    private static let longestWait: Int64 = 60_000

    package init(settings: QueueSettings, spool: Spool, loop: any EventLoop, clock: QueueClock, logger: Logger) {
        self.settings = settings
        self.spool = spool
        self.loop = loop
        self.clock = clock
        log = QueueLog(logger)
        schedule = Schedule(settings)
        localDomains = LocalDomains(known: settings.domains)
    }

    deinit { store.release() }

    /// Begins to deliver. What is added before waits.
    ///
    /// - Parameters:
    ///   - routes: who knows where mail for other hosts goes; nil where all of it goes to the hosts of its domain.
    ///   - pipe: makes the way to who gives mail to programs; nil where no route leads to one.
    ///   - link: makes the way to a deliverer, which tells the closure when it's there again.
    package func start(
        routes: RouteDirectory? = nil,
        pipe: ((_ onReturn: @escaping () -> Void) -> any DelivererLink)? = nil,
        link: (_ isLocal: Bool, _ onReturn: @escaping () -> Void) -> any DelivererLink
    ) {
        loop.assertInEventLoop()
        let onReturn: () -> Void = { [weak self] in
            guard let self else { return }
            schedule.delivererReturned(at: clock.now())
            goOn()
            pump()
        }
        runner = Runner(
            spool: spool,
            loop: loop,
            local: link(true, onReturn),
            remote: link(false, onReturn),
            pipe: pipe?(onReturn),
            routes: routes,
            listener: Runner.Listener(
                unreadable: { [unowned self] in unreadable($0, $1) },
                read: { [unowned self] in isWhereItShouldBe($0, $1) },
                answered: { [unowned self] in answered($0, $1) },
                ended: { [unowned self] in ended($0, $1) }
            )
        )
        schedulePump()
    }

    /// Gives nothing to deliverers any more.
    package func close() {
        loop.assertInEventLoop()
        isClosed = true
        timer?.task.cancel()
        runner?.close()
        aliases?.close()
    }

    /// How many messages are known.
    package var count: Int { store.count }

    /// Whether a message is with deliverers, or their results are being worked on.
    package func isBeingDelivered(_ id: MessageID) -> Bool {
        if case .delivering? = store[id]?.state { true } else { false }
    }

    // MARK: Messages come and go

    /// Takes a message in that is in the spool.
    ///
    /// - Parameters:
    ///   - content: of a new message, to be delivered without reading it again.
    ///   - state: what happened to it so far, as far as it's not new.
    func add(
        _ head: QueueFileHead,
        content: Spool.Content? = nil,
        state: [StateEntry] = [],
        isHeld: Bool = false
    ) {
        loop.assertInEventLoop()
        let id = head.envelope.id
        guard store[id] == nil else { return }
        let message = QueuedMessage(head, state: isHeld ? .held : .waiting)
        let progress = MessageProgress(state)
        let jobs = makeJobs(of: message, head.envelope, progress, mayBeKnown: content == nil)
        if let owed = owedReport(progress, head.envelope) { message.owed = owed }
        if jobs.isEmpty, message.owed == nil {
            // Everything had its result, and a power failure took the note that it may go.
            spool.commit([.done(id)])
            return
        }
        if let content, cached < settings.cachedContent {
            message.content = content
            cached += Self.size(content)
        }
        if content != nil { store.noteArrival(message) }
        store.insert(message, jobs: jobs)
        if let owed = message.owed { schedule.remind(of: message, at: owed.due) }
        remindOfDeadline(message)
        if localDomains.known == nil { localDomains.undecided[id] = head.envelope }
        if let origin = message.origin { origins.insert(origin, id) }
        proceed(with: message)
    }

    private static func size(_ content: Spool.Content) -> Int {
        content.added.readableBytes + (content.message?.readableBytes ?? 0)
    }

    func dropContent(of message: QueuedMessage) {
        guard let content = message.content else { return }
        message.content = nil
        cached -= Self.size(content)
    }

    /// Divides the open recipients of a message by destination, and by the time when they are due.
    func makeJobs(
        of message: QueuedMessage,
        _ envelope: MessageEnvelope,
        _ progress: MessageProgress,
        mayBeKnown: Bool
    ) -> [DeliveryJob] {
        struct Key: Hashable {
            let destination: String
            let attempts: Int
            let due: Int64
            let isWarned: Bool
        }
        var jobs: [DeliveryJob] = []
        var open: [Key: DeliveryJob] = [:]
        for (index, recipient) in envelope.recipients.enumerated() where !progress.final.contains(index) {
            let destination = localDomains.destination(of: recipient.address.domain)
            var (attempts, due) = progress.attempts[index] ?? (0, 0)
            // Not before its time, whatever happens.
            if message.terms.holdUntil != nil { due = max(due, message.start) }
            let isWarned = progress.isWarned(index)
            let key = Key(destination: destination, attempts: attempts, due: due, isWarned: isWarned)
            if let job = open[key], job.recipients.count < settings.recipients(ofDelivery: envelope) {
                job.recipients.append(Int32(clamping: index))
                continue
            }
            let job = DeliveryJob(
                message,
                to: store.group(destination: key.destination),
                recipients: .one(Int32(clamping: index)),
                mayBeKnown: mayBeKnown
            )
            job.attempts = attempts
            job.due = due
            job.isWarned = isWarned
            if attempts > 0 { job.reason = progress.texts[index].map { reasons.shared($0) } }
            open[key] = job
            jobs.append(job)
        }
        return jobs
    }

    /// The message has left the queue.
    func finish(_ message: QueuedMessage) {
        // Its place is free for others.
        defer { schedulePump() }
        dropContent(of: message)
        for job in message.jobs { schedule.withdraw(job, at: clock.now()) }
        guard store.move(message, .left) else { return }
        // Its file may still be there when its directory is read (again).
        arrivals.announce(message.id)
        log.left(message.id)
        if let origin = message.origin { origins.left(origin, at: clock.now()) }
        let changes = message.changes
        message.changes = []
        for requested in changes { requested.done(.missing) }
    }

    /// Lets a message go on after something is over: the next change first, else what is open goes into the schedule.
    func proceed(with message: QueuedMessage, first: Bool = false) {
        loop.assertInEventLoop()
        if message.state.isAtRest, let next = message.changes.popFirst() { return begin(next, message) }
        switch message.state {
        case .waiting, .delivering:
            guard message.changes.isEmpty else { return }
            let now = clock.now()
            for job in message.jobs where job.phase == .idle { schedule.add(job, at: now, first: first) }
            reportIfDue(message)
            schedulePump()
        case .held, .changing, .gone: return
        }
    }

    // MARK: Time

    private func setTimer() {
        guard let next = schedule.nextAlarm, !isClosed else { return }
        if let timer, timer.time <= next { return }
        timer?.task.cancel()
        let wait = min(max(1, next - clock.now()), Self.longestWait)
        timer = (next, loop.scheduleTask(in: .milliseconds(wait)) { [weak self] in self?.runDueWork() })
    }

    /// Begins what is due. Called by the timer; tests that move their clock call it themselves.
    package func runDueWork() {
        loop.assertInEventLoop()
        timer?.task.cancel()
        timer = nil
        if isClosed { return }
        let now = clock.now()
        let due = schedule.dueWork(at: now)
        for destination in due.failing { lookForLate(at: destination) }
        if due.isSummaryDue { summarizeReports() }
        for message in due.reports {
            reportIfDue(message)
            warnIfDue(message)
        }
        if due.isMore { later { [weak self] in self?.runDueWork() } }
        // What waited for a pause that is over.
        if !due.isMore { goOn() }
        schedulePump()
    }

    /// When a message is given up at a destination. Milliseconds since 1970.
    func expiry(of job: DeliveryJob) -> Int64 {
        let message = job.message
        let expiry = message.start + settings.lifetime(settings.deliveryClass(of: message), to: job.destination)
        guard let deadline = message.returnDeadline else { return expiry }
        return min(expiry, deadline)
    }

    // MARK: Deliveries

    func schedulePump() {
        guard !isPumpScheduled else { return }
        isPumpScheduled = true
        loop.execute { [self] in
            isPumpScheduled = false
            pump()
        }
    }

    /// Begins as many deliveries as there is room for.
    private func pump() {
        guard let runner, !isClosed else { return }
        let isReachable = { (destination: Destination) in
            destination.name != LocalDomains.unknown && runner.isReachable(destination)
        }
        var left = Self.begunAtOnce
        while left > 0, runner.hasRoom, let job = schedule.next(at: clock.now(), where: isReachable) {
            left -= 1
            guard job.message.changes.isEmpty, store.move(job.message, .deliveryBegan) else {
                // A change comes first; what is open is scheduled behind it.
                schedule.ended(job, [], at: clock.now(), chance: 0)
                continue
            }
            // After the time that its sender has set it's not tried any more.
            if let deadline = job.message.returnDeadline, deadline <= clock.now() {
                giveUp(job, .deadlinePassed)
            } else {
                beginIfEnabled(job, runner)
            }
        }
        if schedule.takeInterruption() || left == 0 { postponePump() }
        // Whatever was done before may have given the schedule something to wait for.
        setTimer()
    }

    /// The same once the loop has looked after others.
    private func postponePump() {
        guard !isPumpPostponed else { return }
        isPumpPostponed = true
        later { [weak self] in
            self?.isPumpPostponed = false
            self?.pump()
        }
    }

    /// Goes on with what was begun by the return of a deliverer, or by the end of a pause.
    func goOn() {
        if schedule.step(at: clock.now()) { later { [weak self] in self?.goOn() } }
        schedulePump()
    }

    /// Has a message tried now, if there is such.
    package func flush(_ id: MessageID) {
        if let message = store[id] { flush(message) }
    }

    /// Has a message tried now.
    ///
    /// - Parameter number: of the last failure of a destination when that was asked for.
    func flush(_ message: QueuedMessage, before number: Int? = nil) {
        loop.assertInEventLoop()
        for job in message.jobs { schedule.flush(job, before: number, at: clock.now()) }
        schedulePump()
    }

    /// Whether a message that was read for a delivery is in `queue/`, and is not paused by now.
    private func isWhereItShouldBe(_ job: DeliveryJob, _ content: Spool.Content) -> Bool {
        guard content.isHeld else {
            if schedule.pauses.pause(of: job) == nil { return true }
            putBack(job)
            return false
        }
        let message = job.message
        log.moved(message.id, isHeld: true)
        schedule.ended(job, [], at: clock.now(), chance: 0)
        store.move(message, .deliveryEnded)
        if store.move(message, .found(isHeld: true)) {
            for job in message.jobs { schedule.withdraw(job, at: clock.now()) }
        }
        proceed(with: message)
        schedulePump()
        return false
    }

    /// Puts a job that counts as going on and was not tried where it belongs now.
    func putBack(_ job: DeliveryJob) {
        schedule.ended(job, [], at: clock.now(), chance: 0)
        store.move(job.message, .deliveryEnded)
        proceed(with: job.message)
        schedulePump()
    }

    private func unreadable(_ job: DeliveryJob, _ error: SpoolError) {
        schedule.ended(job, [], at: clock.now(), chance: 0)
        store.move(job.message, .deliveryEnded)
        setAside(job.message, error) { [self] in
            job.due = clock.now() + settings.retryMinimum
        }
    }

    /// A message whose file is not what was written goes to `corrupt/`; one whose file somebody removed is forgotten; any
    /// other may be readable later.
    ///
    /// - Parameter postpone: has what can't go on tried later.
    func setAside(_ message: QueuedMessage, _ error: SpoolError, postpone: @escaping @Sendable () -> Void) {
        let retry: @Sendable (SpoolError) -> Void = { [self] error in
            log.unreadable(message.id, "\(error)")
            postpone()
            proceed(with: message)
        }
        switch error {
        case .missing:
            log.missing(message.id)
            spool.commit([.done(message.id)])
            finish(message)
        case .corrupt(let reason) where store.move(message, .changeBegan(.remove)):
            log.corrupt(message.id, reason)
            for job in message.jobs { schedule.withdraw(job, at: clock.now()) }
            spool.setCorrupt(message.id) { [self] error in
                guard let error else { return finish(message) }
                store.move(message, .changeEnded(isHeld: false))
                retry(error)
            }
        case .corrupt, .full, .failed, .broken, .owned, .newer: retry(error)
        }
    }

    /// Ends a job that waited for a destination past its message's time: it would fail as the last attempt there did.
    func conclude(_ job: DeliveryJob, _ result: DeliveryResult) {
        let message = job.message
        guard message.changes.isEmpty, store.move(message, .deliveryBegan) else { return }
        schedule.began(job, at: clock.now())
        giveUp(job, result)
    }

    /// Gives a result to the recipients of a job that counts as going on.
    func giveUp(_ job: DeliveryJob, _ result: DeliveryResult) {
        let id = job.message.id
        spool.perform { (spool) throws(SpoolError) in
            // Verified: the job says which of the envelope's recipients it is for.
            try spool.content(of: id, verified: true)
        } done: { [self] found in
            switch found {
            case .success(let content):
                let delivery = Delivery(job, content)
                answered(delivery, delivery.answerAll(result))
                evaluate(delivery, [])
            case .failure(let error): unreadable(job, error)
            }
        }
    }
}
