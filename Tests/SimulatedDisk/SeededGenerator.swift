import Files

/// Random numbers that a seed decides: the same in every process.
package typealias SeededGenerator = SplitMix64

extension SplitMix64 {
    /// A number from 0 to `count - 1`; 0 for a count of 0.
    package mutating func below(_ count: Int) -> Int {
        guard count > 1 else { return 0 }
        return Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(count)).high)
    }

    package mutating func chance(_ probability: Double) -> Bool {
        Double(next() >> 11) * 0x1p-53 < probability
    }

    package mutating func flip() -> Bool { next() >> 63 == 1 }
}
