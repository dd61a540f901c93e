import NIOCore
import Testing

@testable import Authority

@Suite struct LoginThrottleTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let attempt = Self.attempt(7)

    private static func attempt(_ client: Int, _ account: String = "alice") -> LoginThrottle.Attempt {
        .init(client: [192, 0, UInt8(client / 256), UInt8(client % 256)], account: account)
    }

    @Test func theWaitDoublesUpToTheLongest() {
        var throttle = LoginThrottle(first: .milliseconds(500), longest: .seconds(8))
        var pauses: [Int64] = []
        for _ in 0..<8 {
            pauses.append(throttle.pause(for: attempt, now: start).nanoseconds / 1_000_000)
            throttle.failed(attempt, now: start)
        }
        #expect(pauses == [0, 500, 1000, 2000, 4000, 8000, 8000, 8000])
        #expect(throttle.pause(for: Self.attempt(8, "bob"), now: start) == .zero)
    }

    @Test func countlessFailuresDoNotOverflow() {
        var throttle = LoginThrottle(first: .hours(1000), longest: .hours(2000))
        for _ in 0..<200 { throttle.failed(attempt, now: start) }
        #expect(throttle.pause(for: attempt, now: start) == .hours(2000))
    }

    @Test func successForgives() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8))
        throttle.failed(attempt, now: start)
        throttle.succeeded(attempt, now: start)
        #expect(throttle.pause(for: attempt, now: start) == .zero)
        #expect(throttle.pause(for: Self.attempt(7, "bob"), now: start) == .zero)
        #expect(throttle.pause(for: Self.attempt(8), now: start) == .zero)
    }

    /// Who has an account of his own guesses at others' no faster for it.
    @Test func successForgivesNoGuessesAtOthers() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8))
        let own = Self.attempt(7, "mallory")
        for _ in 0..<3 {
            throttle.failed(attempt, now: start)
            throttle.failed(own, now: start)
            throttle.succeeded(own, now: start)
        }
        #expect(throttle.pause(for: attempt, now: start) == .seconds(4))
        #expect(throttle.pause(for: Self.attempt(7, "bob"), now: start) == .seconds(4))
        #expect(throttle.pause(for: own, now: start) == .zero)
    }

    /// A device that nobody told the new password, and others at its address.
    @Test func theSamePasswordAgainIsNoOtherGuess() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8))
        for minute in 0..<100 as Range<Int64> {
            let now = start + .minutes(minute)
            throttle.failed(attempt, secret: 1, now: now)
            #expect(throttle.pause(for: Self.attempt(7, "bob"), secret: 2, now: now) <= .seconds(1))
            #expect(throttle.pause(for: Self.attempt(8), secret: 2, now: now) <= .seconds(1))
        }
        let end = start + .minutes(99)
        // Its owner's other devices don't wait for it, but it does.
        #expect(throttle.pause(for: attempt, secret: 2, now: end) == .zero)
        #expect(throttle.pause(for: attempt, secret: 1, now: end) == .seconds(8))
        // Elsewhere it's another guess, as is another password.
        throttle.failed(Self.attempt(7, "bob"), secret: 1, now: end)
        throttle.failed(Self.attempt(7, "carol"), secret: 1, now: end)
        throttle.failed(Self.attempt(7, "carol"), secret: 2, now: end)
        #expect(throttle.pause(for: Self.attempt(7, "dave"), secret: 1, now: end) == .seconds(4))
    }

    @Test func aWrongPasswordMayBecomeTheRightOne() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8))
        for _ in 0..<5 { throttle.failed(attempt, secret: 1, now: start) }
        throttle.succeeded(attempt, secret: 1, now: start)
        #expect(throttle.pause(for: attempt, secret: 1, now: start) == .zero)
    }

    /// Whoever shares the guessing at one account waits as if it were one client, but no owner waits long for it.
    @Test func failuresCountForTheAccountToo() {
        var throttle = LoginThrottle(first: .milliseconds(500), longest: .seconds(8))
        for client in 0..<12 { throttle.failed(Self.attempt(client), now: start) }
        #expect(throttle.pause(for: Self.attempt(100), now: start) == .seconds(4))
        #expect(throttle.pause(for: Self.attempt(100, "bob"), now: start) == .zero)
        // One of them knew it after all: the others' guesses still count.
        throttle.succeeded(Self.attempt(3), now: start)
        #expect(throttle.pause(for: Self.attempt(100), now: start) == .seconds(4))
    }

    @Test func whoWasHereBeforeIsNotHeldUpByOthers() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8))
        throttle.succeeded(attempt, now: start)
        for client in 0..<20 { throttle.failed(Self.attempt(client == 7 ? 21 : client), now: start) }
        for _ in 0..<5 { throttle.failed(Self.attempt(7, "bob"), now: start) }
        #expect(throttle.pause(for: attempt, now: start) == .zero)
        // Only by itself: its neighbours may be guessing.
        throttle.failed(attempt, now: start)
        throttle.failed(attempt, now: start)
        #expect(throttle.pause(for: attempt, now: start) == .seconds(2))
    }

    @Test func failuresAreForgottenAfterAWhile() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8), memory: .minutes(15))
        throttle.failed(attempt, now: start)
        throttle.failed(attempt, now: start + .minutes(14))
        #expect(throttle.pause(for: attempt, now: start + .minutes(28)) == .seconds(2))
        throttle.failed(attempt, now: start + .minutes(29))
        #expect(throttle.pause(for: attempt, now: start + .minutes(29)) == .seconds(1))
        #expect(throttle.pause(for: attempt, now: start + .minutes(44)) == .zero)
    }

    @Test func memoryIsBoundedAndTheLatestStay() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8), capacity: 100)
        for number in 0..<1000 {
            let time = start + .milliseconds(Int64(number))
            throttle.failed(Self.attempt(number, "user\(number)"), now: time)
            throttle.succeeded(Self.attempt(number, "friend\(number)"), now: time)
            #expect(throttle.count <= 100)
        }
        let end = start + .seconds(1)
        #expect(throttle.pause(for: Self.attempt(999, "user999"), now: end) == .seconds(1))
        #expect(throttle.pause(for: Self.attempt(0, "user0"), now: end) == .zero)
        #expect(throttle.isFriend(Self.attempt(999, "friend999")))
        #expect(!throttle.isFriend(Self.attempt(0, "friend0")))
    }
}

extension LoginThrottle {
    /// With a password of its own for each call.
    func pause(for attempt: Attempt, now: NIODeadline) -> TimeAmount {
        pause(for: attempt, secret: .random(in: 0 ... .max), now: now)
    }

    mutating func failed(_ attempt: Attempt, now: NIODeadline) {
        failed(attempt, secret: .random(in: 0 ... .max), now: now)
    }

    mutating func succeeded(_ attempt: Attempt, now: NIODeadline) {
        succeeded(attempt, secret: .random(in: 0 ... .max), now: now)
    }
}
