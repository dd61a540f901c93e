import SpoolSimulation
import Testing

/// Power cuts at random calls; `scripts/simulate` makes many more of them.
@Suite struct SimulationTests {
    @Test(arguments: 0..<4) func nothingIsLostAndNothingComesBack(_ part: UInt64) throws {
        var counts = SimulationCounts()
        for seed in 1...10 as ClosedRange<UInt64> {
            let simulation = SpoolSimulation(seed: part * 1_000_000 + seed)
            try simulation.run(lives: 10)
            counts += simulation.counts
        }
        #expect(counts.cuts == 100)
        #expect(counts.acknowledged > 200)
        #expect(counts.refusedStarts > 0)
    }

    /// These broke a promise once.
    @Test(arguments: [83, 246, 691, 744] as [UInt64]) func whatWasFoundStaysMended(_ seed: UInt64) throws {
        try SpoolSimulation(seed: seed).run(lives: 10)
    }
}
