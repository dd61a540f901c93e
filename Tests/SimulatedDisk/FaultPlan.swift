/// What goes wrong in one life of the programs on a simulated disk.
package struct FaultPlan: Sendable {
    /// A call that answers an error instead of doing what it should.
    package struct Fault: Sendable {
        package var operations: SimulatedOperation
        /// errno.
        package var code: Int32
        /// How likely it is at each call.
        package var probability: Double
        /// How many calls it may hit.
        package var times: Int
        /// The numbers of the calls that it may hit, in this life, from 1.
        package var calls: ClosedRange<Int>
        /// Which paths it hits; those of open files are what they were opened as.
        package var path: (@Sendable (String) -> Bool)?

        package init(
            _ operations: SimulatedOperation,
            code: Int32,
            probability: Double = 1,
            times: Int = .max,
            calls: ClosedRange<Int> = 1 ... .max,
            path: (@Sendable (String) -> Bool)? = nil
        ) {
            self.operations = operations
            self.code = code
            self.probability = probability
            self.times = times
            self.calls = calls
            self.path = path
        }
    }

    /// The call at which life ends, from 1: it may have done its work or not, it and all later ones answer EIO, until
    /// `powerCut` or `kill` begins another life.
    package var endAt: Int?
    package var faults: [Fault]

    package init(endAt: Int? = nil, faults: [Fault] = []) {
        self.endAt = endAt
        self.faults = faults
    }
}
