/// What simulations have done.
package struct SimulationCounts: Sendable {
    /// Ends of a process: by a power cut, or by a kill.
    package var cuts = 0
    /// Messages that were begun.
    package var messages = 0
    /// Those that were acknowledged.
    package var acknowledged = 0
    /// Starts that were refused because of an injected error.
    package var refusedStarts = 0

    package init() {}

    package static func += (left: inout SimulationCounts, right: SimulationCounts) {
        left.cuts += right.cuts
        left.messages += right.messages
        left.acknowledged += right.acknowledged
        left.refusedStarts += right.refusedStarts
    }
}

/// A promise that was broken.
package struct SimulationFinding: Error, CustomStringConvertible, Sendable {
    package let seed: UInt64
    /// Which life of the seed, from 1.
    package let life: Int
    package let text: String
    /// The latest calls to the disk, and what else is known of the time before.
    package let history: String

    package init(seed: UInt64, life: Int, text: String, history: String) {
        self.seed = seed
        self.life = life
        self.text = text
        self.history = history
    }

    package var description: String { "seed \(seed), life \(life): \(text)" }
}
