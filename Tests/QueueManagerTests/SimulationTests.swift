import QueueSimulation
import SpoolSimulation
import Testing

/// The whole queue with power cuts at random calls; `scripts/simulate` makes many more of them.
@Suite struct SimulationTests {
    @Test(arguments: 0..<4) func everythingComesToItsEnd(_ part: UInt64) throws {
        var counts = SimulationCounts()
        for seed in 1...8 as ClosedRange<UInt64> {
            let simulation = QueueSimulation(seed: part * 1_000_000 + seed)
            try simulation.run(lives: 10)
            counts += simulation.counts
        }
        #expect(counts.cuts == 80)
        #expect(counts.acknowledged > 100)
    }
}
