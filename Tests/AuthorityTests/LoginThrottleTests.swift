import NIOCore
import Testing

@testable import Authority

@Suite struct LoginThrottleTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let client: [UInt8] = [192, 0, 2, 7]

    @Test func theWaitDoublesUpToTheLongest() {
        var throttle = LoginThrottle(first: .milliseconds(500), longest: .seconds(8))
        var pauses: [Int64] = []
        for _ in 0..<8 {
            pauses.append(throttle.pause(for: client, now: start).nanoseconds / 1_000_000)
            throttle.failed(client, now: start)
        }
        #expect(pauses == [0, 500, 1000, 2000, 4000, 8000, 8000, 8000])
        #expect(throttle.pause(for: [192, 0, 2, 8], now: start) == .zero)
    }

    @Test func countlessFailuresDoNotOverflow() {
        var throttle = LoginThrottle(first: .hours(1000), longest: .hours(2000))
        for _ in 0..<200 { throttle.failed(client, now: start) }
        #expect(throttle.pause(for: client, now: start) == .hours(2000))
    }

    @Test func successForgives() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8))
        throttle.failed(client, now: start)
        throttle.succeeded(client)
        #expect(throttle.pause(for: client, now: start) == .zero)
        #expect(throttle.count == 0)
    }

    @Test func failuresAreForgottenAfterAWhile() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8), memory: .minutes(15))
        throttle.failed(client, now: start)
        throttle.failed(client, now: start + .minutes(14))
        #expect(throttle.pause(for: client, now: start + .minutes(28)) == .seconds(2))
        throttle.failed(client, now: start + .minutes(29))
        #expect(throttle.pause(for: client, now: start + .minutes(29)) == .seconds(1))
        #expect(throttle.pause(for: client, now: start + .minutes(44)) == .zero)
        #expect(throttle.count == 0)
    }

    @Test func memoryIsBoundedAndTheLatestStay() {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8), capacity: 100)
        for number in 0..<1000 {
            let client = [UInt8(number / 256), UInt8(number % 256)]
            throttle.failed(client, now: start + .milliseconds(Int64(number)))
            #expect(throttle.count <= 100)
        }
        let end = start + .seconds(1)
        #expect(throttle.pause(for: [UInt8(999 / 256), UInt8(999 % 256)], now: end) == .seconds(1))
        #expect(throttle.pause(for: [0, 0], now: end) == .zero)
    }
}
