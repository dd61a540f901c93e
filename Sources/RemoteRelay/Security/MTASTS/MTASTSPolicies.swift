import Bus
import CoreMetrics
import DNS
import Daemon
import Logging
import MailAuth
import NIOCore
import Network
import Reporting

/// The MTA-STS policies of domains that mail goes to (RFC 8461): fetched where a domain says that it has one, kept on disk until they are too
/// old, fetched again before. Belongs to one event loop.
final class MTASTSPolicies: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// What a domain asks for.
    struct Finding: Sendable {
        /// nil for a domain without a policy, or whose policy isn't known.
        var policy: MTASTSPolicy?
        /// Why a policy that there is isn't known.
        var fault: MTASTSFault?
        /// Whether the domain could be asked whether it has one.
        var isAnswered = true
        /// Whether it's certain that there is no other.
        var isKnown: Bool { isAnswered && fault == nil }
    }

    /// What the daemon knows the world by.
    struct World: Sendable {
        /// The texts of a name; nil where they can't be known now.
        var texts: @Sendable (DomainName) async -> [[UInt8]]?
        /// The octets of a domain's policy.
        var fetch: @Sendable (DomainName) async throws(MTASTSFault) -> [UInt8]
        /// Seconds since 1970.
        var now: @Sendable () -> Int64
    }

    private let world: World
    /// nil where policies are kept in memory alone.
    private var file: StateFile?
    private let loop: any EventLoop
    private let logger: Logger
    private var kept = KeptPolicies(capacity: MTASTSPolicies.capacity, maximumOctets: MTASTSPolicies.maximumKept)
    /// Until when a domain isn't asked again whose policy couldn't be fetched, and why.
    private var failed: [DomainName: (until: Int64, fault: MTASTSFault)] = [:]
    private var underWay: [DomainName: EventLoopFuture<Finding>] = [:]
    private var isWriting = false
    private var hasChanged = false
    private let fetches = Counter(label: "mta-sts-fetches")

    /// Policies that are kept.
    private static let capacity = 5000
    /// What they may take on disk, and about as much in memory. Octets.
    private static let maximumKept = 16 * 1024 * 1024
    /// What is read. Octets.
    private static let maximumFile = 64 * 1024 * 1024
    /// What is written of them, on average. Octets a second.
    private static let writingRate = 256 * 1024
    /// Seconds.
    private static let pauseAfterFailure: Int64 = 300
    /// Between looks for what has to be renewed.
    private static let renewalPause = TimeAmount.minutes(30)
    /// Renewals at one look.
    private static let maximumRenewals = 200

    /// - Parameter file: where policies are kept; nil for in memory alone.
    init(_ world: World, file: StateFile?, on loop: any EventLoop, logger: Logger) {
        self.world = world
        self.file = file
        self.loop = loop
        self.logger = logger
    }

    /// How many policies are kept.
    var count: Int { kept.count }

    /// Reads what was kept.
    func load() async {
        loop.assertInEventLoop()
        guard let file else { return }
        let octets: [UInt8]?
        do throws(StateFileError) {
            octets = try await BlockingPool.shared.run { () throws(StateFileError) in
                try file.octets(maximum: Self.maximumFile)
            }
        } catch {
            // It isn't written over: it may be readable at the next start.
            logger.error("MTA-STS policies can't be read: none are kept", metadata: ["reason": "\(error)"])
            self.file = nil
            return
        }
        guard let octets else { return }
        var rest = ByteBuffer(bytes: octets)
        var parser = FrameParser()
        let now = world.now()
        while rest.readableBytes > 0, kept.count < Self.capacity, let frame = try? parser.next(from: &rest) {
            // A clock that was ahead must not keep a policy for ever.
            guard let policy = KeptPolicy(frame), policy.fetched <= now, policy.end > now else { continue }
            kept.keep(policy)
        }
        if rest.readableBytes > 0, kept.count < Self.capacity {
            logger.warning(
                "some of the kept MTA-STS policies can't be read",
                metadata: ["octets": "\(rest.readableBytes)"]
            )
        }
    }

    /// What a domain asks for. Waits for its policy where it has a new one.
    ///
    /// - Parameter cause: whose mail goes there.
    func finding(for domain: DomainName, cause: KeptPolicy.Cause = .other) async -> Finding {
        loop.assertInEventLoop()
        if let other = underWay[domain] { return (try? await other.get()) ?? Finding() }
        let promise = loop.makePromise(of: Finding.self)
        underWay[domain] = promise.futureResult
        let finding = await lookUp(domain, cause)
        underWay[domain] = nil
        promise.succeed(finding)
        return finding
    }

    private func lookUp(_ domain: DomainName, _ cause: KeptPolicy.Cause) async -> Finding {
        let now = world.now()
        if let policy = kept[domain], policy.end <= now { forget(domain) }
        kept.use(domain, by: cause)
        let known = kept[domain]
        // Without a record, what was fetched counts until its time is over (RFC 8461 §3.3).
        guard let name = try? domain.prepending(label: "_mta-sts".utf8) else { return Finding(policy: known?.policy) }
        guard let texts = await world.texts(name) else { return Finding(policy: known?.policy, isAnswered: false) }
        guard let record = MTASTSRecord(texts: texts), record.id != known?.id else {
            return Finding(policy: known?.policy)
        }
        if let failure = failed[domain], failure.until > now {
            return Finding(policy: known?.policy, fault: failure.fault)
        }
        return await renew(domain, record.id, known?.cause ?? cause)
    }

    /// Fetches a policy; the old one stays where that fails.
    private func renew(_ domain: DomainName, _ id: [UInt8], _ cause: KeptPolicy.Cause) async -> Finding {
        fetches.increment()
        do throws(MTASTSFault) {
            let octets = try await world.fetch(domain)
            let policy: MTASTSPolicy
            do {
                policy = try MTASTSPolicy(reading: octets)
            } catch {
                throw .invalid("\(error)")
            }
            failed[domain] = nil
            keep(KeptPolicy(domain: domain, id: id, fetched: world.now(), policy: policy, cause: cause))
            return Finding(policy: policy)
        } catch {
            let known = kept[domain]?.policy
            logger.notice(
                "MTA-STS policy not fetched",
                metadata: [
                    "domain": "\(HostLookup.text(domain))", "reason": "\(error)",
                    "kept": "\(known != nil ? "yes" : "no")",
                ]
            )
            if failed.count >= Self.capacity { failed.removeAll() }
            failed[domain] = (world.now() + Self.pauseAfterFailure, error)
            return Finding(policy: known, fault: error)
        }
    }

    private func keep(_ policy: KeptPolicy) {
        if kept[policy.domain]?.policy != policy.policy {
            logger.info(
                "MTA-STS policy",
                metadata: [
                    "domain": "\(HostLookup.text(policy.domain))", "mode": "\(policy.policy.mode.rawValue)",
                    "maximum-age": "\(policy.policy.maximumAge)",
                ]
            )
        }
        kept.keep(policy)
        write()
    }

    private func forget(_ domain: DomainName) {
        kept.remove(domain)
        write()
    }

    /// Fetches policies again whose renewal is due. Returns when the task is cancelled.
    func renewAll() async {
        while !Task.isCancelled {
            await loop.pause(Self.renewalPause)
            await renewDue()
        }
    }

    /// Fetches policies again whose renewal is due, and forgets those whose time is over.
    func renewDue() async {
        loop.assertInEventLoop()
        let now = world.now()
        for policy in kept.all where policy.end <= now { forget(policy.domain) }
        let due = kept.all.filter { $0.renewal <= now }.sorted { $0.end < $1.end }
        for policy in due.prefix(Self.maximumRenewals) where underWay[policy.domain] == nil {
            if let failure = failed[policy.domain], failure.until > now { continue }
            var id = policy.id
            if let name = try? policy.domain.prepending(label: "_mta-sts".utf8), let texts = await world.texts(name),
                let record = MTASTSRecord(texts: texts)
            {
                id = record.id
            }
            _ = await renew(policy.domain, id, policy.cause)
        }
    }

    // MARK: On disk

    /// Writes all policies down, soon, and once for all changes meanwhile: the more there are, the later. What a kill takes is fetched
    /// again.
    private func write() {
        hasChanged = true
        guard let file, !isWriting else { return }
        isWriting = true
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            while hasChanged {
                hasChanged = false
                await loop.pause(.milliseconds(1000 + Int64(kept.octets) * 1000 / Int64(Self.writingRate)))
                let all = kept.all
                let error = await BlockingPool.shared.run { () -> StateFileError? in
                    var rest = all[...]
                    do throws(StateFileError) {
                        try file.replace { rest.popFirst().map { Array($0.encoded.readableBytesView) } }
                        return nil
                    } catch {
                        return error
                    }
                }
                if let error { logger.error("cannot keep MTA-STS policies", metadata: ["reason": "\(error)"]) }
            }
            isWriting = false
        }
    }
}
