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
/// waited for, so that answers can be asked for ahead of time. Belongs to one event loop.
package final class ResolverLookup: MailAuthServer, @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    private enum State {
        case asking([CheckedContinuation<MailAuthAnswer?, Never>])
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
    package var deadline: NIODeadline?
    /// Whether something stayed unknown because of our own limits, in time or in number.
    private(set) var isCutOff = false

    package init(on loop: any EventLoop, shared: SharedAnswers? = nil, query: @escaping StubResolver.Query) {
        self.loop = loop
        self.shared = shared
        self.query = query
    }

    package var knownRecords: KnownRecords? { shared?.records }

    package func answer(
        _ name: DomainName,
        _ type: RecordType
    ) async throws(MailAuthLookupError) -> MailAuthAnswer {
        guard let answer = await ask(Question(name: name, type: type)) else { throw .temporary }
        return answer
    }

    /// Asks for the TXT records of names, and doesn't wait for the answers. They are asked for however many questions
    /// there were: a header names only a few.
    package func prefetch(texts names: Set<DomainName>) {
        for name in names where !isKnown(name, .txt) {
            Task(executorPreference: LoopExecutor.of(loop)) { [self] in
                _ = await ask(Question(name: name, type: .txt), isAhead: true)
            }
        }
    }

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

    private func ask(_ question: Question, isAhead: Bool = false) async -> MailAuthAnswer? {
        switch state(of: question) {
        case .answered(let answer): return answer
        case .asking(var waiting):
            return await withCheckedContinuation { continuation in
                waiting.append(continuation)
                states[question] = .asking(waiting)
            }
        case nil: break
        }
        let isLate = deadline.map { .now() >= $0 } ?? false
        guard !isLate, isAhead || states.count < Self.maximumQuestions else {
            isCutOff = true
            return nil
        }
        states[question] = .asking([])
        let answer = await resolve(question)
        if case .asking(let waiting) = states.updateValue(.answered(answer), forKey: question) {
            for continuation in waiting { continuation.resume(returning: answer) }
        }
        return answer
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
    var deadline: NIODeadline?

    init(_ lookup: ResolverLookup, on loop: any EventLoop) {
        self.lookup = lookup
        self.loop = loop
    }

    var knownRecords: KnownRecords? { lookup.knownRecords }

    func answer(_ name: DomainName, _ type: RecordType) async throws(MailAuthLookupError) -> MailAuthAnswer {
        loop.assertInEventLoop()
        if let deadline, .now() >= deadline { throw .temporary }
        return try await lookup.answer(name, type)
    }
}
