import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Network
import Testing

@testable import Authority

/// Which logins make room for which.
@Suite struct SlowedLoginsTests {
    /// Logins that wait, numbered in the order they came.
    private final class Crowd: Sendable {
        private let slowed: SlowedLogins
        private let loop: NIOAsyncTestingEventLoop
        private let tasks = NIOLockedValueBox<[Task<Void, Never>]>([])
        /// Whether they may go on, of those that wait no more.
        private let answers = NIOLockedValueBox<[Int: Bool]>([:])

        init(_ loop: NIOAsyncTestingEventLoop, maximum: Int) {
            self.loop = loop
            slowed = SlowedLogins(on: loop, maximum: maximum)
        }

        var count: Int {
            get async { await (try? loop.executeInContext { [slowed] in slowed.count }) ?? -1 }
        }

        /// Those that were sent away so far.
        var sentAway: [Int] { answers.withLockedValue { $0.filter { !$0.value }.keys.sorted() } }

        func come(_ client: UInt8, _ account: String = "alice", isFriend: Bool = false) async {
            let number = tasks.withLockedValue(\.count)
            let task = Task(executorPreference: LoopExecutor.of(loop)) { [self] in
                let attempt = LoginThrottle.Attempt(client: [client], account: account)
                let mayGoOn = await slowed.wait(.seconds(10), attempt, isFriend: isFriend)
                answers.withLockedValue { $0[number] = mayGoOn }
            }
            tasks.withLockedValue { $0.append(task) }
            // It gets to wait, and whoever is sent away goes.
            for _ in 0..<4 { await loop.run() }
        }

        /// The clock goes on, and with it all that still wait.
        func release() async {
            await loop.advanceTime(by: .seconds(10))
            for _ in 0..<4 { await loop.run() }
            for task in tasks.withLockedValue({ $0 }) { await task.value }
        }
    }

    private func run(maximum: Int = 5000, _ body: (Crowd) async throws -> Void) async throws {
        let loop = NIOAsyncTestingEventLoop()
        let crowd = Crowd(loop, maximum: maximum)
        try await body(crowd)
        let sentAway = crowd.sentAway
        await crowd.release()
        #expect(crowd.sentAway == sentAway)
        #expect(await crowd.count == 0)
        await loop.shutdownGracefully()
    }

    /// At an account whoever has most of its room makes some, the login that came first.
    @Test func theGreediestClientMakesRoom() async throws {
        try await run { crowd in
            for _ in 0..<8 { await crowd.come(1) }
            for client in 2...9 as ClosedRange<UInt8> { await crowd.come(client) }
            #expect(crowd.sentAway == [])
            #expect(await crowd.count == 16)
            await crowd.come(10)
            #expect(crowd.sentAway == [0])
            for client in 11...16 as ClosedRange<UInt8> { await crowd.come(client) }
            // One of the first client's is left: it's like all others now.
            #expect(crowd.sentAway == Array(0...6))
            #expect(await crowd.count == 16)
            await crowd.come(17)
            #expect(crowd.sentAway == Array(0...7))
            #expect(await crowd.count == 16)
        }
    }

    /// Nobody gets room from those that have no more of it.
    @Test func whoHasMostGetsNoMore() async throws {
        try await run { crowd in
            for _ in 0..<8 { await crowd.come(1) }
            for _ in 0..<8 { await crowd.come(2) }
            // Number 16.
            await crowd.come(1)
            #expect(crowd.sentAway == [16])
            await crowd.come(3)
            await crowd.come(3)
            // Each had eight, and each lost one.
            #expect(crowd.sentAway == [0, 8, 16])
        }
        try await run { crowd in
            for client in 1...16 as ClosedRange<UInt8> { await crowd.come(client) }
            await crowd.come(5)
            #expect(crowd.sentAway == [16])
        }
    }

    /// A crowd at one account touches neither another one nor those that were there before.
    @Test func friendsAndOtherAccountsKeepTheirRoom() async throws {
        try await run { crowd in
            await crowd.come(1, isFriend: true)
            await crowd.come(2, "bob")
            for client in 10..<40 as Range<UInt8> {
                await crowd.come(client)
                await crowd.come(client)
            }
            #expect(crowd.sentAway.count == 44)
            #expect(!crowd.sentAway.contains(0) && !crowd.sentAway.contains(1))
            // Their own room has an end too.
            for _ in 0..<8 { await crowd.come(1, isFriend: true) }
            #expect(crowd.sentAway.count == 45 && crowd.sentAway.last == 69)
        }
    }

    /// In all, whoever has waited longest, but for friends.
    @Test func theOldestMakesRoomInAll() async throws {
        try await run(maximum: 3) { crowd in
            await crowd.come(1, isFriend: true)
            await crowd.come(2, "bob")
            await crowd.come(3, "carol")
            await crowd.come(4, "dave")
            #expect(crowd.sentAway == [1])
            await crowd.come(5, "erin", isFriend: true)
            await crowd.come(6, "frank", isFriend: true)
            #expect(crowd.sentAway == [1, 2, 3])
            await crowd.come(7, "grace")
            #expect(crowd.sentAway == [1, 2, 3, 6])
        }
    }
}
