import SpoolSimulation

#if canImport(Glibc)
import Glibc
#endif

/// simulate [CUTS] [--seed N]: cuts the power of simulated spools (docs/queue.md). With a seed, of that one alone.
@main struct Simulate {
    /// A disk lives so often; then there is a new one.
    private static let livesOfASeed = 10

    static func main() {
        var cuts = 20_000
        var seed: UInt64?
        var arguments = CommandLine.arguments.dropFirst()
        while let argument = arguments.popFirst() {
            if argument == "--seed", let value = arguments.popFirst().flatMap({ UInt64($0) }) {
                seed = value
            } else if let value = Int(argument), value > 0 {
                cuts = value
            } else {
                print("usage: simulate [CUTS] [--seed N]")
                exit(64)
            }
        }
        let start = ContinuousClock.now
        var counts = SpoolSimulation.Counts()
        var findings: [SpoolSimulation.Finding] = []
        var next = seed ?? 1
        while counts.cuts < cuts {
            let simulation = SpoolSimulation(seed: next)
            do throws(SpoolSimulation.Finding) {
                try simulation.run(lives: Self.livesOfASeed)
            } catch {
                findings.append(error)
                if seed != nil { print(error.history) }
                print("simulate: \(error)")
            }
            counts += simulation.counts
            next += 1
            if seed != nil || findings.count >= 10 { break }
        }
        let elapsed = ContinuousClock.now - start
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        print(
            "simulate: \(counts.cuts) cuts, \(counts.messages) messages (\(counts.acknowledged) acknowledged), "
                + "\(counts.refusedStarts) starts refused, \(Int(seconds.rounded())) s, \(findings.count) findings"
        )
        for finding in findings { print("again with: scripts/simulate --seed \(finding.seed)") }
        exit(findings.isEmpty ? 0 : 1)
    }
}
