import Daemon
import HeapModule
import NIOCore
import SMTP
import Spool
import Testing

@testable import QueueManager

/// Who gets its turn when, with a schedule, deliverers that are pretended, and time that passes as it's told.
@Suite struct FairnessTests {
    private let relayed = DeliveryResult(.relayed, .success, "")
    private let unreachable = DeliveryResult(.delayed, .noAnswer, "no answer", scope: .destination)

    /// A delivery that goes on.
    private struct Running: Comparable {
        let end: Int64
        let number: Int
        let job: DeliveryJob

        static func < (left: Running, right: Running) -> Bool { (left.end, left.number) < (right.end, right.number) }
        static func == (left: Running, right: Running) -> Bool { left.number == right.number }
    }

    private func schedule(_ change: (inout QueueSettings) -> Void = { _ in }) throws -> Schedule {
        var settings = QueueSettings(hostname: "mail.example.test", domains: ["example.test"], try .standard)
        change(&settings)
        return Schedule(settings)
    }

    /// Delivers until all are done or the time is over; when each message got through, by its number. Milliseconds.
    ///
    /// - Parameter duration: how long a delivery takes, and whether it gets through.
    private func run(
        _ schedule: inout Schedule,
        until end: Int64,
        _ duration: (String) -> (Int64, isReached: Bool)
    ) -> [UInt64: Int64] {
        var delivered: [UInt64: Int64] = [:]
        var running = Heap<Running>()
        var (now, number) = (Int64(0), 0)
        while now < end {
            while schedule.dueWork(at: now).isMore {}
            while schedule.step(at: now) {}
            while let job = schedule.next(at: now, where: { _ in true }) {
                number += 1
                running.insert(Running(end: now + duration(job.destination).0, number: number, job: job))
            }
            if running.isEmpty, schedule.nextAlarm == nil { break }
            let next = min(running.min?.end ?? end, schedule.nextAlarm ?? end)
            now = max(now + 1, next)
            while let first = running.min, first.end <= now {
                running.removeMin()
                let job = first.job
                let isReached = duration(job.destination).isReached
                if isReached { delivered[job.message.id.time] = first.end }
                schedule.ended(job, [isReached ? relayed : unreachable], at: now, chance: 0.5)
                guard !isReached else { continue }
                job.attempts += 1
                job.due = now + 300_000
                schedule.add(job, at: now)
            }
        }
        return delivered
    }

    /// A mailing to as many destinations as it has messages, and a single letter behind it.
    @Test func singleLetterWaitsForNoMailing() throws {
        var schedule = try schedule()
        for number in 1...50_000 {
            schedule.add(
                try TestMessages.job(UInt64(number), from: "<list@example.test>", to: "d\(number).example"),
                at: 0
            )
        }
        schedule.add(try TestMessages.job(60_000, from: "<bob@example.test>", to: "other.example"), at: 0)
        // To one of the mailing's destinations, too.
        schedule.add(try TestMessages.job(60_001, from: "<carol@example.test>", to: "d49999.example"), at: 0)
        let delivered = run(&schedule, until: 5000) { _ in (500, true) }
        #expect(delivered[60_000] ?? .max <= 1000)
        #expect(delivered[60_001] ?? .max <= 2000)
        // The mailing goes on at full speed meanwhile.
        #expect(delivered.count > 6000)
    }

