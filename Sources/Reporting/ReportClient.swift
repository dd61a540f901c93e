import Bus
import CoreMetrics
import DequeModule
import NIOCore
import Network

/// Tells reportd what came of messages and sessions. Nobody waits for it: while reportd is away, some results are kept, and those
/// beyond are lost, as are those that were under way. Belongs to one event loop.
package final class ReportClient: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let client: BusClient
    private let loop: any EventLoop
    private var waiting: Deque<ReportedResult> = []
    private var isSending = false
    private let lost = Counter(label: "report-results-lost")

    /// Results that wait for reportd.
    private static let maximumWaiting = 1000
    /// Results that are sent before their answers are waited for.
    private static let batch = 100
    /// Milliseconds.
    private static let firstWait: Int64 = 50
    private static let longestWait: Int64 = 10_000

    /// - Parameter path: of reportd's socket, as this process sees it.
    package init(path: String, on loop: any EventLoop) {
        self.loop = loop
        client = BusClient(path: path, on: loop)
    }

    /// Returns at once.
    package func report(_ result: ReportedResult) {
        loop.assertInEventLoop()
        guard waiting.count < Self.maximumWaiting else { return lost.increment() }
        waiting.append(result)
        guard !isSending else { return }
        isSending = true
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            await send()
            isSending = false
        }
    }

    private func send() async {
        var wait = Self.firstWait
        while !waiting.isEmpty {
            do throws(BusError) {
                try await client.connect()
            } catch {
                await loop.pause(.milliseconds(wait))
                wait = min(wait * 2, Self.longestWait)
                continue
            }
            wait = Self.firstWait
            let batch = Array(waiting.prefix(Self.batch))
            waiting.removeFirst(batch.count)
            await exchange(batch)
        }
    }

    /// Returns when each has its answer, or the connection is gone.
    private func exchange(_ batch: [ReportedResult]) async {
        var open = batch.count
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            for result in batch {
                client.start(result.frame) { [lost] answer in
                    if (try? answer.get())?.replyKind != .ok { lost.increment() }
                    open -= 1
                    if open == 0 { continuation.resume() }
                    return true
                }
            }
        }
    }
}
