import Accounts
import Logging
import MailRules
import NIOCore
import Network

/// Asks authd who has come back after a while, for the sessions of one event loop. Belongs to it.
final class GreylistDirectory: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// What becomes of mail while authd has no answer.
    enum Fallback: Sendable {
        case pass
        case wait
    }

    private let accounts: AccountsClient
    private let loop: any EventLoop
    private let fallback: Fallback
    private let silence: TimeAmount

    /// Until when it isn't asked again after it gave no answer: who sends to a thousand recipients waits once.
    private var silentUntil: NIODeadline?

    /// Nobody waits long for it.
    private static let timeout = TimeAmount.seconds(3)

    init(path: String, on loop: any EventLoop, fallback: Fallback, silence: TimeAmount) {
        accounts = AccountsClient(path: path, on: loop, timeout: Self.timeout)
        self.loop = loop
        self.fallback = fallback
        self.silence = silence
    }

    /// What is said of mail, and whether it passes because it has come back, not because of who sends it.
    func ask(
        client: String,
        sender: String,
        recipient: String,
        identities: [String],
        logger: Logger
    ) async -> (state: PolicyFacts.Greylisting, isReturn: Bool) {
        loop.assertInEventLoop()
        if let silentUntil, silentUntil > .now() { return withoutAnswer }
        do throws(AccountsError) {
            let answer = try await accounts.greylist(
                client: client,
                sender: sender,
                recipient: recipient,
                identities: identities
            )
            switch answer {
            case .passes(let isReturn): return (.passes, isReturn)
            case .wait(let seconds): return (.waits(seconds), false)
            }
        } catch {
            logger.warning(
                "greylisting has no answer",
                metadata: ["reason": "\(error)", "mail": fallback == .pass ? "passes" : "waits"]
            )
            // One question that authd doesn't take says nothing of the next.
            if case .refused = error {} else { silentUntil = .now() + silence }
            return withoutAnswer
        }
    }

    private var withoutAnswer: (state: PolicyFacts.Greylisting, isReturn: Bool) {
        (fallback == .pass ? .passes : .waits(Self.fallbackWait), false)
    }

    /// Seconds.
    private static let fallbackWait = 60

    /// Says that mail was taken that had to come back. Nobody waits for the answer.
    func accepted(identities: [String]) {
        guard !identities.isEmpty else { return }
        Task(executorPreference: LoopExecutor.of(loop)) { [accounts] in
            try? await accounts.greylistAccepted(identities: identities)
        }
    }
}
