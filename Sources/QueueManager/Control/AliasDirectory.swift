import Accounts
import NIOCore
import Network
import SMTP

/// Where aliases lead, as authd says. Belongs to the queue's event loop.
final class AliasDirectory: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// What authd says of an alias.
    enum Targets: Sendable {
        case these([MailAddress])
        /// There is no such address.
        case none
        /// It has no answer for now: the reason.
        case unknown(String)
    }

    private let accounts: AccountsClient
    private let loop: any EventLoop

    init(path: String, on loop: any EventLoop) {
        accounts = AccountsClient(path: path, on: loop, timeout: .seconds(5))
        self.loop = loop
    }

    /// Asks where an alias leads.
    func targets(of alias: MailAddress, _ use: @escaping @Sendable (Targets) -> Void) {
        loop.assertInEventLoop()
        Task(executorPreference: LoopExecutor.of(loop)) { [accounts] in
            do throws(AccountsError) {
                switch try await accounts.expand(alias.description) {
                // It's an address with a mailbox by now.
                case .mailbox: use(.these([alias]))
                case .forward(let texts, _):
                    let targets = texts.compactMap { try? MailAddress(parsing: $0.utf8, options: .envelope) }
                    use(targets.count == texts.count ? .these(targets) : .unknown("it leads to what is no address"))
                }
            } catch {
                switch error {
                case .refused(.noSuchMailbox, _): use(.none)
                case .refused(_, let text), .deferred(_, let text), .unavailable(let text): use(.unknown(text))
                }
            }
        }
    }

    func close() {
        loop.assertInEventLoop()
        accounts.close()
    }
}
