import DNS
import Logging
import NIOConcurrencyHelpers
import ZoneTransfer

/// The local zones as last loaded without an error.
package final class ZoneStore: Sendable {
    private struct State {
        var zones: [DomainName: Zone] = [:]
        var watches: [DomainName: FileWatch] = [:]
        var histories: [DomainName: ZoneHistory] = [:]
    }

    private let files: [ZoneFile]
    /// Zones that are given by `serve` rather than read from files here.
    private let others: Set<DomainName>
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    /// - Parameter others: zones that are given by `serve` rather than read from files here.
    init(_ files: [ZoneFile], others: Set<DomainName> = [], logger: Logger) {
        self.files = files
        self.others = others
        self.logger = logger
    }

    /// What is served now, and the zones that never loaded.
    var current: (zones: [Zone], broken: Set<DomainName>) {
        state.withLockedValue { state in
            (Array(state.zones.values), others.union(files.map(\.origin)).subtracting(state.zones.keys))
        }
    }

    /// Serves a version of a zone that comes from elsewhere; nil for one that there is nothing of.
    func serve(_ zone: Zone?, as origin: DomainName, history: ZoneHistory = ZoneHistory()) {
        state.withLockedValue { state in
            state.zones[origin] = zone
            state.histories[origin] = history
        }
    }

    /// The differences from an older version to this one, with which a secondary needs less than with all of the zone (RFC
    /// 1995 §4); nil where they aren't known, or are more than that.
    func differences(to zone: Zone, from serial: UInt32) -> [ZoneDifference]? {
        let known = state.withLockedValue { $0.histories[zone.origin]?.differences(from: serial) }
        guard let known, let last = known.firstIndex(where: { $0.latter.isSame(as: zone.start) }) else { return nil }
        let differences = Array(known[...last])
        let count = differences.reduce(0) { $0 + $1.removed.count + $1.added.count + 2 }
        return count <= zone.recordCount ? differences : nil
    }

    /// Serves a zone as it was read from its file, and remembers what has changed where its serial says so.
    private func serve(read zone: Zone) {
        let former = state.withLockedValue { $0.zones[zone.origin] }
        let difference = former.map { zone.difference(from: $0) }
        state.withLockedValue { state in
            state.zones[zone.origin] = zone
            guard let former, let difference else { return }
            if SerialNumber(zone.serial).isAfter(SerialNumber(former.serial)) {
                state.histories[zone.origin, default: ZoneHistory()].append(difference)
            } else if !difference.isEmpty {
                // Another zone under a serial that isn't new: from what was known there's no way to it.
                state.histories[zone.origin] = nil
            }
        }
    }

    /// Loads the zones whose files have changed. A zone whose file has an error stays as it was. Blocks; one call at a
    /// time.
    ///
    /// - Parameter all: whether files are read that look as before.
    /// - Returns: whether another zone is served now.
    func refresh(all: Bool) -> Bool {
        var hasChanged = false
        for file in files where isDue(file) || all {
            let loaded = file.load()
            switch loaded.zone {
            case .success(let zone):
                hasChanged = true
                zone.prepare()
                serve(read: zone)
                logger.info(
                    "zone loaded",
                    metadata: [
                        "zone": "\(file.origin)", "serial": "\(zone.serial)", "records": "\(zone.recordCount)",
                    ]
                )
            case .failure(let error):
                let isServed = state.withLockedValue { $0.zones[file.origin] != nil }
                logger.error(
                    isServed ? "zone not loaded, the old one stays" : "zone not loaded",
                    metadata: ["zone": "\(file.origin)", "reason": "\(error)"]
                )
            }
            state.withLockedValue { $0.watches[file.origin, default: FileWatch()].note(loaded.versions) }
        }
        return hasChanged
    }

    private func isDue(_ file: ZoneFile) -> Bool {
        var watch = state.withLockedValue { $0.watches[file.origin] } ?? FileWatch()
        defer { state.withLockedValue { [watch] in $0.watches[file.origin] = watch } }
        return watch.hasSettled(file.version(of:))
    }
}
