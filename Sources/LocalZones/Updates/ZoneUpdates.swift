import DNS
import Daemon
import Logging
import NIOConcurrencyHelpers
import NIOPosix
import ZoneTransfer

/// Changes zones by updates (RFC 2136): one after the other, on a thread of their own, those that wait together with one
/// sync for all of a zone.
package final class ZoneUpdates: Sendable {
    private struct Job {
        var request: UpdateRequest
        /// nil for the administrator of this machine, whom no rule binds.
        var signer: DomainName?
        var done: CheckedContinuation<UpdateFault?, Never>
    }

    private struct Queue {
        var jobs: [Job] = []
        var isWorking = false
    }

    let settings: ZoneSettings
    let counters: ZoneCounters
    private let zones: [DomainName: DynamicZone]
    private let store: ZoneStore
    private let logger: Logger
    private let thread = NIOThreadPool(numberOfThreads: 1)
    private let queue = NIOLockedValueBox(Queue())
    private let publish = NIOLockedValueBox<ZoneAuthority.Publish?>(nil)

    /// How many updates may wait; others are answered SERVFAIL.
    private static let maximumWaiting = 1000

    init(
        _ zones: [DynamicZone],
        _ settings: ZoneSettings,
        store: ZoneStore,
        counters: ZoneCounters,
        logger: Logger
    ) {
        self.settings = settings
        self.counters = counters
        self.zones = Dictionary(uniqueKeysWithValues: zones.map { ($0.origin, $0) })
        self.store = store
        self.logger = logger
        // A pool that has nothing to do needs no thread.
        if !zones.isEmpty { thread.start() }
    }

    /// Begins to serve versions; before that nothing may be asked for.
    func start(_ publish: @escaping ZoneAuthority.Publish) { self.publish.withLockedValue { $0 = publish } }

    // MARK: Updates

    /// Makes an update; when this returns it's on stable storage, and everybody answers from the zone as it's then.
    ///
    /// - Returns: why it wasn't made; nil where it was, or nothing was to be changed.
    func update(_ request: UpdateRequest, signer: DomainName?) async -> UpdateFault? {
        await withCheckedContinuation { done in
            let job = Job(request: request, signer: signer, done: done)
            let (isTaken, mustStart) = queue.withLockedValue { queue in
                guard queue.jobs.count < Self.maximumWaiting else { return (false, false) }
                queue.jobs.append(job)
                defer { queue.isWorking = true }
                return (true, !queue.isWorking)
            }
            guard isTaken else {
                done.resume(returning: UpdateFault(.serverFailure, "too many updates wait"))
                return
            }
            if mustStart { thread.submit { _ in self.work() } }
        }
    }

    /// Makes what waits, and what comes meanwhile, one batch after the other.
    private func work() {
        while true {
            let jobs = queue.withLockedValue { queue in
                defer { queue.jobs = [] }
                if queue.jobs.isEmpty { queue.isWorking = false }
                return queue.jobs
            }
            guard !jobs.isEmpty else { return }
            make(jobs)
        }
    }

    private func make(_ jobs: [Job]) {
        var answers: [(Job, UpdateFault?)] = []
        var hasChanged = false
        for (origin, jobs) in Dictionary(grouping: jobs, by: \.request.zone) {
            let (faults, isChanged) = make(jobs, origin)
            answers += zip(jobs, faults)
            hasChanged = hasChanged || isChanged
        }
        let answer: @Sendable () -> Void = { [answers] in
            for (job, fault) in answers { job.done.resume(returning: fault) }
        }
        guard hasChanged, let publish = publish.withLockedValue({ $0 }) else { return answer() }
        publish(answer)
    }

    /// Makes the updates of one zone, in order.
    private func make(_ jobs: [Job], _ origin: DomainName) -> (faults: [UpdateFault?], isChanged: Bool) {
        guard let zone = zones[origin], let before = zone.zone else {
            return (jobs.map { _ in UpdateFault(.serverFailure, "the zone's file has an error") }, false)
        }
        var current = before
        var faults: [UpdateFault?] = []
        var differences: [ZoneDifference] = []
        for job in jobs {
            let signer = job.signer ?? .root
            let rules = job.signer == nil ? [UpdateRule(key: signer, scope: .zone)] : zone.rules
            switch UpdateEvaluation.evaluate(job.request, on: current, rules: rules, signer: signer) {
            case .refused(let fault):
                faults.append(fault)
                log(job, fault)
            case .unchanged: faults.append(nil)
            case .changed(let latter, let difference):
                faults.append(nil)
                differences.append(difference)
                current = latter
            }
        }
        guard !differences.isEmpty else { return (faults, false) }
        do {
            try zone.commit(differences, current)
        } catch {
            logger.error("updates not made", metadata: ["zone": "\(origin)", "reason": "\(error)"])
            // What was found out on the way may be about what isn't so now.
            return (jobs.map { _ in UpdateFault(.serverFailure, "the journal can't be written") }, false)
        }
        store.serve(current, as: origin, history: zone.history)
        logger.info(
            "zone updated",
            metadata: ["zone": "\(origin)", "serial": "\(current.serial)", "updates": "\(differences.count)"]
        )
        return (faults, true)
    }

    private func log(_ job: Job, _ fault: UpdateFault) {
        logger.info(
            "update refused",
            metadata: [
                "zone": "\(job.request.zone)", "key": "\(job.signer?.description ?? "none")", "code": "\(fault.code)",
                "reason": "\(fault.reason)",
            ]
        )
    }

    // MARK: Files

    /// Reads the zones' files, those that have changed or all; writes those whose time has come.
    ///
    /// - Returns: whether other versions are served now.
    func refresh(all: Bool) async -> Bool {
        await onThread { updates in
            var hasChanged = false
            for zone in updates.zones.values {
                if zone.isToBeRead() || all, updates.read(zone) { hasChanged = true }
                if zone.isDue { _ = updates.write(zone) }
            }
            return hasChanged
        } ?? false
    }

    private func read(_ zone: DynamicZone) -> Bool {
        do {
            guard try zone.read(), let latter = zone.zone else { return false }
            store.serve(latter, as: zone.origin, history: zone.history)
            logger.info(
                "zone loaded",
                metadata: [
                    "zone": "\(zone.origin)", "serial": "\(latter.serial)", "records": "\(latter.recordCount)",
                ]
            )
            return true
        } catch {
            logger.error(
                zone.zone == nil ? "zone not loaded" : "zone not loaded, the old one stays",
                metadata: ["zone": "\(zone.origin)", "reason": "\(error)"]
            )
            return false
        }
    }

    /// Writes zones that updates have changed to their files.
    ///
    /// - Parameter origin: this one only; nil for all.
    /// - Returns: why that failed, for each zone that it did for; nil where no zone has that name and takes updates.
    package func write(_ origin: DomainName?) async -> [String]? {
        let chosen = origin.map { zones[$0].map { [$0] } ?? [] } ?? Array(zones.values)
        if origin != nil, chosen.isEmpty { return nil }
        return await onThread { updates in chosen.compactMap { updates.write($0) } } ?? []
    }

    private func write(_ zone: DynamicZone) -> String? {
        do {
            try zone.write()
            return nil
        } catch {
            logger.error("zone not written", metadata: ["zone": "\(zone.origin)", "reason": "\(error)"])
            return "\(zone.origin): \(error)"
        }
    }

    private func onThread<Value: Sendable>(_ body: @escaping @Sendable (ZoneUpdates) -> Value) async -> Value? {
        guard !zones.isEmpty else { return nil }
        return try? await thread.runIfActive { body(self) }
    }
}
