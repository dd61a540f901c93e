import DNS
import Testing

@testable import ZoneTransfer

struct RefreshScheduleTests {
    private func start(_ refresh: UInt32, _ retry: UInt32, _ expire: UInt32) throws -> StartOfAuthority {
        try #require(StartOfAuthority(try record("@ SOA ns root 1 \(refresh) \(retry) \(expire) 300")))
    }

    @Test func aZoneThatComes() throws {
        var schedule = RefreshSchedule(now: 100, minimum: 10)
        #expect(schedule.nextCheck == 100)
        #expect(schedule.isExpired(at: 100))
        schedule.confirm(try start(3600, 600, 86400), at: 110, jitter: 0)
        #expect(schedule.nextCheck == 3710)
        #expect(schedule.expires == 86510)
        schedule.fail(at: 3710, jitter: 0)
        #expect(schedule.nextCheck == 4310)
        #expect(!schedule.isExpired(at: 86509))
        #expect(schedule.isExpired(at: 86510))
        schedule.confirm(try start(3600, 600, 86400), at: 90000, jitter: 1)
        #expect(schedule.nextCheck == 92700)
    }

    @Test func aCopyFromBefore() throws {
        var schedule = RefreshSchedule(now: 1000, minimum: 10)
        schedule.restore(try start(3600, 600, 86400), confirmed: 1000 - 86300)
        #expect(schedule.nextCheck == 1000)
        #expect(!schedule.isExpired(at: 1099))
        #expect(schedule.isExpired(at: 1100))
    }

    @Test func timesOutOfReason() throws {
        var schedule = RefreshSchedule(now: 0, minimum: 30)
        schedule.confirm(try start(0, 0, 0), at: 0, jitter: 0)
        #expect(schedule.nextCheck == 30)
        #expect(schedule.expires == 60)
        schedule.confirm(try start(0x7FFF_FFFF, 0x7FFF_FFFF, 0x7FFF_FFFF), at: 0, jitter: 0)
        #expect(schedule.nextCheck == 7 * 86400)
        #expect(schedule.expires == Int64(365 * 86400))
        schedule.fail(at: 0, jitter: 0)
        #expect(schedule.nextCheck == 86400)
    }

    @Test func attemptsForAZoneThatNeverCame() {
        var schedule = RefreshSchedule(now: 0, minimum: 10)
        var pauses: [Int64] = []
        for _ in 0..<9 {
            let now = schedule.nextCheck
            schedule.fail(at: now, jitter: 0)
            pauses.append(schedule.nextCheck - now)
        }
        #expect(pauses == [10, 20, 40, 80, 160, 320, 640, 900, 900])
        #expect(schedule.expires == nil)
    }
}
