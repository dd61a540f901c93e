import Mailbox
import NIOCore
import Network

extension BlockingPool {
    /// Runs what is done to a mailbox on a thread of the pool, and again while another program has its mbox: between the
    /// attempts a timer of the loop waits and no thread does.
    ///
    /// - Throws: what the body throws; `busy` when it took too long.
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
