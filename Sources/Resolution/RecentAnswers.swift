import Caching
import DNS
import NIOCore

/// What resolverd answered a moment ago: mail comes in bursts, and each message of one sender asks the same questions,
/// which cost both processes more than the answers are worth. What is being asked is waited for. Failures aren't kept,
/// nor are answers from our own zones, whose changes count at once. Belongs to one event loop; every call must come from
/// its thread.
package final class RecentAnswers: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    private struct Kept {
        let resolution: Resolution
        let end: NIODeadline
    }

    /// Longer than a burst of mail takes; short enough for nobody to notice that there is a second cache.
    private static let longest = TimeAmount.seconds(10)
    /// Octets.
    private static let memory = 4 << 20

    private let loop: any EventLoop
    private let now: @Sendable () -> NIODeadline
    private let ask: StubResolver.Query
    private var kept = BoundedCache<Question, Kept>(limit: memory)
    private var waiting: [Question: [CheckedContinuation<Result<Resolution, ResolutionError>, Never>]] = [:]

    package init(
        on loop: any EventLoop,
        now: @escaping @Sendable () -> NIODeadline = { .now() },
        query ask: @escaping StubResolver.Query
    ) {
        self.loop = loop
        self.now = now
        self.ask = ask
    }

    /// The records of a name and type, where they are kept.
    package func known(_ name: DomainName, _ type: RecordType) -> Resolution? {
        loop.assertInEventLoop()
        return known(Question(name: name, type: type))
    }

    private func known(_ question: Question) -> Resolution? {
        guard let known = kept.value(for: question) else { return nil }
        if now() < known.end { return known.resolution }
        kept.remove(question)
        return nil
    }

    /// The records of a name and type: kept ones, or resolverd's answer.
    package func query(_ name: DomainName, _ type: RecordType) async throws(ResolutionError) -> Resolution {
        loop.assertInEventLoop()
        let question = Question(name: name, type: type)
        if let known = known(question) { return known }
        if waiting[question] != nil {
            return try await withCheckedContinuation { waiting[question]?.append($0) }.get()
        }
        waiting[question] = []
        let result: Result<Resolution, ResolutionError>
        do {
            let resolution = try await ask(name, type)
            keep(resolution, for: question)
            result = .success(resolution)
        } catch {
            result = .failure(error)
        }
        for other in waiting.removeValue(forKey: question) ?? [] { other.resume(returning: result) }
        return try result.get()
    }

    private func keep(_ resolution: Resolution, for question: Question) {
        guard resolution.lifetime > 0, !resolution.isFromOurZone else { return }
        let lifetime = min(.seconds(Int64(resolution.lifetime)), Self.longest)
        let cost = resolution.answers.reduce(memoryCost(ofOctets: question.name.wireCount)) { cost, record in
            cost + MemoryLayout<ResourceRecord>.stride + memoryCost(ofOctets: record.data.count)
                + memoryCost(ofOctets: record.name.wireCount)
        }
        kept.insert(Kept(resolution: resolution, end: now() + lifetime), for: question, cost: cost)
    }
}
