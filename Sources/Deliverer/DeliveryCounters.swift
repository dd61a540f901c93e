import CoreMetrics
import SMTP

/// Counts the results of a deliverer.
struct DeliveryCounters: Sendable {
    private let successes: Counter
    private let delays = Counter(label: "deferred")
    private let failures = Counter(label: "rejected")

    /// - Parameter success: the name of the counter of recipients that are done.
    init(success: String) { successes = Counter(label: success) }

    func count(_ action: DeliveryResult.Action) {
        switch action {
        case .delivered, .relayed, .expanded: successes.increment()
        case .delayed: delays.increment()
        case .failed: failures.increment()
        }
    }
}