    /// The mailing has a letter there, too, and stands before it.
    @Test func singleLetterWaitsForNoMailingInFrontOfIt() throws {
        var schedule = try schedule()
        schedule.add(try TestMessages.job(60_000, from: "<bob@example.test>", to: "other.example"), at: 0)
        schedule.add(try TestMessages.job(60_001, from: "<list@example.test>", to: "other.example"), at: 0)
        for number in 1...50_000 {
            schedule.add(
                try TestMessages.job(UInt64(number), from: "<list@example.test>", to: "d\(number).example"),
                at: 0
            )
        }
        schedule.add(try TestMessages.job(60_002, from: "<carol@example.test>", to: "other.example"), at: 0)
        schedule.add(try TestMessages.job(60_003, from: "<bob@example.test>", to: "other.example"), at: 0)
        let delivered = run(&schedule, until: 5000) { _ in (500, true) }
        for letter: UInt64 in [60_000, 60_002, 60_003] { #expect(delivered[letter] ?? .max <= 2000, "\(letter)") }
    }

    /// A mailing that takes all the room at a destination that answers at once leaves some for one that nobody has tried.
    @Test func aNewDestinationFindsRoom() throws {
        var schedule = try schedule {
            $0.concurrency = 20
            $0.destinationConcurrency = 20
        }
        for number in 1...50_000 {
            schedule.add(try TestMessages.job(UInt64(number), from: "<list@example.test>", to: "big.example"), at: 0)
        }
        for number: UInt64 in 60_000..<60_010 {
            let job = try TestMessages.job(number, from: "<bob@example.test>", to: "new\(number).example")
            job.due = 5000
            schedule.add(job, at: 0)
        }
        let delivered = run(&schedule, until: 10_000) { _ in (10, true) }
        #expect((60_000..<60_010).allSatisfy { delivered[$0] ?? .max <= 5200 })
        #expect(delivered.count > 10_000 && delivered.count < 50_000)
    }

    /// What is only given up uses nothing of a rate.
    @Test func givingUpIsNoDelivery() throws {
        var schedule = try schedule {
            $0.destinations = DomainTable(["example.net": DestinationSettings(interval: 60_000)])
        }
        for number in 1...10 {
            let job = try TestMessages.job(UInt64(number))
            schedule.began(job, at: 0)
            schedule.ended(job, [], at: 0, chance: 0.5)
        }
        let next = try TestMessages.job(11)
        schedule.add(next, at: 0)
        #expect(schedule.next(at: 0, where: { _ in true }) === next)
    }

    /// All to one destination.
    @Test func singleLetterWaitsForNoMailingToTheSameDestination() throws {
        var schedule = try schedule()
        for number in 1...50_000 {
            schedule.add(try TestMessages.job(UInt64(number), from: "<list@example.test>"), at: 0)
        }
        schedule.add(try TestMessages.job(60_000, from: "<bob@example.test>"), at: 0)
        #expect(run(&schedule, until: 3000) { _ in (500, true) }[60_000] ?? .max <= 2000)
    }

    /// Three messages each for two thousand destinations, half of which don't answer for half a minute: five times as many as
    /// may be tried at the same time.
    @Test func deadDestinationsDontSlowTheLiving() throws {
        func deliver(_ kinds: [String]) throws -> (most: Int64, all: Int64) {
            var schedule = try schedule { $0.concurrency = 200 }
            var number: UInt64 = 0
            for _ in 1...3 {
                for destination in 1...1000 {
                    for kind in kinds {
                        number += 1
                        let sender = "<s\(number % 100)@example.test>"
                        let job = try TestMessages.job(number, from: sender, to: "\(kind)\(destination).example")
                        schedule.add(job, at: 0)
                    }
                }
            }
            let delivered = run(&schedule, until: 600_000) { $0.hasPrefix("dead") ? (30_000, false) : (200, true) }
            #expect(delivered.count == 3000)
            let times = delivered.values.sorted()
            return (times[times.count * 4 / 5], times.last ?? .max)
        }
        let (alone, together) = (try deliver(["living"]), try deliver(["dead", "living"]))
        #expect(alone.all < 5000)
        // One of the dead goes slow after two seconds, and makes room for others; those that find none wait until the first
        // have failed.
        #expect(together.most < alone.most + 15_000)
        #expect(together.all < 40_000)
    }

    private func isNothingDue(_ schedule: inout Schedule) -> Bool { schedule.next(at: 0, where: { _ in true }) == nil }

    @Test func ratesAreKept() throws {
        var schedule = try schedule {
            $0.destinations = DomainTable(["example.net": DestinationSettings(interval: 1000)])
        }
        for number in 1...10 { schedule.add(try TestMessages.job(UInt64(number)), at: 0) }
        for number in 11...20 { schedule.add(try TestMessages.job(UInt64(number), to: "other.example"), at: 0) }
        let delivered = run(&schedule, until: 60_000) { _ in (10, true) }
        let times: [Int64] = (1...10).compactMap { delivered[$0] }
        let expected: [Int64] = (0..<10).map { Int64($0) * 1000 + 10 }
        #expect(times == expected)
        #expect((11...20).allSatisfy { delivered[$0] ?? .max < 1000 })
        #expect(schedule.destinations.isEmpty)
    }

    @Test func classesAndDestinationsHaveTheirOwnTimes() throws {
        var settings = QueueSettings(hostname: "mail.example.test", domains: ["example.test"], try .standard)
        settings.classes[.bulk, default: .init()].lifetime = .hours(1)
        settings.classes[.bulk, default: .init()].retryMinimum = .hours(2)
        var slow = DestinationSettings()
        slow.times.retryMinimum = .hours(3)
        settings.destinations = DomainTable(["slow.example": slow, ".slow.example": slow])
        #expect(settings.backoff(.bulk, to: "an.example").minimum == 7_200_000)
        #expect(settings.backoff(.bulk, to: "mx.slow.example").minimum == 10_800_000)
        #expect(settings.own("") == nil)
        settings.bulkRecipients = 10
        #expect(settings.deliveryClass(isReport: true, priority: 5, recipients: 1) == .bounce)
        #expect(settings.deliveryClass(isReport: false, priority: 5, recipients: 100) == .priority)
        #expect(settings.deliveryClass(isReport: false, priority: 0, recipients: 9) == .usual)
        #expect(settings.deliveryClass(isReport: false, priority: 0, recipients: 10) == .bulk)
        #expect(settings.deliveryClass(isReport: false, priority: -1, recipients: 1) == .bulk)
        #expect(settings.lifetime(.bounce) == settings.bounceLifetime)
        #expect(settings.lifetime(.bulk) == 3_600_000)
        #expect(settings.lifetime(.usual) == settings.lifetime)
        #expect(settings.backoff(.bulk, to: "example.net").minimum == 7_200_000)
        #expect(settings.backoff(.bulk, to: "slow.example").minimum == 10_800_000)
        #expect(settings.backoff(nil, to: "example.net").minimum == settings.retryMinimum)
    }

    /// What is paused is put aside in parts, and comes back in parts.
    @Test func manyArePausedAndResumed() throws {
        var schedule = try schedule { $0.concurrency = 100_000 }
        for number in 1...10_000 {
            schedule.add(
                try TestMessages.job(UInt64(number), from: "<list@example.test>", to: "d\(number % 1000).example"),
                at: 0
            )
        }
        var pauses = Pauses()
        pauses.insert(Pause(.sender("list@example.test"), since: 0))
        schedule.setPauses(pauses, at: 0)
        var rounds = 0
        repeat {
            #expect(isNothingDue(&schedule))
            rounds += 1
        } while schedule.takeInterruption()
        #expect(rounds == 41)
        schedule.add(try TestMessages.job(60_000, from: "<bob@example.test>", to: "d1.example"), at: 0)
        let next = schedule.next(at: 0, where: { _ in true })
        #expect(next?.message.id.time == 60_000)
        schedule.setPauses(Pauses(), at: 0)
        var steps = 1
        while schedule.step(at: 0) { steps += 1 }
        #expect(steps == 41)
        #expect(run(&schedule, until: 60_000) { _ in (10, true) }.count == 10_000)
    }

    /// Nothing else may be known of its destination.
    @Test func withdrawnPausedJobStaysAway() throws {
        var schedule = try schedule()
        var pauses = Pauses()
        pauses.insert(Pause(.destination("example.net"), since: 0))
        schedule.setPauses(pauses, at: 0)
        let job = try TestMessages.job(1)
        schedule.add(job, at: 0)
        #expect(isNothingDue(&schedule))
        #expect(schedule.destinations.isEmpty)
        schedule.withdraw(job, at: 0)
        schedule.setPauses(Pauses(), at: 0)
        while schedule.step(at: 0) {}
        #expect(isNothingDue(&schedule))
    }
}
