import DequeModule
import NIOConcurrencyHelpers
import NIOPosix

/// Threads on which calls may wait (for the disk, for a slow library), so that event loops never do. Work that has begun is
/// finished: the pool is never shut down, since that would go through libdispatch.
///
/// Whoever shares a pool with others takes a `Line`: lines are served in turn, one call at a time, and a line never has more
/// than its share of the threads. So calls should be short: a few milliseconds of work.
package struct BlockingPool: Sendable {
    private let threads: NIOThreadPool
    private let turns: Turns

    /// Starts the threads.
    ///
    /// - Parameters:
    ///   - threads: how many calls may run at once; more wait in line.
    ///   - share: how many of them one line may have; a quarter of the threads, but one at least, where it isn't said.
    package init(threads: Int, share: Int? = nil) {
        self.init(NIOThreadPool(numberOfThreads: threads), share: share ?? max(1, threads / 4))
        self.threads.start()
    }

    private init(_ threads: NIOThreadPool, share: Int) {
        self.threads = threads
        turns = Turns(share: share)
    }

    /// The process-wide pool, for rare work.
    package static let shared = BlockingPool(NIOThreadPool.singleton, share: 1)

    /// Runs the body on a thread of the pool, for nobody in particular; the caller goes on where it was, on its loop.
    ///
    /// - Throws: what the body throws.
    package func run<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        // The state is `cancelled` only in a pool that was shut down.
        try await result(of: body) { work in threads.submit { _ in work() } }
    }

    /// The calls of one account, or of whoever else is to have one turn like the others.
    package func line(_ name: String) -> Line { Line(pool: self, name: name) }

    /// Calls that wait for their turn, and for each other.
    package struct Line: Sendable {
        fileprivate let pool: BlockingPool
        fileprivate let name: String

        /// Runs the body when the line has its turn; the caller goes on where it was, on its loop.
        ///
        /// - Throws: what the body throws.
        package func run<Value: Sendable, Failure: Error>(
            _ body: @escaping @Sendable () throws(Failure) -> Value
        ) async throws(Failure) -> Value {
            try await pool.result(of: body) { work in
                if pool.turns.add(work, to: name) { pool.takeTurn() }
            }
        }
    }

    /// Has a thread run the call whose turn it is.
    private func takeTurn() {
        threads.submit { _ in
            guard let (name, work) = turns.next() else { return }
            work()
            if turns.end(of: name) { takeTurn() }
        }
    }

    private func result<Value: Sendable, Failure: Error>(
        of body: @escaping @Sendable () throws(Failure) -> Value,
        submit: (@escaping @Sendable () -> Void) -> Void
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            submit {
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// Whose turn it is. A turn is one call of one line; for each that was given, one thread was asked.
    private final class Turns: Sendable {
        private struct Waiting {
            var calls: Deque<@Sendable () -> Void> = []
            /// Turns that this line has in `order`, each for one of the calls.
            var turns = 0
            var running = 0
        }

        private struct State {
            var lines: [String: Waiting] = [:]
            var order: Deque<String> = []
        }

        private let share: Int
        private let state = NIOLockedValueBox(State())

        init(share: Int) { self.share = share }

        /// - Returns: whether a thread is to be asked for a turn.
        func add(_ call: @escaping @Sendable () -> Void, to name: String) -> Bool {
            state.withLockedValue { state in
                state.lines[name, default: Waiting()].calls.append(call)
                return give(name, &state)
            }
        }

        func next() -> (name: String, call: @Sendable () -> Void)? {
            state.withLockedValue { state in
                guard let name = state.order.popFirst(), var line = state.lines[name], let call = line.calls.popFirst()
                else { return nil }
                line.turns -= 1
                line.running += 1
                state.lines[name] = line
                return (name, call)
            }
        }

        /// - Returns: whether a thread is to be asked for another turn.
        func end(of name: String) -> Bool {
            state.withLockedValue { state in
                state.lines[name]?.running -= 1
                return give(name, &state)
            }
        }

        /// The next turn for a line that has a call for it and not all of its share.
        private func give(_ name: String, _ state: inout State) -> Bool {
            guard var line = state.lines[name] else { return false }
            guard line.calls.count > line.turns, line.turns + line.running < share else {
                if line.calls.isEmpty, line.running == 0 { state.lines[name] = nil }
                return false
            }
            line.turns += 1
            state.lines[name] = line
            state.order.append(name)
            return true
        }
    }
}
