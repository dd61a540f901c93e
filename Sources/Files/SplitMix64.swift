/// Random numbers that no one may rely on to be secret, without a system call each (Steele, Lea, Flood: Fast Splittable
/// Pseudorandom Number Generators, 2014). None comes again before all have come.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// - Parameter seed: by default, the kernel's.
    package init(seed: UInt64 = .random(in: 0 ... .max)) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var bits = state
        bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
        return bits ^ bits >> 31
    }
}
