import DNS
import MailAuth
import NIOCore
import Network
import Resolution

/// What the checks of all messages on one event loop share: mail comes in bursts, and its senders are few.
package struct SharedAnswers: Sendable {
    /// Answers that needn't be waited for; must be called from the event loop's thread.
    let known: @Sendable (DomainName, RecordType) -> Resolution?
    let records: KnownRecords

    package init(records: KnownRecords, known: @escaping @Sendable (DomainName, RecordType) -> Resolution?) {
        self.known = known
        self.records = records
    }
}

/// Lookups through resolverd for the checks of one message: what was asked isn't asked again, and what is being asked is
/// waited for, so that answers can be asked for ahead of time. Nobody waits beyond the deadline, whatever is under way. Belongs to
/// one event loop.
package final class ResolverLookup: MailAuthServer, @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    private struct Waiter {
        /// The part of the lookups that it belongs to, where that has a time of its own.
        let part: BoundedLookup?
        let continuation: CheckedContinuation<MailAuthAnswer?, Never>
    }

    private enum State {
        case asking([Waiter], since: NIODeadline)
        /// nil where there was none.
        case answered(MailAuthAnswer?)
    }

    /// Questions for one message; SPF alone may ask for some hundred (RFC 7208 §4.6.4).
    private static let maximumQuestions = 512

    private let loop: any EventLoop
    private let query: StubResolver.Query
    private let shared: SharedAnswers?
    private var states: [Question: State] = [:]
    /// From then on what isn't known yet stays unknown.
    package var deadline: NIODeadline? {
        didSet {
            deadlineSet = .now()
            alarm.set(deadline, on: loop) { [weak self] in self?.cutOff() }
        }
    }
    private var deadlineSet = NIODeadline.now()
    private var alarm = DeadlineAlarm()
    /// Whether something stayed unknown because of our own limits, in time or in number.
    private(set) var isCutOff = false

    package init(on loop: any EventLoop, shared: SharedAnswers? = nil, query: @escaping StubResolver.Query) {
        self.loop = loop
        self.shared = shared
        self.query = query
    }

    deinit { alarm.cancel() }

    package var knownRecords: KnownRecords? { shared?.records }

    package func answer(
        _ name: DomainName,
        _ type: RecordType
    ) async throws(MailAuthLookupError) -> MailAuthAnswer {
        try await answer(name, type, for: nil)
    }

    fileprivate func answer(
        _ name: DomainName,
        _ type: RecordType,
        for part: BoundedLookup?
    ) async throws(MailAuthLookupError) -> MailAuthAnswer {
        guard let answer = await ask(Question(name: name, type: type), for: part) else { throw .temporary }
        return answer
    }

    /// Asks for the TXT records of names, and doesn't wait for the answers. They are asked for however many questions
    /// there were: a header names only a few.
    package func prefetch(texts names: Set<DomainName>) {
        for name in names {
            let question = Question(name: name, type: .txt)
            if !isLate, state(of: question) == nil { begin(question) }
        }
    }

    private var isLate: Bool { deadline.map { .now() >= $0 } ?? false }

    /// Whether there is an answer already.
    func isKnown(_ name: DomainName, _ type: RecordType) -> Bool {
        if case .answered = state(of: Question(name: name, type: type)) { return true }
        return false
    }

    private func state(of question: Question) -> State? {
        loop.assertInEventLoop()
        if let state = states[question] { return state }
        guard let resolution = shared?.known(question.name, question.type) else { return nil }
        let state = State.answered(MailAuthAnswer(resolution))
        states[question] = state
        return state
    }

    private func ask(_ question: Question, for part: BoundedLookup?) async -> MailAuthAnswer? {
        switch state(of: question) {
        case .answered(let answer): return answer
        case .asking: break
        case nil:
            guard !isLate, states.count < Self.maximumQuestions else {
                isCutOff = true
                return nil
            }
            begin(question)
        }
        return await withCheckedContinuation { continuation in
            // There may have been an answer at once.
            guard case .asking(var waiting, let since) = states[question] else {
                guard case .answered(let answer) = states[question] else { return continuation.resume(returning: nil) }
                return continuation.resume(returning: answer)
            }
            waiting.append(Waiter(part: part, continuation: continuation))
            states[question] = .asking(waiting, since: since)
        }
    }

    /// Asks, beside those who wait: they may not have the time.
    private func begin(_ question: Question) {
        states[question] = .asking([], since: .now())
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            let answer = await resolve(question)
            loop.assertInEventLoop()
            end(question, answer)
        }
    }

    private func end(_ question: Question, _ answer: MailAuthAnswer?) {
        guard case .asking(let waiting, _) = states[question] else { return }
        states[question] = .answered(answer)
        for waiter in waiting { waiter.continuation.resume(returning: answer) }
    }

    /// The time is over: what isn't known stays unknown. Where a question had most of it, it's the DNS that doesn't answer; where
    /// others used it up, it's our limit.
    private func cutOff() {
        loop.assertInEventLoop()
        let whole = deadline.map { $0 - deadlineSet } ?? .zero
        for (question, state) in states {
            guard case .asking(_, let since) = state else { continue }
            let had = deadline.map { $0 - max(since, deadlineSet) } ?? .zero
            if had.nanoseconds <= whole.nanoseconds / 2 { isCutOff = true }
            end(question, nil)
        }
    }

    /// The time of a part is over: nobody waits any more who belongs to it.
    fileprivate func cutOff(_ part: BoundedLookup) {
        loop.assertInEventLoop()
        for (question, state) in states {
            guard case .asking(let waiting, let since) = state else { continue }
            states[question] = .asking(waiting.filter { $0.part !== part }, since: since)
            for waiter in waiting where waiter.part === part { waiter.continuation.resume(returning: nil) }
        }
    }

    private func resolve(_ question: Question) async -> MailAuthAnswer? {
        do throws(ResolutionError) {
            return MailAuthAnswer(try await query(question.name, question.type))
        } catch {
            return nil
        }
    }
}

