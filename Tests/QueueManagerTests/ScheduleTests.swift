import Daemon
import SMTP
import Spool
import Testing

@testable import QueueManager

@Suite struct ScheduleTests {
    private let unreachable = DeliveryResult(.delayed, .noAnswer, "no route", scope: .destination)
    private let relayed = DeliveryResult(.relayed, .success, "")
    private let refused = DeliveryResult(.delayed, .noAnswer, "too many connections", scope: .session)

    private func schedule(_ change: (inout QueueSettings) -> Void = { _ in }) throws -> Schedule {
        var settings = QueueSettings(hostname: "mail.example.test", domains: ["example.test"], try .standard)
        settings.retryMinimum = 1000
        settings.retryMaximum = 8000
        change(&settings)
        return Schedule(settings)
    }

    /// Numbers of the messages that are delivered next, each of which ends at once.
    private func order(_ schedule: inout Schedule, at now: Int64 = 0, maximum: Int = .max) -> [UInt64] {
        var numbers: [UInt64] = []
        while numbers.count < maximum, let job = schedule.next(at: now, where: { _ in true }) {
            numbers.append(job.message.id.time)
            schedule.ended(job, [relayed], at: now, chance: 0.5)
        }
        return numbers
    }

    private func next(_ schedule: inout Schedule, at now: Int64) throws -> DeliveryJob {
        let job = schedule.next(at: now, where: { _ in true })
        return try #require(job)
    }

    /// Names of the destinations that are tried again.
    private func failing(_ schedule: inout Schedule, at now: Int64) -> [String] {
        schedule.dueWork(at: now).failing.map(\.name)
    }

    /// How many of the jobs are tried now because of that.
    private func flush(_ schedule: inout Schedule, _ jobs: [DeliveryJob], before number: Int? = nil) -> Int {
        var count = 0
        for job in jobs where schedule.flush(job, before: number, at: 0) { count += 1 }
        return count
    }

    private func isAnyDue(_ schedule: inout Schedule, at now: Int64) -> Bool {
        schedule.next(at: now, where: { _ in true }) != nil
    }

    @Test func destinationsTakeTurns() throws {
        var schedule = try schedule()
        for number in 1...3 { schedule.add(try TestMessages.job(UInt64(number), to: "busy.example"), at: 0) }
        for number in 4...5 { schedule.add(try TestMessages.job(UInt64(number), to: "other.example"), at: 0) }
        #expect(order(&schedule) == [1, 4, 2, 5, 3])
        #expect(schedule.destinations.isEmpty)
    }

    @Test func sendersTakeTurnsAtADestination() throws {
        var schedule = try schedule()
        for number in 1...1000 {
            schedule.add(try TestMessages.job(UInt64(number), from: "<list@example.test>"), at: 0)
        }
        schedule.add(try TestMessages.job(2001, from: "<bob@example.test>"), at: 0)
        schedule.add(try TestMessages.job(2002, from: "<bob@example.test>"), at: 0)
        #expect(order(&schedule, maximum: 5) == [1, 2001, 2, 2002, 3])
    }

    @Test func jobOfAnInterruptedDeliveryComesFirst() throws {
        var schedule = try schedule()
        schedule.add(try TestMessages.job(1), at: 0)
        schedule.add(try TestMessages.job(2), at: 0, first: true)
        #expect(order(&schedule) == [2, 1])
    }

    @Test func concurrencyGrowsWithSuccess() throws {
        var schedule = try schedule { $0.destinationConcurrency = 7 }
        for number in 1...200 { schedule.add(try TestMessages.job(UInt64(number)), at: 0) }
        var active: [DeliveryJob] = []
        while let job = schedule.next(at: 0, where: { _ in true }) { active.append(job) }
        #expect(active.count == 5)
        for _ in 0..<50 {
            schedule.ended(active.removeFirst(), [relayed], at: 0, chance: 0.5)
            while let job = schedule.next(at: 0, where: { _ in true }) { active.append(job) }
        }
        #expect(active.count == 7)
        #expect(schedule.active == 7)
    }

    /// A host that lets no session begin has fewer at a time, and a short rest that grows.
    @Test func concurrencyShrinksWithRefusals() throws {
        var schedule = try schedule { $0.destinationConcurrency = 20 }
        for number in 1...200 { schedule.add(try TestMessages.job(UInt64(number)), at: 0) }
        var counts: [Int] = []
        var rests: [Int64] = []
        var now: Int64 = 0
        for _ in 0..<12 {
            _ = schedule.dueWork(at: now)
            var active: [DeliveryJob] = []
            while let job = schedule.next(at: now, where: { _ in true }) { active.append(job) }
            counts.append(active.count)
            for job in active {
                schedule.ended(job, [refused], at: now, chance: 0.5)
                job.due = 3_600_000
                schedule.add(job, at: now)
            }
            let destination = try #require(schedule.destinations["example.net"])
            #expect(destination.failures == 0 && destination.failure == nil)
            rests.append(destination.blockedUntil - now)
            now = destination.blockedUntil
        }
        #expect(counts == [5, 2] + [Int](repeating: 1, count: 10))
        #expect(rests == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map { $0 * 1000 })
        // One that gets through is the first of a round again.
        _ = schedule.dueWork(at: now)
        let job = try next(&schedule, at: now)
        schedule.ended(job, [relayed], at: now, chance: 0.5)
        let destination = try #require(schedule.destinations["example.net"])
        #expect(destination.window == 2 && destination.blockedUntil == 0)
    }

