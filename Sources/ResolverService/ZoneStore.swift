import DNS
import Logging
import NIOConcurrencyHelpers

/// The local zones as last loaded without an error.
final class ZoneStore: Sendable {
    private struct State {
        var zones: [DomainName: Zone] = [:]
        var versions: [DomainName: [String: ZoneFile.Version?]] = [:]
    }

    private let files: [ZoneFile]
    /// Zones that come from elsewhere than their files.
    private let others: Set<DomainName>
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    /// - Parameter others: zones that are given by `serve` rather than read from files.
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

    /// Serves a zone that comes from elsewhere than its file; nil for one that there is nothing of.
    func serve(_ zone: Zone?, as origin: DomainName) {
        state.withLockedValue { $0.zones[origin] = zone }
    }

    /// Loads the zones whose files have changed. A zone whose file has an error stays as it was. Blocks; one call at a
    /// time.
    ///
    /// - Parameter all: whether files are read that look as before.
    /// - Returns: whether another zone is served now.
    func refresh(all: Bool) -> Bool {
        var hasChanged = false
        for file in files where all || isOutdated(file) {
            let loaded = file.load()
            switch loaded.zone {
            case .success(let zone):
                hasChanged = true
                state.withLockedValue { $0.zones[file.origin] = zone }
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
            state.withLockedValue { $0.versions[file.origin] = loaded.versions }
        }
        return hasChanged
    }

    private func isOutdated(_ file: ZoneFile) -> Bool {
        let versions = state.withLockedValue { $0.versions[file.origin] }
        guard let versions else { return true }
        return versions.contains { name, version in file.version(of: name) != version }
    }
}
