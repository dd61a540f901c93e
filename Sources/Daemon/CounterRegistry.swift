import CoreMetrics
import NIOConcurrencyHelpers

/// The back end of swift-metrics in a daemon: counters by label, for `STATUS`. Other kinds of metrics are not kept.
package final class CounterRegistry: MetricsFactory {
    private final class Value: CounterHandler {
        let count = NIOLockedValueBox<Int64>(0)
        func increment(by amount: Int64) { count.withLockedValue { $0 &+= amount } }
        func reset() { count.withLockedValue { $0 = 0 } }
    }

    private let counters = NIOLockedValueBox<[String: Value]>([:])

    package init() {}

    /// All counters with their values, by name.
    package var counts: [(name: String, value: Int64)] {
        counters.withLockedValue { $0 }
            .map { (name: $0.key, value: $0.value.count.withLockedValue { $0 }) }
            .sorted { $0.name < $1.name }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        let name = ([label] + dimensions.map { "\($0)=\($1)" }).joined(separator: ",")
        return counters.withLockedValue { counters in
            if let value = counters[name] { return value }
            let value = Value()
            counters[name] = value
            return value
        }
    }

    package func makeFloatingPointCounter(
        label: String,
        dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler { NOOPMetricsHandler.instance }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        NOOPMetricsHandler.instance
    }

    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        NOOPMetricsHandler.instance
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        NOOPMetricsHandler.instance
    }

    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}
}