extension MailAuthAnswer {
    fileprivate init(_ resolution: Resolution) {
        self.init(responseCode: resolution.responseCode, records: resolution.answers, isRecursive: false)
    }
}

/// A part of a message's lookups that has a time of its own, so that what comes after it has time left. Belongs to one
/// event loop.
final class BoundedLookup: MailAuthServer, @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    private let lookup: ResolverLookup
    private let loop: any EventLoop
    /// From then on nothing is known.
    var deadline: NIODeadline? {
        didSet {
            alarm.set(deadline, on: loop) { [weak self] in
                guard let self else { return }
                lookup.cutOff(self)
            }
        }
    }
    private var alarm = DeadlineAlarm()

    init(_ lookup: ResolverLookup, on loop: any EventLoop) {
        self.lookup = lookup
        self.loop = loop
    }

    deinit { alarm.cancel() }

    var knownRecords: KnownRecords? { lookup.knownRecords }

    func answer(_ name: DomainName, _ type: RecordType) async throws(MailAuthLookupError) -> MailAuthAnswer {
        loop.assertInEventLoop()
        if let deadline, .now() >= deadline { throw .temporary }
        return try await lookup.answer(name, type, for: self)
    }
}

/// Something that is done on an event loop at a deadline that may change.
private struct DeadlineAlarm {
    private var scheduled: Scheduled<Void>?

    /// Does it at the deadline, at once where that is over, and no longer at the one before.
    mutating func set(_ deadline: NIODeadline?, on loop: any EventLoop, _ action: @escaping @Sendable () -> Void) {
        scheduled?.cancel()
        scheduled = nil
        guard let deadline else { return }
        guard deadline > .now() else { return action() }
        scheduled = loop.scheduleTask(deadline: deadline) { action() }
    }

    func cancel() { scheduled?.cancel() }
}
