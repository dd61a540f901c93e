import NIOCore
import Testing

@testable import RemoteRelay

@Suite struct RestTimesTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private func admits(_ rests: inout RestTimes<String>, at now: NIODeadline) -> Bool { rests.admits("a", at: now) }

    @Test func restGrowsWithEachFailure() {
        var rests = RestTimes<String>(first: .minutes(1), longest: .minutes(5), probe: .seconds(30))
        var now = start
        #expect(admits(&rests, at: now))
        for minutes in [1, 2, 4, 5, 5] as [Int64] {
            rests.note("a", at: now)
            // Those that began together with it.
            rests.note("a", at: now + .seconds(1))
            #expect(!admits(&rests, at: now + .minutes(minutes) - .seconds(1)))
            now = now + .minutes(minutes)
            #expect(!rests.isResting("a", at: now))
            // One finds out, and the others wait for it.
            #expect(admits(&rests, at: now))
            #expect(!admits(&rests, at: now))
            #expect(rests.isResting("a", at: now))
        }
        // Who finds out may never come back.
        #expect(admits(&rests, at: now + .seconds(31)))
        #expect(
            rests.hasFailed("a", within: .minutes(10), at: now) && !rests.hasFailed("a", within: .seconds(1), at: now)
        )
        rests.forget("a")
        #expect(admits(&rests, at: now))
        #expect(rests.count == 0)
    }

    @Test func memoryIsBounded() {
        var rests = RestTimes<Int>(first: .minutes(1), longest: .hours(1), capacity: 100)
        for key in 0..<1000 { rests.note(key, at: start) }
        #expect(rests.count <= 100)
        // What has been well for long goes first.
        rests = RestTimes(first: .minutes(1), longest: .hours(1), capacity: 100)
        for key in 0..<99 { rests.note(key, at: start) }
        rests.note(99, at: start + .minutes(3))
        rests.note(100, at: start + .minutes(3))
        #expect(rests.count == 2 && rests.isResting(99, at: start + .minutes(3)))
    }
}
