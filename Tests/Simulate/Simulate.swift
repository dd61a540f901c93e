import MailboxSimulation
import QueueSimulation
import SpoolSimulation

#if canImport(Glibc)
import Glibc
#endif

/// simulate [CUTS] [--seed N] [--only spool|queue|mailbox]: cuts the power of simulated spools, of queues that work on them
/// (docs/queue.md) and of mailboxes that are delivered to and used (docs/delivery.md), a third of the time each. With a seed, of that
/// one alone.
@main struct Simulate {
    /// A disk lives so often; then there is a new one.
    private static let livesOfASeed = 10
    private static let maximumFindings = 10

    private typealias Run = (_ seed: UInt64, _ counts: inout SimulationCounts) throws(SimulationFinding) -> Void

    static func main() {
        var cuts = 20_000
        var seed: UInt64?
        var only: String?
        var arguments = CommandLine.arguments.dropFirst()
        while let argument = arguments.popFirst() {
            if argument == "--seed", let value = arguments.popFirst().flatMap({ UInt64($0) }) {
                seed = value
            } else if argument == "--only", let value = arguments.popFirst(),
                ["spool", "queue", "mailbox"].contains(value)
            {
                only = value
            } else if let value = Int(argument), value > 0 {
                cuts = value
            } else {
                print("usage: simulate [CUTS] [--seed N] [--only spool|queue|mailbox]")
                exit(64)
            }
        }
        let isTracing = seed != nil
        // The remainder is the spool's.
        func share(_ what: String) -> Int {
            if let only { return only == what ? cuts : 0 }
            return what == "spool" ? cuts - 2 * (cuts / 3) : cuts / 3
        }
        var seeds = simulate("spool", cuts: share("spool"), seed) { (seed, counts) throws(SimulationFinding) in
            let simulation = SpoolSimulation(seed: seed)
            defer { counts += simulation.counts }
            try simulation.run(lives: livesOfASeed)
        }
        seeds += simulate("queue", cuts: share("queue"), seed) { (seed, counts) throws(SimulationFinding) in
            let simulation = QueueSimulation(seed: seed, isTracing: isTracing)
            defer { counts += simulation.counts }
            try simulation.run(lives: livesOfASeed)
        }
        seeds += simulate("mailbox", cuts: share("mailbox"), seed) { (seed, counts) throws(SimulationFinding) in
            let simulation = MailboxSimulation(seed: seed)
            defer { counts += simulation.counts }
            try simulation.run(lives: livesOfASeed)
        }
        for seed in seeds { print("again with: scripts/simulate --seed \(seed)") }
        exit(seeds.isEmpty ? 0 : 1)
    }

    /// Returns the seeds that something was found with.
    private static func simulate(_ what: String, cuts: Int, _ seed: UInt64?, _ run: Run) -> [UInt64] {
        guard cuts > 0 else { return [] }
        let start = ContinuousClock.now
        var counts = SimulationCounts()
        var seeds: [UInt64] = []
        var next = seed ?? 1
        while counts.cuts < cuts {
            do throws(SimulationFinding) {
                try run(next, &counts)
            } catch {
                seeds.append(next)
                if seed != nil { print(error.history) }
                print("simulate: \(what): \(error)")
            }
            next += 1
            if seed != nil || seeds.count >= maximumFindings { break }
        }
        let elapsed = ContinuousClock.now - start
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        print(
            "simulate: \(what): \(counts.cuts) cuts, \(counts.messages) messages (\(counts.acknowledged) acknowledged), "
                + "\(counts.refusedStarts) starts refused, \(Int(seconds.rounded())) s, \(seeds.count) findings"
        )
        return seeds
    }
}
