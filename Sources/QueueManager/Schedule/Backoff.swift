/// How long to wait after failed attempts: twice as long after each, within bounds, and a little at random, so that
/// messages that came together don't stay together.
struct Backoff {
    /// Milliseconds.
    var minimum: Int64
    /// Milliseconds.
    var maximum: Int64

    /// The wait after so many failed attempts. Milliseconds.
    ///
    /// - Parameter chance: from 0 to 1: up to a fifth less, up to a fifth more.
    func delay(afterAttempts attempts: Int, chance: Double) -> Int64 {
        let doublings = min(max(attempts - 1, 0), 30)
        let (doubled, overflow) = minimum.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let wait = Double(overflow ? maximum : min(doubled, maximum)) * (0.8 + 0.4 * chance)
        return min(max(Int64(wait), minimum), maximum)
    }
}
