import MailboxSimulation
import SpoolSimulation
import Testing

/// Power cuts at random calls of deliveries and sessions; `scripts/simulate` makes many more of them.
@Suite struct SimulationTests {
    @Test(arguments: 0..<4 as Range<UInt64>) func nothingIsLostTornOrThereTwice(_ part: UInt64) throws {
        var counts = SimulationCounts()
        for seed in 1...10 as ClosedRange<UInt64> {
            let simulation = MailboxSimulation(seed: part * 1_000_000 + seed)
            try simulation.run(lives: 10)
            counts += simulation.counts
        }
        #expect(counts.cuts == 100)
        #expect(counts.acknowledged > 50)
    }
}
