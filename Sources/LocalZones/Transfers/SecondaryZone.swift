import DNS
import Daemon
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import TSIG
import ZoneTransfer

/// A zone that is had from other servers: compares it with them at the zone's intervals and when they say that it has
/// changed, fetches what is new, keeps a copy on disk, and gives the zone up when it has got too old (RFC 1034 §4.3.5).
final class SecondaryZone: @unchecked Sendable {
    // Unchecked: all state but `status` belongs to the event loop's thread, which debug builds check.

    /// What a zone serves from now on; nil for nothing.
    typealias Adopt = @Sendable (Zone?, ZoneHistory) async -> Void

    let origin: DomainName
    private let primaries: [LocalZoneConfiguration.Peer]
    private let copy: ZoneCopy
    private let fetcher: ZoneFetcher
    private let clock: Clocks
    private let adopt: Adopt
    private let loop: any EventLoop
    private var logger: Logger

    private var schedule: RefreshSchedule
    private var zone: Zone?
    /// What has changed lately, for others that have the zone from us.
    private var history = ZoneHistory()
    private var isServed = false
    /// The primary that was of use last.
    private var preferred = 0
    private var lastCheck: Int64?
    /// When a look is due that somebody asked for since the last one began.
    private var wanted: Int64?
    private var problem: String?
    private var isClosed = false
    private var alarm: Scheduled<Void>?
    private var sleeper: CheckedContinuation<Void, Never>?
    private typealias Asker = CheckedContinuation<Result<UInt32, CheckFailure>, Never>
    private var askers: [Asker] = []
    private let shownStatus = NIOLockedValueBox(SecondaryStatus())

    /// The least time between two looks that NOTIFY messages lead to. Seconds.
    private static let notifyPause: Int64 = 1
    /// The longest that the zone sleeps in one go. Seconds.
    private static let longestSleep: Int64 = 3600

    init(
        _ configuration: LocalZoneConfiguration,
        copy: ZoneCopy,
        fetcher: ZoneFetcher,
        minimumRefresh: Int64,
        on loop: any EventLoop,
        clock: Clocks,
        logger: Logger,
        adopt: @escaping Adopt
    ) {
        origin = configuration.origin
        primaries = configuration.primaries
        self.copy = copy
        self.fetcher = fetcher
        self.clock = clock
        self.loop = loop
        self.adopt = adopt
        self.logger = logger
        self.logger[metadataKey: "zone"] = "\(configuration.origin)"
        schedule = RefreshSchedule(now: clock.now(), minimum: minimumRefresh)
    }

    /// How it is, for people. From any thread.
    var status: SecondaryStatus { shownStatus.withLockedValue { $0 } }

    /// Serves the copy that is there, if it isn't too old.
    func restore() async {
        let copy = copy
        guard let loaded = try? await NIOThreadPool.singleton.runIfActive({ copy.load() }) else { return }
        switch loaded {
        case .success(let (zone, confirmed)):
            let age = max(0, Int64(clamping: clock.secondsSince1970()) - confirmed)
            self.zone = zone
            if let start = StartOfAuthority(zone.start) {
                schedule.restore(start, confirmed: clock.now() - age)
            }
            logger.info("copy loaded", metadata: ["serial": "\(zone.serial)", "age": "\(age)"])
            await serveOrNot()
        case .failure(let error):
            logger.error("the copy can't be used", metadata: ["reason": "\(error)"])
        }
        show()
    }

    /// Looks after the zone until it's closed.
    func run() async {
        loop.assertInEventLoop()
        while !isClosed {
            await serveOrNot()
            show()
            let now = clock.now()
            let due = min(schedule.nextCheck, wanted ?? .max)
            if due > now {
                await sleep(min(due, isServed ? schedule.expires ?? .max : .max) - now)
                continue
            }
            await check()
        }
        answer(&askers, .failure(CheckFailure(reason: "resolverd is ending")))
    }

    // MARK: Being asked

    /// A primary says that the zone has changed: it's looked at, at once or a little later.
    func notified() {
        want(max(clock.now(), (lastCheck ?? .min / 2) + Self.notifyPause))
    }

    /// Looks at once; gives the version that there is then.
    func checkNow() async -> Result<UInt32, CheckFailure> {
        await withCheckedContinuation { asker in
            askers.append(asker)
            want(clock.now())
        }
    }

    private func want(_ time: Int64) {
        loop.assertInEventLoop()
        wanted = min(wanted ?? .max, time)
        wake()
    }

    func close() {
        isClosed = true
        wake()
    }

    private func answer(_ askers: inout [Asker], _ result: Result<UInt32, CheckFailure>) {
        for asker in askers { asker.resume(returning: result) }
        askers = []
    }

