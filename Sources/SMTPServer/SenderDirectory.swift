import Accounts
import NIOCore
import Network
import SMTP

/// Asks authd what users may send, for the sessions of one event loop. Belongs to it.
final class SenderDirectory: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Whether an address is one of a user's.
    enum Answer: Equatable {
        case allowed
        case refused
        /// authd has no answer for now; the reason.
        case unknown(String)
    }

    private struct Question: Hashable {
        let user: String
        let address: MailAddress
    }

    private let accounts: AccountsClient
    private let loop: any EventLoop
    /// Positive answers.
    private var cache: AnswerCache<Question, Bool>

    init(accounts: AccountsClient, on loop: any EventLoop, lifetime: TimeAmount) {
        self.accounts = accounts
        self.loop = loop
        cache = AnswerCache(lifetime: lifetime)
    }

    /// Whether a user may send from an address.
    func mayUse(_ address: MailAddress, user: String) async -> Answer {
        loop.assertInEventLoop()
        let question = Question(user: user, address: address)
        if cache.answer(to: question) != nil { return .allowed }
        let asked = cache.generation
        do throws(AccountsError) {
            guard try await accounts.mayUse(address.description, user: user) else { return .refused }
            loop.assertInEventLoop()
            cache.keep(true, to: question, askedIn: asked)
            return .allowed
        } catch {
            return .unknown("\(error)")
        }
    }

    /// Counts a message that a user is about to send; what stands against it.
    func send(user: String, recipients: Int) async -> AccountsError? {
        do throws(AccountsError) {
            try await accounts.send(user: user, recipients: recipients)
            return nil
        } catch {
            return error
        }
    }

    /// Says that a message that was counted was not taken. Nobody waits for the answer: without one it stays counted.
    func takeBack(user: String, recipients: Int) {
        Task(executorPreference: LoopExecutor.of(loop)) { [accounts] in
            try? await accounts.takeBack(user: user, recipients: recipients)
        }
    }

    /// Anything may have changed.
    func forget() {
        loop.assertInEventLoop()
        cache.forget()
    }
}
