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
}
