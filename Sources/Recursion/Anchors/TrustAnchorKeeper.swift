import DNS
import Daemon
import DNSSEC
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Follows the keys in which trust begins as their zones roll them over (RFC 5011), and keeps over a restart what it
/// knows of them.
package final class TrustAnchorKeeper: Sendable {
    private let settings: RecursionSettings
    private let clock: Clocks
    private let file: StateFile
    private let logger: Logger
    private let state: NIOLockedValueBox<[TrustPoint]>
    /// The file is there and can't be read: it must not be replaced by what begins anew.
    private let isUnread = NIOLockedValueBox(false)

    /// How large the file may be. Octets.
    private static let maximumFile = 1 << 20

    /// - Parameter directory: where the state is kept; open.
    package init(_ settings: RecursionSettings, directory: CInt, clock: Clocks, logger: Logger) {
        self.settings = settings
        self.clock = clock
        self.logger = logger
        file = StateFile(directory: directory, name: "trust-anchors")
        state = NIOLockedValueBox(
            settings.trustAnchors.zones.map { TrustPoint(zone: $0, seeds: settings.trustAnchors.signers(of: $0)) }
        )
    }

    /// The trust points as they are now.
    package var points: [TrustPoint] { state.withLockedValue { $0 } }

    /// What is trusted now.
    package var anchors: TrustAnchors {
        points.reduce(into: settings.trustAnchors) { anchors, point in anchors.replace(point.zone, point.signers) }
    }

    /// Takes up what was known before the start; without it, or where it's damaged, trust begins with what is configured.
    /// Where it can't be read, that is trusted for the time being, and the next refresh tries again.
    package func load() async {
        let file = file
        let octets: [UInt8]?
        do {
            octets = try await NIOThreadPool.singleton.runIfActive { try file.octets(maximum: Self.maximumFile) }
            isUnread.withLockedValue { $0 = false }
        } catch {
            isUnread.withLockedValue { $0 = true }
            logger.error("trust anchors not read", metadata: ["file": "dns/trust-anchors", "reason": "\(error)"])
            return
        }
        guard let octets else { return }
        guard let known = TrustPointText.read(String(decoding: octets, as: UTF8.self)) else {
            logger.error(
                "dns/trust-anchors is damaged, trust begins with the configured anchors",
                metadata: ["file": "dns/trust-anchors"]
            )
            return
        }
        state.withLockedValue { points in
            for place in points.indices {
                let zone = points[place].zone
                guard let old = known[zone] else { continue }
                points[place] = TrustPoint(
                    zone: zone,
                    seeds: settings.trustAnchors.signers(of: zone),
                    keys: old.keys,
                    confirmed: old.confirmed,
                    next: old.next
                )
            }
        }
    }

    /// Looks at the keys of the zones whose time has come.
    ///
    /// - Parameter ask: gives a zone's DNSKEY records with their signatures, fresh from its servers; nil for no answer.
    /// - Returns: what has changed; nil where nothing that is trusted has.
    package func refresh(_ ask: (DomainName) async -> [ResourceRecord]?) async -> TrustAnchors? {
        let before = points
        if isUnread.withLockedValue({ $0 }) {
            await load()
            if isUnread.withLockedValue({ $0 }) { return nil }
        }
        let now = Int64(clock.secondsSince1970())
        for (place, old) in points.enumerated() where old.isDue(now) {
            var point = old
            if let answers = await ask(point.zone) {
                let (changes, failure) = point.observe(answers, now: now, settings.validation)
                for change in changes { log(change, point.zone) }
                if let failure {
                    logger.warning(
                        "the keys of a trust anchor's zone aren't believed",
                        metadata: ["zone": "\(point.zone)", "reason": "\(failure.text)"]
                    )
                }
                if point.signers.isEmpty {
                    logger.error(
                        "no trust anchor is left, the zone counts as unsigned",
                        metadata: ["zone": "\(point.zone)"]
                    )
                }
            } else {
                point.postpone(now)
            }
            state.withLockedValue { [point] in $0[place] = point }
        }
        let after = points
        guard after != before else { return nil }
        await save(after)
        return after.map(\.signers) == before.map(\.signers) ? nil : anchors
    }

    private func log(_ change: TrustPoint.Change, _ zone: DomainName) {
        logger.notice(
            "a key of a trust anchor's zone changed",
            metadata: [
                "zone": "\(zone)", "key": "\(change.keyTag)", "state": "\(change.state?.rawValue ?? "gone")",
            ]
        )
    }

    private func save(_ points: [TrustPoint]) async {
        let (file, text) = (file, TrustPointText.print(points))
        do {
            try await NIOThreadPool.singleton.runIfActive { try file.replace(with: text) }
        } catch {
            logger.error("trust anchors not written", metadata: ["reason": "\(error)"])
        }
    }
}
