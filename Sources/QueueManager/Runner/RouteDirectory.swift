import Accounts
import Daemon
import Deliverer
import Logging
import NIOCore
import Network
import SMTP

/// Where mail for other hosts goes, as authd says at each delivery. Belongs to the queue's event loop.
package final class RouteDirectory: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Why a delivery can't be begun.
    enum Failure: Error, Equatable {
        /// authd has no answer for now.
        case unknown
        /// It leads to a program, and the daemon that starts it is away.
        case away
        /// The route that the message has by name isn't there: the reason.
        case missing(String)
    }

    private let accounts: AccountsClient
    private let loop: any EventLoop
    private let logger: Logger
    private var cache: AnswerCache<RouteTable.Question, RelayRoute?>
    /// What routes can be found by.
    private var kinds: Set<RouteTable.Kind> = []
    /// Whether the log says that authd has no answer.
    private var isSilent = false

    /// Answers are forgotten when authd says that something changed; this long they're kept where it's away.
    private static let lifetime = TimeAmount.minutes(1)

    package init(path: String, on loop: any EventLoop, logger: Logger) {
        accounts = AccountsClient(path: path, on: loop)
        self.loop = loop
        self.logger = logger
        cache = AnswerCache(lifetime: Self.lifetime)
    }

    /// Anything may have changed.
    func learn(_ kinds: Set<RouteTable.Kind>) {
        loop.assertInEventLoop()
        self.kinds = kinds
        cache.forget()
    }

    /// Finds the route of a message to recipients of one domain. Without a question where none is needed or it was answered a
    /// moment ago.
    func route(
        for question: RouteTable.Question,
        _ use: @escaping @Sendable (Result<RelayRoute?, Failure>) -> Void
    ) {
        loop.assertInEventLoop()
        let question = question.narrowed(to: kinds)
        if question == RouteTable.Question() { return use(.success(nil)) }
        if let known = cache.answer(to: question) { return use(.success(known)) }
        let asked = cache.generation
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            do throws(AccountsError) {
                let route = try await accounts.route(for: question)
                loop.assertInEventLoop()
                isSilent = false
                cache.keep(route, to: question, askedIn: asked)
                use(.success(route))
            } catch {
                use(.failure(failure(error)))
            }
        }
    }

    private func failure(_ error: AccountsError) -> Failure {
        switch error {
        case .deferred(.noRoute, let text), .refused(_, let text): return .missing(text)
        case .deferred, .unavailable:
            if !isSilent { logger.warning("no route can be looked up: mail waits", metadata: ["reason": "\(error)"]) }
            isSilent = true
            return .unknown
        }
    }

    func close() {
        loop.assertInEventLoop()
        accounts.close()
    }
}