    // MARK: Sleeping

    private func sleep(_ seconds: Int64) async {
        guard !isClosed else { return }
        await withCheckedContinuation { continuation in
            sleeper = continuation
            alarm = loop.scheduleTask(in: .seconds(min(max(seconds, 1), Self.longestSleep))) { self.wake() }
        }
    }

    private func wake() {
        alarm?.cancel()
        alarm = nil
        sleeper?.resume()
        sleeper = nil
    }

    // MARK: Looking

    private func check() async {
        lastCheck = clock.now()
        // Who asks from now on may know of a change that this look comes too early for.
        wanted = nil
        var asking = askers
        askers = []
        var failures: [String] = []
        for offset in primaries.indices {
            let index = (preferred + offset) % primaries.count
            let primary = primaries[index]
            do {
                let found = try await fetcher.fetch(origin, from: primary, since: version)
                await take(found, from: primary)
                preferred = index
                problem = nil
                answer(&asking, .success(zone?.serial ?? 0))
                return
            } catch {
                failures.append("\(primary.address.ipAddress ?? "") port \(primary.address.port ?? 0): \(error)")
            }
            if isClosed { break }
        }
        schedule.fail(at: clock.now(), jitter: .random(in: 0...1))
        let reason = failures.joined(separator: "; ")
        problem = reason
        logger.warning("no primary was of use", metadata: ["reason": "\(reason)"])
        answer(&asking, .failure(CheckFailure(reason: reason)))
    }

    /// What primaries' versions are compared with. One that is too old counts for nothing: its primary may have begun
    /// anew.
    private var version: ZoneFetcher.Version {
        guard let zone else { return .none }
        return schedule.isExpired(at: clock.now()) ? .expired(zone) : .current(zone)
    }

    private func take(_ found: ZoneFetcher.Fetched?, from primary: LocalZoneConfiguration.Peer) async {
        if let found {
            if found.differences == nil { history = ZoneHistory() }
            for difference in found.differences ?? [] { history.append(difference) }
            zone = found.zone
            logger.info(
                "zone transferred",
                metadata: [
                    "serial": "\(found.zone.serial)", "records": "\(found.zone.recordCount)",
                    "from": "\(primary.address.ipAddress ?? "")",
                    "differences": "\(found.differences.map { String($0.count) } ?? "none, the whole zone")",
                ]
            )
        }
        guard let zone, let start = StartOfAuthority(zone.start) else { return }
        schedule.confirm(start, at: clock.now(), jitter: .random(in: 0...1))
        await write(zone, isNew: found != nil)
        if found != nil || !isServed {
            isServed = true
            await adopt(zone, history)
        }
    }

    private func write(_ zone: Zone, isNew: Bool) async {
        let (copy, time) = (copy, Int64(clamping: clock.secondsSince1970()))
        do {
            try await NIOThreadPool.singleton.runIfActive {
                if isNew { try copy.write(zone, confirmed: time) } else { try copy.confirm(zone.serial, at: time) }
            }
        } catch {
            logger.error("the copy can't be written", metadata: ["reason": "\(error)"])
        }
    }

    /// Gives the zone up when it's too old, and serves a copy that isn't.
    private func serveOrNot() async {
        let mayServe = zone != nil && !schedule.isExpired(at: clock.now())
        guard mayServe != isServed else { return }
        isServed = mayServe
        if !mayServe { logger.error("zone expired: no primary has confirmed it for too long") }
        await adopt(mayServe ? zone : nil, history)
    }

    private func show() {
        let now = clock.now()
        let wall = Int64(clamping: clock.secondsSince1970())
        var status = SecondaryStatus()
        status.state = zone == nil ? .waiting : isServed ? .current : .expired
        status.serial = zone?.serial
        status.records = zone?.recordCount
        status.confirmed = schedule.confirmed.map { wall - (now - $0) }
        status.expires = schedule.expires.map { wall + ($0 - now) }
        status.nextCheck = wall + (schedule.nextCheck - now)
        status.problem = problem
        shownStatus.withLockedValue { $0 = status }
    }
}

/// Why a look at the primaries came to nothing, for people.
package struct CheckFailure: Error, Sendable {
    package var reason: String
}

/// How a secondary zone is. Times are seconds since 1970.
package struct SecondaryStatus: Sendable {
    package enum State: String, Sendable {
        /// It's served.
        case current
        /// It's too old to be served.
        case expired
        /// It never came.
        case waiting
    }

    package var state = State.waiting
    var serial: UInt32?
    var records: Int?
    /// When a primary last had the same version.
    package var confirmed: Int64?
    package var expires: Int64?
    package var nextCheck: Int64 = 0
    /// What was wrong at the last look.
    package var problem: String?
}
