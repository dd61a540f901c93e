import DequeModule
import HeapModule
import SMTP

/// Decides which job is delivered next. Does nothing itself and knows no time of its own: its owner, on whose event loop
/// it is, asks it.
///
/// Jobs that are due stand in the line of their destination, where senders take turns. Destinations that have such jobs,
/// room and no pause stand in the schedule's line, in the order of their senders' turns. Jobs, destinations and reports that
/// wait for a time lie in a heap. Jobs whose mail the administrator has paused are put aside when their turn comes.
struct Schedule {
    private struct Alarm: Comparable {
        enum Event {
            case job(DeliveryJob)
            case destination(Destination)
            case report(QueuedMessage)
            case pauses
            /// A destination still can't be reached after its failure of this number.
            case lateness(Destination, failure: Int)
            case summary
        }

        let time: Int64
        let event: Event

        static func < (left: Alarm, right: Alarm) -> Bool { left.time < right.time }
        static func == (left: Alarm, right: Alarm) -> Bool { left.time == right.time }
    }

    /// A destination whose turn it is, unless it has got another place since.
    private struct Turn: Comparable {
        let place: Destination.Place
        let destination: Destination

        static func < (left: Turn, right: Turn) -> Bool {
            (left.place.turn, left.place.number) < (right.place.turn, right.place.number)
        }

        static func == (left: Turn, right: Turn) -> Bool { left.place.number == right.place.number }
    }

    private let settings: QueueSettings
    private(set) var destinations = PartedDictionary<String, Destination>()
    /// Deliveries that are going on.
    private(set) var active = 0
    /// Those of them that take long, and so take no room from others.
    private var slow = 0
    /// Those that try whether their destination can be reached, and are not slow.
    private var unproven = 0
    /// Deliveries in the order they began, and when. Milliseconds since 1970.
    private var begun: Deque<(time: Int64, job: DeliveryJob)> = []
    private var line = Heap<Turn>()
    /// The same of destinations of which nobody knows whether they can be reached.
    private var unprovenLine = Heap<Turn>()
    private var turns = SenderTurns()
    private var placeCount = 0
    private var alarms = Alarms<Alarm>()
    /// Destinations whose deliverer was away when it was their turn.
    private var away: Deque<Destination> = []
    /// Those that may have a place in the line now.
    private var entering: Deque<Destination> = []
    /// How often a destination could not be reached.
    private(set) var failureCount = 0
    /// Which mail waits as it comes.
    private(set) var pauses = Pauses()
    /// Jobs that wait for the end of a pause.
    private var parked = PartedDictionary<DeliveryJob, Void>()
    /// Those whose pause may be over.
    private var unparking: Deque<PartedDictionary<DeliveryJob, Void>> = []

    /// How many jobs one step moves: others want the loop, too.
    private static let stepSize = 250
    /// How long a destination rests whose host is busy with other mail. Milliseconds.
    private static let turnPause: Int64 = 1000
    /// A delivery that takes longer is a slow one: most wait for hosts that don't answer. Milliseconds.
    private static let patience: Int64 = 2000
    /// How often it's looked at what waits for a destination that isn't tried for long. Milliseconds.
    private static let sweepPause: Int64 = 1_800_000
    /// How many times `concurrency` may be slow.
    private static let slowShare = 4

    init(_ settings: QueueSettings) { self.settings = settings }

    // MARK: Jobs

    /// Puts a job where it belongs by its time.
    ///
    /// - Parameter first: whether it comes before its sender's other jobs.
    mutating func add(_ job: DeliveryJob, at now: Int64, first: Bool = false) {
        assert(job.phase == .idle)
        let destination = destination(job.destination)
        if job.due > now {
            job.phase = .deferred
            // Nobody but its sender says when it may leave.
            job.isHeldBack = job.message.isHeldBack(at: now)
            destination.deferred += 1
            if job.isHeldBack { destination.heldBack += 1 }
            alarms.insert(Alarm(time: job.due, event: .job(job)))
        } else {
            append(job, to: destination, first: first, at: now)
        }
    }

