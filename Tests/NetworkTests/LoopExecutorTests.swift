import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Testing

@Suite struct LoopExecutorTests {
    @Test func whoYieldsLetsTheLoopGoFirst() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let order = NIOLockedValueBox<[String]>([])
        await Task(executorPreference: LoopExecutor.of(loop)) {
            for step in ["one", "two", "three"] {
                order.withLockedValue { $0.append(step) }
                loop.execute { order.withLockedValue { $0.append("loop") } }
                await Task.yield()
                loop.assertInEventLoop()
            }
        }.value
        #expect(order.withLockedValue { $0 } == ["one", "loop", "two", "loop", "three", "loop"])
    }

    /// Jobs from other threads run on the loop, in the order they came.
    @Test func jobsRunOnTheirLoopInOrder() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let order = NIOLockedValueBox<[Int]>([])
        let tasks = (0..<100).map { number in
            Task(executorPreference: LoopExecutor.of(loop)) {
                loop.preconditionInEventLoop()
                order.withLockedValue { $0.append(number) }
            }
        }
        for task in tasks { await task.value }
        #expect(order.withLockedValue { $0 } == Array(0..<100))
    }

    /// Long work on a loop, and a connection on the same loop.
    @Test(.timeLimit(.minutes(1))) func whoLetsOthersGoLetsConnectionsBeServed() async throws {
        let answers = try await Pair.run { connection in
            while let line = try? await connection.readLine(maximum: 100) {
                connection.write(line)
                connection.write("\n")
                do { try await connection.flush() } catch { return }
            }
        } client: { connection in
            let loop = connection.eventLoop
            let isServed = NIOLoopBoundBox(false, eventLoop: loop)
            let end = NIODeadline.now() + .seconds(5)
            // Two of them: neither must take the other for somebody else's turn.
            let work = (0..<2).map { _ in
                Task(executorPreference: LoopExecutor.of(loop)) {
                    while !isServed.value, .now() < end {
                        let part = NIODeadline.now() + .milliseconds(2)
                        while .now() < part {}
                        await loop.letOthersGo()
                    }
                }
            }
            var answers = 0
            while answers < 20, .now() < end {
                connection.write("\(answers)\n")
                try await connection.flush()
                if try await connection.readLine(maximum: 100) != nil { answers += 1 }
            }
            isServed.value = true
            for task in work { await task.value }
            return answers
        }
        #expect(answers == 20)
    }

    /// Where nobody else has anything to do.
    @Test func lettingOthersGoTakesNoTime() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        var shortest = Duration.seconds(10)
        for _ in 0..<3 {
            let time = await Task(executorPreference: LoopExecutor.of(loop)) {
                await ContinuousClock().measure {
                    for _ in 0..<500 { await loop.letOthersGo() }
                }
            }.value
            shortest = min(shortest, time)
        }
        #expect(shortest < .milliseconds(500))
    }

    @Test func oneLoopMayHaveManyThatLetOthersGo() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let counts = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<20 {
                group.addTask(executorPreference: LoopExecutor.of(loop)) {
                    for _ in 0..<20 { await loop.letOthersGo() }
                    return 20
                }
            }
            return await group.reduce(0, +)
        }
        #expect(counts == 400)
    }
}
