import Accounts
import Daemon
import NIOCore
import SASL

/// authd, for all clients of one event loop.
final class LoopAuthority: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    let accounts: AccountsClient
    private let loop: any EventLoop
    private var watch: DirectoryWatch?
    private var isScramForAll: Bool

    init(_ settings: FrontSettings, on loop: any EventLoop) {
        self.loop = loop
        accounts = AccountsClient(path: settings.authoritySocket, on: loop, timeout: settings.authorityTimeout)
        switch settings.scram {
        case .always: isScramForAll = true
        case .never: isScramForAll = false
        case .auto:
            // Whoever has no verifier yet would be refused with the right password, by programs that take the strongest mechanism.
            isScramForAll = false
            let watch = DirectoryWatch(path: settings.authoritySocket, on: loop) { [weak self] state in
                self?.isScramForAll = state.canAllUseScram
            }
            watch.start()
            self.watch = watch
        }
    }

    /// Whether SCRAM may be offered to clients that nobody knows yet.
    var offersScram: Bool {
        loop.assertInEventLoop()
        return isScramForAll
    }
}