    private mutating func append(_ job: DeliveryJob, to destination: Destination, first: Bool = false, at now: Int64) {
        destination.line.append(job, first: first)
        guard let place = destination.place else { return enterLine(destination, at: now) }
        // Who has had fewer turns than whoever it stands in line for brings it forward.
        let sender = job.message.sender
        if turns.next(of: sender) < place.turn { setPlace(destination, turn: turns.give(sender)) }
    }

    /// Takes a job out that doesn't go on. What is known about its destination goes with its last job: removed mail leaves
    /// nothing behind.
    mutating func withdraw(_ job: DeliveryJob, at now: Int64) {
        // Jobs that are put aside, or are being flushed, may be the last that was known of their destination.
        let destination = destinations[job.destination]
        switch job.phase {
        case .ready: destination?.line.remove(job)
        case .deferred: stopWaiting(job, destination)
        case .paused:
            job.phase = .idle
            parked[job] = nil
            for index in unparking.indices { unparking[index][job] = nil }
        case .active, .idle: return
        }
        if destination?.isUnused == true { destinations[job.destination] = nil }
    }

    /// A job waits for its time no more.
    private func stopWaiting(_ job: DeliveryJob, _ destination: Destination?) {
        job.phase = .idle
        destination?.deferred -= 1
        if job.isHeldBack { destination?.heldBack -= 1 }
        job.isHeldBack = false
    }

    private mutating func destination(_ name: String) -> Destination {
        if let destination = destinations[name] { return destination }
        let own = settings.own(name)
        let limit = name.isEmpty ? settings.localConcurrency : own?.concurrency ?? settings.destinationConcurrency
        let destination = Destination(name: name, maximumWindow: limit, interval: own?.interval ?? 0)
        destinations[name] = destination
        return destination
    }

    private mutating func forget(_ destination: Destination, at now: Int64) {
        if destination.isForgettable(at: now), destinations[destination.name] === destination {
            destinations[destination.name] = nil
        }
    }

    private mutating func enterLine(_ destination: Destination, at now: Int64) {
        guard destination.place == nil, destination.hasRoom(isScarce: isScarce), destination.restsUntil <= now,
            !destination.line.isEmpty
        else { return }
        // Of those who wait there it's the one's turn who has had the fewest, wherever that was.
        let sender = destination.line.bringForward { turns.next(of: $0) }
        setPlace(destination, turn: sender.map { turns.give($0) } ?? turns.now)
    }

    private mutating func setPlace(_ destination: Destination, turn: Int) {
        placeCount += 1
        let place = Destination.Place(number: placeCount, turn: turn)
        destination.place = place
        let turn = Turn(place: place, destination: destination)
        if destination.isProven { line.insert(turn) } else { unprovenLine.insert(turn) }
    }

    /// Whose turn it is. Destinations that may be dead leave a quarter of the room to those that are not, and have a quarter
    /// of it themselves whatever goes on.
    private mutating func popTurn() -> Turn? {
        let quarter = settings.concurrency / 4
        guard occupied < settings.concurrency - quarter || unproven < max(quarter, 1), let first = unprovenLine.min
        else {
            return line.popMin()
        }
        if let other = line.min, other < first { return line.popMin() }
        return unprovenLine.popMin()
    }

    /// Deliveries that take room.
    private var occupied: Int { active - min(slow, Self.slowShare * settings.concurrency) }

    private var isScarce: Bool { occupied >= settings.concurrency / 2 && settings.concurrency > 1 }

    /// When a job that waits is tried next, and the destination's failure where it waits behind that. Milliseconds since
    /// 1970; nil where it may be tried at any moment or is not in the schedule.
    func wait(of job: DeliveryJob, at now: Int64) -> (until: Int64?, failure: DeliveryResult?) {
        let destination = destinations[job.destination]
        let blocked = destination.flatMap { $0.blockedUntil > now ? $0.blockedUntil : nil }
        switch job.phase {
        case .deferred: return (max(job.due, blocked ?? 0), destination?.failure)
        case .ready: return (blocked, blocked == nil ? nil : destination?.failure)
        case .active, .idle, .paused: return (nil, nil)
        }
    }

