import MailRules
import NIOCore
import Network
import Policy
import Resolution

/// A client's name, for Received and the log: asked for when it connects, and there when its message is, or nobody waits for it.
/// Belongs to one event loop.
final class ClientName: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    private let loop: any EventLoop
    private var found: String?

    /// - Parameter address: of 4 or 16 octets.
    init(of address: [UInt8], timeout: TimeAmount, on loop: any EventLoop, query: @escaping StubResolver.Query) {
        self.loop = loop
        Task(executorPreference: LoopExecutor.of(loop)) { [weak self] in
            let name = await ClientLookup.run(address, lists: [], timeout: timeout, on: loop, query: query).name
            loop.assertInEventLoop()
            self?.found = name
        }
    }

    /// If it and the address lead to each other, as far as that is known now.
    var known: String? {
        loop.assertInEventLoop()
        return found
    }
}
