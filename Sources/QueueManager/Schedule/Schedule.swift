import DequeModule
import HeapModule
import SMTP

/// Decides which job is delivered next. Does nothing itself and knows no time of its own: its owner, on whose event loop
/// it is, asks it.
///
/// Jobs that are due stand in the line of their destination, where senders take turns. Destinations that have such jobs,
/// room and no pause stand in the schedule's line and take turns, too. Jobs, destinations and reports that wait for a time
/// lie in a heap.
struct Schedule {
    private struct Alarm: Comparable {
        enum Event {
            case job(DeliveryJob)
            case destination(Destination)
            case report(QueuedMessage)
        }

        let time: Int64
        let event: Event

        static func < (left: Alarm, right: Alarm) -> Bool { left.time < right.time }
        static func == (left: Alarm, right: Alarm) -> Bool { left.time == right.time }
    }

    private let settings: QueueSettings
    private let backoff: Backoff
    private(set) var destinations: [String: Destination] = [:]
    /// Deliveries that are going on.
    private(set) var active = 0
    private var line: Deque<Destination> = []
    private var alarms = Heap<Alarm>()
    /// Destinations whose deferred jobs the administrator wants tried now.
    private var flushing: Deque<Destination> = []

    /// How many jobs one step moves: others want the loop, too.
    private static let stepSize = 500
    /// How long a destination rests whose host is busy with other mail. Milliseconds.
    private static let turnPause: Int64 = 1000