    /// Whether a job is being delivered, or may be before a time. Milliseconds since 1970.
    func isUnderWay(_ job: DeliveryJob, before time: Int64) -> Bool {
        let blockedUntil = destinations[job.destination]?.restsUntil ?? 0
        return switch job.phase {
        case .active: true
        case .ready: blockedUntil <= time
        case .deferred: max(job.due, blockedUntil) <= time
        case .idle, .paused: false
        }
    }

    /// Has `dueWork` name a message whose report should be made then.
    mutating func remind(of message: QueuedMessage, at time: Int64) {
        alarms.insert(Alarm(time: time, event: .report(message)))
    }

    // MARK: Deliveries

    /// The job that is delivered next; it counts as going on. nil where none is due or there is no room.
    ///
    /// - Parameter isReachable: whether the deliverer of a destination takes requests; its jobs wait otherwise until
    ///   `delivererReturned`.
    mutating func next(at now: Int64, where isReachable: (Destination) -> Bool) -> DeliveryJob? {
        noticeSlow(at: now)
        isInterrupted = false
        var steps = 0
        while occupied < settings.concurrency {
            steps += 1
            if steps > Self.stepSize {
                isInterrupted = true
                return nil
            }
            guard let turn = popTurn() else { return nil }
            let destination = turn.destination
            guard destination.place?.number == turn.place.number else { continue }
            destination.place = nil
            turns.take(turn.place.turn)
            // It may have begun to rest, or be full, since it came into the line.
            guard destination.hasRoom(isScarce: isScarce), destination.restsUntil <= now else { continue }
            guard isReachable(destination) else {
                if !destination.isAway {
                    destination.isAway = true
                    away.append(destination)
                }
                continue
            }
            guard let job = destination.line.popFirst() else {
                forget(destination, at: now)
                continue
            }
            if pauses.pause(of: job) != nil {
                park(job)
                enterLine(destination, at: now)
                forget(destination, at: now)
                continue
            }
            start(job, destination)
            destination.pace(at: now)
            if destination.pacedUntil > now {
                alarms.insert(Alarm(time: destination.pacedUntil, event: .destination(destination)))
            }
            begun.append((now, job))
            if !destination.isProven {
                job.isUnproven = true
                unproven += 1
            }
            enterLine(destination, at: now)
            return job
        }
        return nil
    }

    /// `next` has looked at so much that others should have the loop: it should be called again.
    private var isInterrupted = false

    /// Whether it has; said once.
    mutating func takeInterruption() -> Bool {
        defer { isInterrupted = false }
        return isInterrupted
    }

    private mutating func start(_ job: DeliveryJob, _ destination: Destination) {
        job.phase = .active
        destination.began()
        active += 1
    }

    private mutating func noticeSlow(at now: Int64) {
        while let first = begun.first, first.time + Self.patience <= now || first.job.phase != .active {
            begun.removeFirst()
            guard first.job.phase == .active, !first.job.isSlow else { continue }
            first.job.isSlow = true
            slow += 1
            prove(first.job)
        }
    }

    /// It isn't one of those any more that try whether their destination can be reached.
    private mutating func prove(_ job: DeliveryJob) {
        guard job.isUnproven else { return }
        job.isUnproven = false
        unproven -= 1
    }

    /// A job that stands nowhere gets its results without a deliverer: it counts as going on meanwhile.
    mutating func began(_ job: DeliveryJob, at now: Int64) {
        assert(job.phase == .idle)
        start(job, destination(job.destination))
    }

