/// Recipients of a message that failed, and of whom its sender doesn't know yet: what fails within a few seconds comes in
/// one report. They are in the spool, so that the report is made whatever happens.
struct OwedReport {
    struct Failure {
        /// Which of the envelope's recipients, from 0.
        let index: Int
        let recipient: QueueReport.Recipient
    }

    private(set) var failures: [Failure] = []
    /// The report waits no longer for others. Milliseconds since 1970.
    private(set) var due: Int64
    /// It could not be made, and isn't tried before this time. Milliseconds since 1970; 0 where nothing is wrong.
    private(set) var blockedUntil: Int64 = 0
    /// A report is being made.
    private(set) var isUnderWay = false
    /// Of how many failures, from the first on, that report is.
    private var count = 0

    /// How long a failure waits for others. Milliseconds.
    static let patience: Int64 = 5_000

    init(at now: Int64) { due = now + Self.patience }

    /// What the report that is being made tells.
    var failuresUnderWay: ArraySlice<Failure> { failures.prefix(count) }

    /// Likewise.
    var recipientsUnderWay: [QueueReport.Recipient] { failuresUnderWay.map(\.recipient) }

    mutating func add(_ failure: Failure) { failures.append(failure) }

    /// A report of all that is here begins.
    mutating func begin() {
        isUnderWay = true
        count = failures.count
    }

    /// The report is in the spool: nil where there is nothing else to tell.
    func reported(at now: Int64) -> OwedReport? {
        var rest = OwedReport(at: now)
        rest.failures = Array(failures.dropFirst(count))
        return rest.failures.isEmpty ? nil : rest
    }

    /// The report can't be made now.
    mutating func postpone(until time: Int64) {
        isUnderWay = false
        count = 0
        (due, blockedUntil) = (time, time)
    }
}