    /// That a host says "later" of a recipient is no reason to tell it more at a time.
    @Test func concurrencyGrowsWithSuccessAlone() throws {
        var schedule = try schedule { $0.destinationConcurrency = 20 }
        for number in 1...20 { schedule.add(try TestMessages.job(UInt64(number)), at: 0) }
        for result in [DeliveryResult(.delayed, .noAnswer, "greylisted"), DeliveryResult(.failed, .noAnswer, "")] {
            let job = try next(&schedule, at: 0)
            schedule.ended(job, [result], at: 0, chance: 0.5)
            let window = schedule.destinations["example.net"]?.window
            #expect(window.map { $0 > Destination.initialWindow } == result.action.isFinal)
        }
    }

    @Test func concurrencyIsLimitedInAll() throws {
        var schedule = try schedule { $0.concurrency = 3 }
        for number in 1...9 { schedule.add(try TestMessages.job(UInt64(number), to: "d\(number).example"), at: 0) }
        var count = 0
        while schedule.next(at: 0, where: { _ in true }) != nil { count += 1 }
        #expect(count == 3)
    }

    @Test func unreachableDestinationRestsAndIsTriedByOne() throws {
        var schedule = try schedule()
        for number in 1...20 { schedule.add(try TestMessages.job(UInt64(number)), at: 0) }
        var active: [DeliveryJob] = []
        while let job = schedule.next(at: 0, where: { _ in true }) { active.append(job) }
        for job in active { schedule.ended(job, [unreachable], at: 0, chance: 0.5) }
        let destination = try #require(schedule.destinations["example.net"])
        // Those that began together failed once.
        #expect(destination.failures == 1)
        #expect(destination.blockedUntil == 1000)
        #expect(!isAnyDue(&schedule, at: 999))
        #expect(schedule.nextAlarm == 1000)
        #expect(failing(&schedule, at: 1000) == ["example.net"])
        let probe = try next(&schedule, at: 1000)
        #expect(!isAnyDue(&schedule, at: 1000))
        schedule.ended(probe, [unreachable], at: 1000, chance: 0.5)
        #expect(destination.blockedUntil == 3000)
        _ = schedule.dueWork(at: 3000)
        #expect(order(&schedule, at: 3000).count == 14)
        #expect(schedule.destinations.isEmpty)
    }

    /// Nothing is kept of destinations that no mail is for, however often they could not be reached.
    @Test(arguments: [false, true]) func destinationsWithoutMailAreForgotten(isFlushed: Bool) throws {
        var schedule = try schedule { $0.concurrency = 10_000 }
        var jobs: [DeliveryJob] = []
        for number in 1...5000 {
            for copy in 0...1 {
                let job = try TestMessages.job(UInt64(number + copy * 10_000), to: "d\(number).example")
                schedule.add(job, at: 0)
                jobs.append(job)
            }
        }
        while let job = schedule.next(at: 0, where: { _ in true }) {
            schedule.ended(job, [unreachable], at: 0, chance: 0.5)
            job.due = 5000
            schedule.add(job, at: 0)
        }
        #expect(schedule.destinations.count == 5000)
        if isFlushed {
            _ = flush(&schedule, jobs)
            while let job = schedule.next(at: 0, where: { _ in true }) {
                schedule.ended(job, [unreachable], at: 0, chance: 0.5)
            }
        }
        for job in jobs { schedule.withdraw(job, at: 0) }
        _ = schedule.dueWork(at: 9000)
        while schedule.dueWork(at: 9000).isMore {}
        while schedule.next(at: 9000, where: { _ in true }) != nil || schedule.takeInterruption() {}
        #expect(schedule.destinations.isEmpty)
    }

    @Test func oneRecipientsDelayIsNotTheDestinations() throws {
        var schedule = try schedule()
        schedule.add(try TestMessages.job(1), at: 0)
        schedule.add(try TestMessages.job(2), at: 0)
        let job = try next(&schedule, at: 0)
        schedule.ended(job, [DeliveryResult(.delayed, .noAnswer, "greylisted")], at: 0, chance: 0.5)
        #expect(schedule.destinations["example.net"]?.failures == 0)
        #expect(order(&schedule) == [2])
    }