    /// A delivery is over.
    ///
    /// - Parameter results: of its recipients; empty where nothing is known of the destination.
    mutating func ended(_ job: DeliveryJob, _ results: [DeliveryResult], at now: Int64, chance: Double) {
        job.phase = .idle
        job.isFlushed = false
        active -= 1
        if job.isSlow {
            job.isSlow = false
            slow -= 1
        }
        prove(job)
        guard let destination = destinations[job.destination] else { return }
        destination.ended()
        judge(destination, results, at: now, chance)
        enterLine(destination, at: now)
        forget(destination, at: now)
    }

    /// What the results say about the destination as a whole.
    private mutating func judge(
        _ destination: Destination,
        _ results: [DeliveryResult],
        at now: Int64,
        _ chance: Double
    ) {
        // Who was turned away has not tried; the next one would be, too.
        if !results.isEmpty, results.allSatisfy({ $0.nextStep == .waitForTurn }), destination.blockedUntil <= now {
            destination.rest(until: now + Self.turnPause)
            alarms.insert(Alarm(time: destination.blockedUntil, event: .destination(destination)))
        }
        let results = results.filter { $0.nextStep != .waitForTurn }
        guard let first = results.first else { return }
        guard results.allSatisfy({ $0.scope == .destination || $0.scope == .session }), !destination.isLocal else {
            // A delay says that there are hosts, not that more at a time would do.
            destination.succeeded(grows: results.contains { $0.action.isFinal })
            return
        }
        guard results.allSatisfy({ $0.scope == .destination }) else {
            // One refusal for those that began together.
            if destination.blockedUntil > now { return }
            destination.refused(at: now)
            alarms.insert(Alarm(time: destination.blockedUntil, event: .destination(destination)))
            return
        }
        // Deliveries that began together fail together: that's one failure.
        if destination.blockedUntil > now { return }
        let backoff = settings.backoff(nil, to: destination.name)
        let until = now + backoff.delay(afterAttempts: destination.failures + 1, chance: chance)
        failureCount += 1
        destination.failed(until: until, first, number: failureCount)
        alarms.insert(Alarm(time: until, event: .destination(destination)))
        remindOfLateness(destination, at: now)
    }

    /// Has what waits for a destination looked through meanwhile: some of it may become late.
    private mutating func remindOfLateness(_ destination: Destination, at now: Int64) {
        let time = now + Self.sweepPause
        guard time < destination.blockedUntil else { return }
        alarms.insert(Alarm(time: time, event: .lateness(destination, failure: destination.failureNumber)))
    }

    /// Has `dueWork` say that a summary of reports is due.
    mutating func remindOfSummary(at time: Int64) { alarms.insert(Alarm(time: time, event: .summary)) }

    /// When a job is tried again after one more failed attempt: the last time when its time is over. Milliseconds since 1970.
    func nextAttempt(of job: DeliveryJob, expiry: Int64, at now: Int64, chance: Double) -> Int64 {
        let backoff = settings.backoff(settings.deliveryClass(of: job.message), to: job.destination)
        let wait = backoff.delay(afterAttempts: job.attempts + 1, chance: chance)
        return max(min(now + wait, expiry), now + backoff.minimum)
    }

    /// A deliverer takes requests again; `step` does the rest of the work.
    mutating func delivererReturned(at now: Int64) {
        if entering.isEmpty {
            swap(&entering, &away)
        } else {
            entering.append(contentsOf: away)
            away = []
        }
        _ = step(at: now)
    }

    // MARK: Time

    /// When `dueWork` should be called next. Milliseconds since 1970.
    var nextAlarm: Int64? {
        guard let first = begun.first, !line.isEmpty || !unprovenLine.isEmpty,
            slow < Self.slowShare * settings.concurrency
        else { return alarms.min?.time }
        // A slow one makes room.
        return min(alarms.min?.time ?? .max, first.time + Self.patience)
    }

