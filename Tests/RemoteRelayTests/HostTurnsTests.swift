import NIOCore
import NIOPosix
import Network
import Testing

@testable import RemoteRelay

@Suite struct HostTurnsTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    private func run<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await body() }.value
    }

    @Test func soManyGoAtATimeAndAsManyWait() async throws {
        let loop = loop
        try await run {
            let turns = HostTurns(limit: 2, on: loop)
            let host = try SocketAddress(ipAddress: "192.0.2.1", port: 25)
            #expect(await turns.enter(host))
            #expect(await turns.enter(host))
            let waiting = (0..<2).map { _ in
                Task(executorPreference: LoopExecutor.of(loop)) { await turns.enter(host) }
            }
            await loop.pause(.milliseconds(1))
            // The line is full; another host has its own.
            #expect(await !turns.enter(host))
            let other = try SocketAddress(ipAddress: "192.0.2.2", port: 25)
            #expect(await turns.enter(other))
            for task in waiting {
                turns.leave(host)
                #expect(await task.value)
            }
            #expect(turns.count == 2)
            for _ in 0..<2 { turns.leave(host) }
            turns.leave(other)
            // Nothing is kept of hosts without sessions.
            #expect(turns.count == 0)
        }
    }

    /// However many may be there at a time.
    @Test func soManyGoInATime() async throws {
        let loop = loop
        try await run {
            let turns = HostTurns(limit: 10, patience: .seconds(20), on: loop)
            let host = try SocketAddress(ipAddress: "192.0.2.1", port: 25)
            let begun = NIODeadline.now()
            for _ in 0..<4 {
                #expect(await turns.enter(host, every: .milliseconds(50)))
                turns.leave(host)
            }
            #expect(.now() - begun >= .milliseconds(150))
            #expect(turns.isTaken(host))
            // Who would wait in vain need not wait.
            #expect(await turns.enter(host, every: .minutes(1)))
            #expect(await !turns.enter(host, every: .minutes(1)))
            turns.leave(host)
        }
    }

    @Test func hostWithARateIsForgottenWhenItsTimeIsOver() async throws {
        let loop = loop
        try await run {
            let turns = HostTurns(limit: 1, on: loop)
            let host = try SocketAddress(ipAddress: "192.0.2.1", port: 25)
            #expect(await turns.enter(host, every: .milliseconds(20)))
            turns.leave(host)
            #expect(turns.count == 1)
            let end = NIODeadline.now() + .seconds(20)
            while turns.count > 0, .now() < end { await loop.pause(.milliseconds(5)) }
            #expect(turns.count == 0)
        }
    }

    @Test func nobodyWaitsForEver() async throws {
        let loop = loop
        try await run {
            let turns = HostTurns(limit: 1, patience: .milliseconds(5), on: loop)
            let host = try SocketAddress(ipAddress: "192.0.2.1", port: 25)
            #expect(await turns.enter(host))
            #expect(await !turns.enter(host))
            turns.leave(host)
            #expect(await turns.enter(host))
            turns.leave(host)
            #expect(turns.count == 0)
        }
    }
}
