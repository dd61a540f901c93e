import Mailbox
import NIOCore
import Network

extension BlockingPool {
    /// Runs a mailbox operation on a thread of the pool, and retries while the mailbox is busy. Between attempts the loop's
    /// timer waits, not a thread.
    ///
    /// - Throws: what the body throws; `busy` after `BusyWait`'s limit.
    package func runWhenFree<Value: Sendable>(
        on loop: any EventLoop,
        _ body: @escaping @Sendable () throws(MailboxError) -> Value
    ) async throws(MailboxError) -> Value {
        var wait = BusyWait()
        while true {
            do throws(MailboxError) {
                return try await run(body)
            } catch {
                guard error == .busy, let pause = wait.next() else { throw error }
                await loop.pause(pause)
            }
        }
    }
}