    /// What is to be done by others because its time has come.
    struct DueWork {
        /// Destinations that could not be reached: what waits there past its time may be given up, and senders be told of what is
        /// late.
        var failing: [Destination] = []
        /// Messages whose report should be made.
        var reports: [QueuedMessage] = []
        /// Postmaster should hear how many reports there were no room for.
        var isSummaryDue = false
        /// There is more to do now.
        var isMore = false
    }

    /// Puts the jobs in line that are due.
    mutating func dueWork(at now: Int64) -> DueWork {
        var due = DueWork()
        // That one is slow by now gives room, which it woke us for.
        noticeSlow(at: now)
        var steps = 0
        while let alarm = alarms.popMin(where: { $0.time <= now }) {
            steps += 1
            switch alarm.event {
            case .job(let job):
                // It may have gone elsewhere since.
                guard job.phase == .deferred, job.due == alarm.time else { continue }
                let destination = destination(job.destination)
                stopWaiting(job, destination)
                append(job, to: destination, at: now)
            case .destination(let destination):
                if destination.pacedUntil == alarm.time { enterLine(destination, at: now) }
                if destination.blockedUntil == alarm.time {
                    if destination.failure != nil { due.failing.append(destination) }
                    enterLine(destination, at: now)
                }
                forget(destination, at: now)
            case .report(let message): due.reports.append(message)
            case .pauses: endPauses(at: now)
            case .summary: due.isSummaryDue = true
            case .lateness(let destination, let failure):
                guard destination.failureNumber == failure, destination.blockedUntil > now,
                    destinations[destination.name] === destination
                else { continue }
                due.failing.append(destination)
                remindOfLateness(destination, at: now)
            }
            if steps >= Self.stepSize {
                due.isMore = alarms.min.map { $0.time <= now } ?? false
                return due
            }
        }
        return due
    }

    // MARK: The administrator

    /// Has one job tried now, unless it's held back or paused.
    ///
    /// - Parameter number: of the last failure when that was asked for: of many, the first finds out whether their destination
    ///   can be reached.
    /// - Returns: whether it waits for its turn now.
    @discardableResult mutating func flush(_ job: DeliveryJob, before number: Int? = nil, at now: Int64) -> Bool {
        guard job.phase == .ready || job.phase == .deferred && !job.isHeldBack else { return false }
        let destination = destination(job.destination)
        destination.unblock(before: number ?? failureCount)
        job.isFlushed = true
        if job.phase == .deferred {
            stopWaiting(job, destination)
            job.due = 0
            append(job, to: destination, at: now)
        }
        enterLine(destination, at: now)
        return true
    }

    /// Goes on with what was begun by the return of a deliverer, or by the end of a pause; returns whether there is more.
    mutating func step(at now: Int64) -> Bool {
        var steps = 0
        while steps < Self.stepSize, let destination = entering.popFirst() {
            steps += 1
            destination.isAway = false
            enterLine(destination, at: now)
            forget(destination, at: now)
        }
        while steps < Self.stepSize, !unparking.isEmpty {
            guard let (job, _) = unparking[0].popFirst() else {
                unparking.removeFirst()
                continue
            }
            steps += 1
            job.phase = .idle
            add(job, at: now)
        }
        return !entering.isEmpty || !unparking.isEmpty
    }

    // MARK: Pauses

    /// Says which mail waits. What waited for the end of a pause goes on with `step`.
    mutating func setPauses(_ fresh: Pauses, at now: Int64) {
        let isShorter = !pauses.areAll(in: fresh)
        pauses = fresh
        if let end = fresh.nextEnd { alarms.insert(Alarm(time: end, event: .pauses)) }
        guard isShorter else { return }
        // Those of other pauses come back when it's their turn.
        unparking.append(parked)
        parked = PartedDictionary()
    }

    private mutating func endPauses(at now: Int64) {
        var fresh = pauses
        fresh.removeEnded(at: now)
        if fresh != pauses { setPauses(fresh, at: now) }
    }

    /// Puts a job aside that was to be delivered now.
    private mutating func park(_ job: DeliveryJob) {
        job.phase = .paused
        parked[job] = ()
    }
}