    init(_ settings: QueueSettings) {
        self.settings = settings
        backoff = Backoff(minimum: settings.retryMinimum, maximum: settings.retryMaximum)
    }

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
            if job.message.isHeldBack(at: now) {
                destination.held.insert(job)
            } else {
                destination.deferred.insert(job)
            }
            alarms.insert(Alarm(time: job.due, event: .job(job)))
        } else {
            destination.line.append(job, first: first)
            enterLine(destination, at: now)
        }
    }

    /// Takes a job out that doesn't go on. What is known about its destination goes with its last job: removed mail leaves
    /// nothing behind.
    mutating func withdraw(_ job: DeliveryJob, at now: Int64) {
        guard let destination = destinations[job.destination] else { return }
        switch job.phase {
        case .ready: destination.line.remove(job)
        case .deferred:
            destination.deferred.remove(job)
            destination.held.remove(job)
            job.phase = .idle
        case .active, .idle: return
        }
        if destination.isUnused { destinations[job.destination] = nil }
    }

    private mutating func destination(_ name: String) -> Destination {
        if let destination = destinations[name] { return destination }
        let limit = name.isEmpty ? settings.localConcurrency : settings.destinationConcurrency
        let destination = Destination(name: name, maximumWindow: limit)
        destinations[name] = destination
        return destination
    }

    private mutating func forget(_ destination: Destination, at now: Int64) {
        if destination.isForgettable(at: now), destinations[destination.name] === destination {
            destinations[destination.name] = nil
        }
    }

    private mutating func enterLine(_ destination: Destination, at now: Int64) {
        guard !destination.isInLine, !destination.line.isEmpty, destination.hasRoom, destination.blockedUntil <= now
        else { return }
        destination.isInLine = true
        line.append(destination)
    }

    /// When a job that waits is tried next, and the destination's failure where it waits behind that. Milliseconds since
    /// 1970; nil where it may be tried at any moment or is not in the schedule.
    func wait(of job: DeliveryJob, at now: Int64) -> (until: Int64?, failure: DeliveryResult?) {
        let destination = destinations[job.destination]
        let blocked = destination.flatMap { $0.blockedUntil > now ? $0.blockedUntil : nil }
        switch job.phase {
        case .deferred: return (max(job.due, blocked ?? 0), destination?.failure)
        case .ready: return (blocked, blocked == nil ? nil : destination?.failure)
        case .active, .idle: return (nil, nil)
        }
    }

    /// Whether a job is being delivered, or may be before a time. Milliseconds since 1970.
    func isUnderWay(_ job: DeliveryJob, before time: Int64) -> Bool {
        let blockedUntil = destinations[job.destination]?.blockedUntil ?? 0
        return switch job.phase {
        case .active: true
        case .ready: blockedUntil <= time
        case .deferred: max(job.due, blockedUntil) <= time
        case .idle: false
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
        while active < settings.concurrency, let destination = line.popFirst() {
            destination.isInLine = false
            guard isReachable(destination), let job = destination.line.popFirst() else {
                forget(destination, at: now)
                continue
            }
            job.phase = .active
            destination.began()
            active += 1
            enterLine(destination, at: now)
            return job
        }
        return nil
    }

    /// A job that stands nowhere gets its results without a deliverer: it counts as going on meanwhile.
    mutating func began(_ job: DeliveryJob) {
        assert(job.phase == .idle)
        job.phase = .active
        destination(job.destination).began()
        active += 1
    }

    /// A delivery is over.
    ///
    /// - Parameter results: of its recipients; empty where nothing is known of the destination.
    mutating func ended(_ job: DeliveryJob, _ results: [DeliveryResult], at now: Int64, chance: Double) {
        job.phase = .idle
        active -= 1
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
        guard results.allSatisfy({ $0.nextStep == .retryDestination }), !destination.isLocal else {
            destination.succeeded()
            return
        }
        // Deliveries that began together fail together: that's one failure.
        if destination.blockedUntil > now { return }
        let until = now + backoff.delay(afterAttempts: destination.failures + 1, chance: chance)
        destination.failed(until: until, first)
        alarms.insert(Alarm(time: until, event: .destination(destination)))
    }

    /// When a message is tried again after so many failed attempts: the last time when its time is over. Milliseconds
    /// since 1970.
    func nextAttempt(afterAttempts attempts: Int, expiry: Int64, at now: Int64, chance: Double) -> Int64 {
        let wait = backoff.delay(afterAttempts: attempts, chance: chance)
        return max(min(now + wait, expiry), now + settings.retryMinimum)
    }

    /// A deliverer takes requests again.
    mutating func delivererReturned(at now: Int64) {
        for destination in destinations.values { enterLine(destination, at: now) }
    }

    // MARK: Time

    /// When `dueWork` should be called next. Milliseconds since 1970.
    var nextAlarm: Int64? { alarms.min?.time }

    /// What is to be done by others because its time has come.
    struct DueWork {
        /// Jobs that waited for a destination that can't be reached past their time; they are in no line any more.
        var expired: [(DeliveryJob, DeliveryResult)] = []
        /// Messages whose report should be made.
        var reports: [QueuedMessage] = []
        /// There is more to do now.
        var isMore = false
    }

    /// Puts the jobs in line that are due.
    ///
    /// - Parameter isExpired: whether a job is too old to be tried.
    mutating func dueWork(at now: Int64, isExpired: (DeliveryJob) -> Bool) -> DueWork {
        var due = DueWork()
        var steps = 0
        while let alarm = alarms.min, alarm.time <= now {
            if steps >= Self.stepSize || due.expired.count >= Self.stepSize {
                due.isMore = true
                return due
            }
            steps += 1
            alarms.removeMin()
            switch alarm.event {
            case .job(let job):
                // It may have gone elsewhere since.
                guard job.phase == .deferred, job.due == alarm.time else { continue }
                let destination = destination(job.destination)
                destination.deferred.remove(job)
                destination.held.remove(job)
                destination.line.append(job)
                enterLine(destination, at: now)
            case .destination(let destination):
                if destination.blockedUntil == alarm.time {
                    var old: [DeliveryJob] = []
                    if let failure = destination.failure {
                        old = destination.line.removeAll(maximum: Self.stepSize, where: isExpired)
                        due.expired += old.map { ($0, failure) }
                    }
                    if old.count == Self.stepSize { alarms.insert(alarm) } else { enterLine(destination, at: now) }
                }
                forget(destination, at: now)
            case .report(let message): due.reports.append(message)
            }
        }
        return due
    }

    // MARK: The administrator

    /// Has everything tried now, or all that goes to one destination.
    ///
    /// - Returns: how many deliveries that will be. `step` does the work.
    mutating func flush(destination name: String?, at now: Int64) -> Int {
        let chosen = name.map { destinations[$0].map { [$0] } ?? [] } ?? Array(destinations.values)
        var count = 0
        for destination in chosen {
            count += destination.line.count + destination.deferred.count
            destination.unblock()
            enterLine(destination, at: now)
            if !destination.deferred.isEmpty { flushing.append(destination) }
            forget(destination, at: now)
        }
        return count
    }

    /// Has one job tried now.
    mutating func flush(_ job: DeliveryJob, at now: Int64) {
        let destination = destination(job.destination)
        guard !destination.held.contains(job) else { return }
        destination.unblock()
        if job.phase == .deferred {
            destination.deferred.remove(job)
            job.due = 0
            destination.line.append(job)
        }
        enterLine(destination, at: now)
    }

    /// Goes on with what was begun by `flush`; returns whether there is more.
    mutating func step(at now: Int64) -> Bool {
        var steps = 0
        while let destination = flushing.first {
            while steps < Self.stepSize, let job = destination.deferred.popFirst() {
                steps += 1
                job.due = 0
                destination.line.append(job)
            }
            enterLine(destination, at: now)
            guard destination.deferred.isEmpty else { return true }
            flushing.removeFirst()
        }
        return false
    }
}
