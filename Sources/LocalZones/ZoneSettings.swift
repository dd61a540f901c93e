import CoreMetrics
import DNS
import Daemon
import NIOCore
import ZoneTransfer

/// What our own zones are served by.
package struct ZoneSettings: Sendable {
    /// What the administrator says about zones beside their files, by their tops.
    package var zones: [DomainName: LocalZoneConfiguration] = [:]
    /// How many signatures are made in a second on each event loop.
    package var maximumSignatures = 10_000
    /// Transfers from others at the same time.
    package var maximumTransfers = 10
    /// How long one transfer may take.
    package var transferTime = TimeAmount.minutes(15)
    /// What is taken of a zone from a primary.
    package var transferLimits = TransferLimits()
    /// The least time between two looks at a primary. Seconds.
    package var minimumRefresh: Int64 = 60

    package init() {}

    /// Whether any zone is signed as it's asked.
    package var signs: Bool { zones.values.contains { $0.sign != nil } }
}

/// What is counted of our own zones.
package struct ZoneCounters: Sendable {
    /// Signatures of ours that were made, and that weren't because there were too many.
    let signatures = Counter(label: "signatures")
    let unsigned = Counter(label: "signatures-refused")
    let updates = Counter(label: "updates")
    let failedUpdates = Counter(label: "failed-updates")
    /// Zones that others were sent.
    let transfers = Counter(label: "transfers-out")

    package init() {}
}
