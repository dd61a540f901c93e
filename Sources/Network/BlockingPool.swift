import NIOPosix

/// Threads on which calls may wait (for the disk, for a lock, for a slow library), so that event loops never do. Work
/// that has begun is finished: the pool is never shut down, since that would go through libdispatch.
package struct BlockingPool: Sendable {
    private let threads: NIOThreadPool

    /// Starts the threads.
    ///
    /// - Parameter threads: how many calls may wait at once; more wait in line.
    package init(threads: Int) {
        self.threads = NIOThreadPool(numberOfThreads: threads)
        self.threads.start()
    }

    private init(_ threads: NIOThreadPool) { self.threads = threads }

    /// The process-wide pool, for rare work.
    package static let shared = BlockingPool(NIOThreadPool.singleton)

    /// Runs the body on a thread of the pool; the caller goes on where it was, on its loop.
    ///
    /// - Throws: what the body throws.
    package func run<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            // The state is `cancelled` only in a pool that was shut down.
            threads.submit { _ in
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}
