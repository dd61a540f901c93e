import NIOCore
import NIOEmbedded
import Network
import Testing

@testable import Authority

/// Who gets the place in which a password is verified.
@Suite struct LoginPlacesTests {
    /// Runs the body on a loop whose clock stands still.
    private func run(
        places: Int,
        maximumWaiting: Int,
        _ body: @escaping @Sendable (LoginPlaces, Line) async -> Void
    ) async {
        let loop = NIOAsyncTestingEventLoop()
        let places = LoginPlaces(on: loop, places: places, maximumWaiting: maximumWaiting)
        await Task(executorPreference: LoopExecutor.of(loop)) { await body(places, Line(loop)) }.value
        await loop.shutdownGracefully()
    }

    /// Those that got a place or were sent away, in order. Belongs to one loop.
    private final class Line: @unchecked Sendable {
        var entered: [String] = []
        var refused: [String] = []
        private var waiting: [Task<Void, Never>] = []
        private let executor: LoopExecutor

        init(_ loop: any EventLoop) { executor = LoopExecutor.of(loop) }

        /// Has somebody wait for a place, who gives it back at once.
        func add(_ name: String, _ client: UInt8, to places: LoginPlaces, isFriend: Bool = false) async {
            waiting.append(
                Task(executorPreference: executor) {
                    guard await places.enter([client], isFriend: isFriend) else { return self.refused.append(name) }
                    self.entered.append(name)
                    places.leave()
                }
            )
            await Task.yield()
            await Task.yield()
        }

        func end() async { for task in waiting { await task.value } }
    }

    @Test func clientsTakeTurns() async {
        await run(places: 1, maximumWaiting: 100) { places, line in
            #expect(await places.enter([0], isFriend: false))
            for number in 0..<5 { await line.add("a\(number)", 1, to: places) }
            await line.add("b", 2, to: places)
            await line.add("c", 3, to: places)
            places.leave()
            await line.end()
            #expect(line.entered == ["a0", "b", "c", "a1", "a2", "a3", "a4"])
        }
    }

    /// A flood from one address pushes out nobody but itself.
    @Test func theLongestLineMakesRoom() async {
        await run(places: 1, maximumWaiting: 10) { places, line in
            #expect(await places.enter([0], isFriend: false))
            for number in 0..<20 { await line.add("a\(number)", 1, to: places) }
            await line.add("b", 2, to: places)
            await line.add("c", 3, to: places)
            places.leave()
            await line.end()
            #expect(line.entered.prefix(3) == ["a0", "b", "c"])
            #expect(line.entered.count == 9 && line.refused.count == 13)
        }
    }

    @Test func friendsGoFirstButNotAlways() async {
        await run(places: 1, maximumWaiting: 10) { places, line in
            #expect(await places.enter([0], isFriend: false))
            // All the room for strangers is taken.
            for number in 0..<9 { await line.add("s\(number)", UInt8(number + 1), to: places) }
            await line.add("late", 99, to: places)
            for number in 0..<5 { await line.add("f\(number)", UInt8(number + 1), to: places, isFriend: true) }
            places.leave()
            await line.end()
            #expect(line.refused == ["late"])
            #expect(line.entered.prefix(6) == ["f0", "f1", "f2", "s0", "f3", "f4"])
            #expect(line.entered.count == 14)
        }
    }
}
