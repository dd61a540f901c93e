import DNS
import Daemon
import Logging
import NIOCore
import NIOPosix
import Network
import TSIG
import ZoneTransfer

/// Fetches zones from primaries, only so many at the same time. On one event loop.
final class ZoneFetcher: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// What there is of a zone.
    enum Version {
        case none
        case current(Zone)
        /// Too old to be served.
        case expired(Zone)
    }

    /// A later version of a zone, and how it came.
    struct Fetched: Sendable {
        var zone: Zone
        /// From what it was made; nil where the whole zone came.
        var differences: [ZoneDifference]?
    }

    private let settings: ZoneSettings
    private let keys: TSIGKeyStore
    private let clock: Clocks
    private let loop: any EventLoop
    private let logger: Logger
    private var running = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ settings: ZoneSettings, keys: TSIGKeyStore, on loop: any EventLoop, clock: Clocks, logger: Logger) {
        self.settings = settings
        self.keys = keys
        self.clock = clock
        self.loop = loop
        self.logger = logger
    }

    /// A later version of a zone; nil where the primary has the same one.
    func fetch(
        _ origin: DomainName,
        from primary: LocalZoneConfiguration.Peer,
        since version: Version
    ) async throws(PrimaryError) -> Fetched? {
        loop.assertInEventLoop()
        await enter()
        defer { leave() }
        var session = try await open(origin, primary)
        defer { session.close() }
        let start = try await session.start()
        guard let serial = StartOfAuthority(start).map({ SerialNumber($0.serial) }) else { throw .notAuthoritative }
        switch version {
        case .none: break
        case .expired(let zone): if serial == SerialNumber(zone.serial) { return nil }
        case .current(let zone):
            let ours = SerialNumber(zone.serial)
            if serial == ours { return nil }
            guard serial.isAfter(ours) else { throw .older(serial) }
            do {
                return try await changed(zone, session)
            } catch {
                guard error.isWorthFullTransfer else { throw error }
                logger.info("no differences, the whole zone", metadata: ["zone": "\(origin)", "reason": "\(error)"])
                session.close()
                session = try await open(origin, primary)
            }
        }
        guard case .zone(let records) = try await session.transfer(.full, limits: limits) else {
            throw .transfer(.noStart)
        }
        let zone = try await make(origin, records)
        if case .current(let old) = version, !SerialNumber(zone.serial).isAfter(SerialNumber(old.serial)) {
            throw .older(SerialNumber(zone.serial))
        }
        return Fetched(zone: zone)
    }

    /// The zone after what the primary says has changed; nil where it says that nothing has.
    private func changed(_ zone: Zone, _ session: PrimarySession) async throws(PrimaryError) -> Fetched? {
        switch try await session.transfer(.incremental(since: zone.start), limits: limits) {
        case .current: return nil
        case .zone(let records):
            let found = try await make(zone.origin, records)
            guard SerialNumber(found.serial).isAfter(SerialNumber(zone.serial)) else {
                throw .older(SerialNumber(found.serial))
            }
            return Fetched(zone: found)
        case .differences(let differences):
            return Fetched(zone: try await apply(differences, to: zone), differences: differences)
        }
    }

    /// A zone from all of its records.
    private func make(_ origin: DomainName, _ records: [ResourceRecord]) async throws(PrimaryError) -> Zone {
        try await inBackground { () throws(PrimaryError) in
            do throws(MasterFileError) {
                let zone = try Zone(origin: origin, records: records)
                zone.prepare()
                return zone
            } catch {
                throw .invalid(error)
            }
        }
    }

    /// The version that differences lead to.
    private func apply(_ differences: [ZoneDifference], to zone: Zone) async throws(PrimaryError) -> Zone {
        let limits = limits
        return try await inBackground { () throws(PrimaryError) in
            var latter = zone
            do throws(VersionMismatch) {
                for difference in differences { latter = try latter.applying(difference) }
            } catch {
                throw .misfit(error)
            }
            let records = latter.records
            guard records.count <= limits.records, records.reduce(0, { $0 + $1.memoryCount }) <= limits.octets else {
                throw .transfer(.tooLarge)
            }
            do throws(MasterFileError) {
                // The same rules as for a whole zone.
                _ = try Zone(origin: zone.origin, records: records)
            } catch {
                throw .invalid(error)
            }
            latter.prepare()
            return latter
        }
    }

    private func inBackground(
        _ work: @escaping @Sendable () throws(PrimaryError) -> Zone
    ) async throws(PrimaryError) -> Zone {
        let result = try? await NIOThreadPool.singleton.runIfActive { Result { () throws(PrimaryError) in try work() } }
        guard let result else { throw .connection(.shuttingDown) }
        return try result.get()
    }

    private var limits: TransferLimits { settings.transferLimits }

    private func open(
        _ origin: DomainName,
        _ primary: LocalZoneConfiguration.Peer
    ) async throws(PrimaryError) -> PrimarySession {
        let key: TSIGKey?
        do throws(MissingTSIGKey) {
            key = try keys.key(named: primary.key)
        } catch {
            throw .key(error)
        }
        return try await PrimarySession.open(
            primary.address,
            from: settings.zones[origin]?.source(to: primary.address),
            zone: origin,
            key: key,
            on: loop,
            time: settings.transferTime,
            clock: clock.secondsSince1970
        )
    }

    // MARK: One after the other

    private func enter() async {
        guard running >= settings.maximumTransfers else {
            running += 1
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func leave() {
        // The place passes on to who has waited longest.
        if waiting.isEmpty { running -= 1 } else { waiting.removeFirst().resume() }
    }
}
