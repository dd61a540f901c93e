import SimulatedDisk

#if canImport(Glibc)
import Glibc
#endif

/// What goes wrong in a life besides its end.
package enum SimulatedTrouble: Sendable {
    case none
    case errors
    case fullDisk

    /// Faults of that kind, drawn by lot.
    package func faults(_ random: inout SeededGenerator) -> [FaultPlan.Fault] {
        switch self {
        case .none: return []
        case .errors:
            let operations: SimulatedOperation =
                [.all, .all, .syncs, .growing, [.open, .read, .status, .names], .remove][random.below(6)]
            let call = 1 + random.below(150)
            return random.flip()
                ? [.init(operations, code: EIO, times: 1, calls: call ... .max)]
                : [.init(operations, code: EIO, probability: [0.01, 0.1, 0.5][random.below(3)])]
        case .fullDisk:
            let isAnywhere = random.below(8) == 0
            return [
                .init(
                    .growing,
                    code: ENOSPC,
                    probability: [0.1, 0.5, 1][random.below(3)],
                    times: random.flip() ? .max : 1 + random.below(30),
                    // What was written once has its room, but for the segments that are still to be made.
                    path: { isAnywhere || !$0.contains("journal/0") && !$0.contains("journal/1") }
                )
            ]
        }
    }
}
