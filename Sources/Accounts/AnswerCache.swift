import NIOCore

/// Answers of authd that are kept for a moment, as mail for one address tends to come in bursts, and forgotten when authd
/// says that something changed. A value for the sessions of one event loop.
package struct AnswerCache<Question: Hashable & Sendable, Answer: Sendable>: Sendable {
    private var known: [Question: (answer: Answer, until: NIODeadline)] = [:]
    private let lifetime: TimeAmount
    /// Counts the times that everything was forgotten: an answer to what was asked before is not kept.
    package private(set) var generation = 0

    private static var maximumCount: Int { 4096 }

    /// - Parameter lifetime: how long an answer is kept; zero for not at all.
    package init(lifetime: TimeAmount) { self.lifetime = lifetime }

    package func answer(to question: Question) -> Answer? {
        known[question].flatMap { $0.until > .now() ? $0.answer : nil }
    }

    /// Keeps an answer.
    ///
    /// - Parameter generation: what it was when authd was asked.
    package mutating func keep(_ answer: Answer, to question: Question, askedIn generation: Int) {
        guard lifetime > .zero, generation == self.generation else { return }
        if known.count >= Self.maximumCount { known.removeAll(keepingCapacity: true) }
        known[question] = (answer, .now() + lifetime)
    }

    /// Anything may have changed.
    package mutating func forget() {
        generation += 1
        known.removeAll(keepingCapacity: true)
    }
}
