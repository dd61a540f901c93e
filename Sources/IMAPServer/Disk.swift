import Mailbox
import NIOPosix

/// Threads on which calls wait for the disk, so that event loops don't.
final class Disk: Sendable {
    private let pool: NIOThreadPool

    init(threads: Int) {
        pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
    }

    /// Runs the body on a thread of the pool.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(MailboxError) -> Value
    ) async throws(MailboxError) -> Value {
        do {
            return try await pool.runIfActive(body)
        } catch let error as MailboxError {
            throw error
        } catch {
            throw .system("thread pool", 0)
        }
    }
}
