import Accounts
import Daemon
import NIOCore
import Network
import SMTP
import Spool

/// Whose accounts are disabled, as authd says at each attempt to deliver their mail. Belongs to the queue's event loop.
final class Submitters: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let accounts: AccountsClient
    private let loop: any EventLoop
    /// Answers are asked for once where many messages want them.
    private var waiting: [String: [(Bool?) -> Void]] = [:]
    private var answers = AnswerCache<String, Bool>(lifetime: .seconds(5))
    /// Accounts whose mail waits because nobody could say anything of them.
    private(set) var unknown: Set<String> = []

    private static let maximumUnknown = 10_000

    init(path: String, on loop: any EventLoop) {
        accounts = AccountsClient(path: path, on: loop, timeout: .seconds(5))
        self.loop = loop
    }

    /// Whether an account is disabled: now, where that is known, or later; nil where authd has no answer.
    func ask(_ account: String, _ use: @escaping (Bool?) -> Void) {
        loop.assertInEventLoop()
        if let known = answers.answer(to: account) { return use(known) }
        waiting[account, default: []].append(use)
        guard waiting[account]?.count == 1 else { return }
        let generation = answers.generation
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            let answer = try? await accounts.isDisabled(user: account)
            if let answer {
                answers.keep(answer, to: account, askedIn: generation)
                unknown.remove(account)
            } else if unknown.count < Self.maximumUnknown {
                unknown.insert(account)
            }
            for use in waiting.removeValue(forKey: account) ?? [] { use(answer) }
        }
    }

    /// Anything may have changed, or authd is back.
    ///
    /// - Returns: accounts of which nothing was known.
    func forget() -> Set<String> {
        answers.forget()
        defer { unknown = [] }
        return unknown
    }
}

extension DeliveryResult {
    /// What becomes of mail of a disabled account where that is to come back.
    static let accountDisabled = DeliveryResult(
        .failed,
        .notAuthorized,
        "the account that has sent it is disabled"
    )
}

extension Queue {
    /// Begins a delivery, unless the account that has handed the message in is disabled.
    func beginIfEnabled(_ job: DeliveryJob, _ runner: Runner) {
        let message = job.message
        guard let submitters, message.isOfUser else { return runner.begin(job) }
        submitters.ask(message.sender) { [self] isDisabled in
            if isClosed { return }
            // It may have been paused meanwhile.
            if schedule.pauses.pause(of: job) != nil { return putBack(job) }
            switch (isDisabled, settings.disabledAccounts) {
            case (false?, _), (_, .deliver): runner.begin(job)
            case (true?, .return): giveUp(job, .accountDisabled)
            case (true?, .wait):
                setDisabled(message.sender, true)
                putBack(job)
            case (nil, _):
                // Until authd is back, at the latest.
                job.due = clock.now() + settings.retryMinimum
                log.unknownAccount(message.id, message.sender)
                putBack(job)
            }
        }
    }

    private func setDisabled(_ account: String, _ isDisabled: Bool) {
        guard schedule.pauses.disabled.contains(account) != isDisabled else { return }
        var pauses = schedule.pauses
        pauses.setDisabled(account, isDisabled)
        log.account(account, isDisabled: isDisabled)
        schedule.setPauses(pauses, at: clock.now())
        goOn()
    }

    /// Asks again about accounts whose mail waits: something has changed at authd, or it's back.
    func lookAtAccounts() {
        loop.assertInEventLoop()
        guard let submitters else { return }
        let unknown = submitters.forget()
        for account in schedule.pauses.disabled {
            submitters.ask(account) { [self] isDisabled in
                if isDisabled == false { setDisabled(account, false) }
            }
        }
        for account in unknown {
            walk(.sender(account)) { [self] message in
                if message.isOfUser { flush(message) }
                return true
            }
        }
    }
}