    @Test func deferredJobsComeInTheirTime() throws {
        var schedule = try schedule()
        for (number, due) in [(1, 3000), (2, 1000), (3, 2000)] {
            let job = try TestMessages.job(UInt64(number))
            job.due = Int64(due)
            schedule.add(job, at: 0)
        }
        #expect(order(&schedule).isEmpty)
        #expect(schedule.nextAlarm == 1000)
        _ = schedule.dueWork(at: 2000)
        #expect(order(&schedule, at: 2000) == [2, 3])
        #expect(schedule.nextAlarm == 3000)
    }

    @Test func manyDueJobsAreMovedInSteps() throws {
        var schedule = try schedule()
        for number in 1...1200 {
            let job = try TestMessages.job(UInt64(number))
            job.due = 10
            schedule.add(job, at: 0)
        }
        var steps = 1
        while schedule.dueWork(at: 10).isMore { steps += 1 }
        #expect(steps == 5)
        #expect(order(&schedule, at: 10).count == 1200)
    }

    @Test func flushTriesDeferredJobsAndBlockedDestinations() throws {
        var schedule = try schedule()
        var jobs: [DeliveryJob] = []
        for number in 1...1200 {
            let job = try TestMessages.job(UInt64(number), to: number % 2 == 0 ? "example.net" : "example.org")
            job.due = 10
            schedule.add(job, at: 0)
            jobs.append(job)
        }
        #expect(flush(&schedule, jobs.filter { $0.destination == "example.net" }) == 600)
        #expect(order(&schedule).allSatisfy { $0 % 2 == 0 })
        #expect(flush(&schedule, jobs) == 600)
        #expect(order(&schedule).count == 600)
        // Alarms of what was tried before its time do nothing.
        #expect(failing(&schedule, at: 10).isEmpty)
    }

    /// A flush of many has a destination that can't be reached tried once: what fails is an answer to the flush.
    @Test func flushTriesADeadDestinationOnce() throws {
        var schedule = try schedule()
        let jobs = try (1...20).map { try TestMessages.job(UInt64($0)) }
        for job in jobs { schedule.add(job, at: 0) }
        schedule.ended(try next(&schedule, at: 0), [unreachable], at: 0, chance: 0.5)
        #expect(!isAnyDue(&schedule, at: 0))
        let number = schedule.failureCount
        #expect(flush(&schedule, Array(jobs[1..<10]), before: number) == 9)
        schedule.ended(try next(&schedule, at: 0), [unreachable], at: 0, chance: 0.5)
        #expect(flush(&schedule, Array(jobs[10..<20]), before: number) == 10)
        #expect(!isAnyDue(&schedule, at: 0))
        #expect(flush(&schedule, [jobs[19]]) == 1)
        #expect(isAnyDue(&schedule, at: 0))
    }

    @Test func withdrawnJobIsPassedOver() throws {
        var schedule = try schedule()
        let jobs = try (1...3).map { try TestMessages.job(UInt64($0)) }
        for job in jobs { schedule.add(job, at: 0) }
        schedule.withdraw(jobs[1], at: 0)
        #expect(schedule.destinations["example.net"]?.line.count == 2)
        // It may come back, and counts once.
        schedule.add(jobs[1], at: 0)
        #expect(order(&schedule).sorted() == [1, 2, 3])
        jobs[0].due = 100
        schedule.add(jobs[0], at: 0)
        schedule.withdraw(jobs[0], at: 0)
        #expect(schedule.destinations.isEmpty)
        _ = schedule.dueWork(at: 100)
        #expect(order(&schedule, at: 100).isEmpty)
    }

    @Test func destinationWaitsForItsDeliverer() throws {
        var schedule = try schedule()
        schedule.add(try TestMessages.job(1), at: 0)
        schedule.add(try TestMessages.job(2, to: ""), at: 0)
        let local = schedule.next(at: 0, where: \.isLocal)
        #expect(local?.message.id.time == 2)
        #expect(!isAnyDue(&schedule, at: 0))
        schedule.delivererReturned(at: 0)
        #expect(try next(&schedule, at: 0).message.id.time == 1)
    }

    @Test func lastAttemptIsAtTheEndOfTheLifetime() throws {
        let schedule = try schedule()
        let job = try TestMessages.job(1)
        #expect(schedule.nextAttempt(of: job, expiry: 100_000, at: 0, chance: 0.5) == 1000)
        job.attempts = 3
        #expect(schedule.nextAttempt(of: job, expiry: 5000, at: 0, chance: 0.5) == 5000)
        #expect(schedule.nextAttempt(of: job, expiry: 10, at: 0, chance: 0.5) == 1000)
    }
}
