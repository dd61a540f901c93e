import Mailbox
import NIOCore
import Network

extension BlockingPool.Line {
    /// Runs a mailbox operation when the account has its turn, and retries while the mailbox is busy. Between attempts the loop's
    /// timer waits, and others have the threads.
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
