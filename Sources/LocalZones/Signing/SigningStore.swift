import DNS
import DNSSEC
import Daemon
import Logging
import NIOConcurrencyHelpers
import ZoneKeys

#if canImport(Glibc)
import Glibc
#endif

/// The keys of signed zones as they were read last.
final class SigningStore: Sendable {
    private struct State {
        var signings: [DomainName: ZoneSigning] = [:]
        /// The keys of each zone in words, to see changes by.
        var described: [DomainName: [String]] = [:]
        /// nil while changes may come that the directory's times don't show.
        var version: KeyDirectory.Version?
    }

    private let zones: [LocalZoneConfiguration]
    /// The directory in which that of the keys lies.
    private let directory: CInt
    private let logger: Logger
    /// Seconds since 1970, modulo 2^32.
    private let clock: @Sendable () -> UInt32
    private let state = NIOLockedValueBox(State())

    /// After how long others get a zone anew, with new signatures. Seconds; what is left of the former ones then is for those
    /// who come late.
    static let renewal: UInt32 = 3 * 86_400

    /// - Parameters:
    ///   - zones: all local zones; those that aren't signed don't count.
    ///   - directory: resolverd's own, open.
    ///   - clock: seconds since 1970, modulo 2^32.
    init(
        _ zones: some Sequence<LocalZoneConfiguration>,
        directory: CInt,
        clock: @escaping @Sendable () -> UInt32,
        logger: Logger
    ) {
        self.clock = clock
        self.zones = zones.filter { $0.sign != nil }.sorted { $0.origin < $1.origin }
        self.directory = directory
        self.logger = logger
    }

    /// What zones are signed with now. Those that have no key aren't there.
    var current: [DomainName: ZoneSigning] { state.withLockedValue { $0.signings } }

    /// A version of a zone as it is served.
    func version(_ zone: Zone) -> Zone { state.withLockedValue { $0.signings[zone.origin] }?.version(zone) ?? zone }

    /// Reads the keys where they may have changed, and has others get zones anew whose signatures have become old. A zone that
    /// has no usable key any more keeps those that it had. Blocks; one call at a time.
    ///
    /// - Parameter all: whether they are read even where they look as before.
    /// - Returns: whether a zone is signed with others now.
    func refresh(all: Bool) -> Bool {
        guard !zones.isEmpty else { return false }
        var hasChanged = renew()
        let opened = openat(directory, "keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        defer { if opened >= 0 { close(opened) } }
        let keys = KeyDirectory(opened)
        let version = keys.version
        if !all, let version, version == state.withLockedValue({ $0.version }) { return hasChanged }
        for zone in zones where read(zone, keys) { hasChanged = true }
        state.withLockedValue { state in
            state.version = version.flatMap { $0.isSettled(now: time(nil)) ? $0 : nil }
        }
        return hasChanged
    }

    /// Gives zones another stamp whose signatures others have had for long.
    private func renew() -> Bool {
        let now = clock()
        return state.withLockedValue { state in
            var hasChanged = false
            for (zone, signing) in state.signings {
                guard let stamp = signing.stamp, Int32(bitPattern: now &- stamp) >= Int32(Self.renewal) else {
                    continue
                }
                state.signings[zone]?.stamp = now
                hasChanged = true
            }
            return hasChanged
        }
    }

    /// Never the same, and never one before.
    private static func stamp(_ now: UInt32, after former: UInt32) -> UInt32 {
        Int32(bitPattern: now &- former) > 0 ? now : former &+ 1
    }

    private func read(_ zone: LocalZoneConfiguration, _ directory: KeyDirectory) -> Bool {
        let (keys, problems) = directory.keys(of: zone.origin, base: LocalZoneConfiguration.stateName(zone.origin))
        let words = keys.map { "\($0.name) \($0.key.role) \($0.key.state)" }
        let described = words + keys.map(\.key.key.record.description) + problems.map(\.description)
        guard state.withLockedValue({ $0.described[zone.origin] != described }) else { return false }
        state.withLockedValue { $0.described[zone.origin] = described }
        for problem in problems {
            logger.error("key not used", metadata: ["zone": "\(zone.origin)", "reason": "\(problem)"])
        }
        guard let set = ZoneKeySet(keys.map(\.key)) else {
            let isSigned = state.withLockedValue { $0.signings[zone.origin] != nil }
            logger.error(
                isSigned ? "no active key, the old ones stay" : "no active key, the zone is not signed",
                metadata: [
                    "zone": "\(zone.origin)", "remedy": "martlet dns key generate \(zone.origin)",
                ]
            )
            return false
        }
        let now = clock()
        state.withLockedValue { state in
            let former = state.signings[zone.origin]?.stamp
            let stamp = zone.isTransferred ? former.map { Self.stamp(now, after: $0) } ?? now : nil
            state.signings[zone.origin] = ZoneSigning(keys: set, denial: zone.denial, stamp: stamp)
        }
        logger.info(
            "zone is signed",
            metadata: ["zone": "\(zone.origin)", "keys": "\(words.joined(separator: ", "))"]
        )
        return true
    }
}
