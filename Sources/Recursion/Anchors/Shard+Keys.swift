import DNS
import NIOCore
import Network

extension Shard {
    /// The DNSKEY records of a zone and their signatures from its servers, past the cache; nil for no answer. From any
    /// thread.
    package func keysAnew(of zone: DomainName) async -> [ResourceRecord]? {
        await withCheckedContinuation { continuation in
            Task(executorPreference: LoopExecutor.of(loop)) {
                continuation.resume(returning: await self.askForKeys(zone))
            }
        }
    }

    private func askForKeys(_ zone: DomainName) async -> [ResourceRecord]? {
        guard let source = routes.source(of: zone) else { return nil }
        let key = Outcome.Key(name: zone, type: .dnskey, checkingDisabled: true)
        let outcome = await ask(key, source, RecursionWork(deadline: .now() + settings.queryTimeout))
        return outcome.error == nil ? outcome.answers : nil
    }
}
