import DequeModule

/// Where mail goes: our own mailboxes, or a domain elsewhere. Has its own line, its own concurrency, and a rest after
/// it could not be reached.
final class Destination: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    /// The domain in lower case; empty for our mailboxes.
    let name: String
    /// Jobs that are due. Some may have gone elsewhere since: those are not `ready`.
    var line: Deque<DeliveryJob> = []
    /// Deliveries that are going on.
    private(set) var active = 0
    /// How many may go on: grows by one with each round of successes, halves when it can't be reached.
    private(set) var window: Double
    private let maximumWindow: Double
    /// Times in a row that it could not be reached.
    private(set) var failures = 0
    /// When it's tried again. Milliseconds since 1970; 0 where nothing is wrong.
    private(set) var blockedUntil: Int64 = 0
    /// Why it could not be reached: enhanced status code and text.
    private(set) var failure = (status: "4.4.1", text: "")
    /// Whether it stands in the scheduler's line of destinations.
    var isInLine = false

    static let initialWindow = 5.0

    init(name: String, maximumWindow: Int) {
        self.name = name
        self.maximumWindow = Double(maximumWindow)
        window = name.isEmpty ? Double(maximumWindow) : min(Self.initialWindow, Double(maximumWindow))
    }

    var isLocal: Bool { name.isEmpty }

    /// Whether one more delivery may begin.
    var hasRoom: Bool { failures > 0 ? active == 0 : active < Int(window) }

    /// Nothing is known about it that a new one would not know.
    var isForgettable: Bool { line.isEmpty && active == 0 && failures == 0 }

    func began() { active += 1 }

    /// A delivery is over without a word on the destination, such as when a deliverer was killed.
    func ended() { active -= 1 }

    /// It was reached.
    func succeeded() {
        failures = 0
        blockedUntil = 0
        window = min(maximumWindow, window + 1 / max(window, 1))
    }

    /// It could not be reached: nothing else is tried until the wait is over, and then one delivery first.
    func failed(until time: Int64, status: String, text: String) {
        failures += 1
        blockedUntil = time
        failure = (status, text)
        window = failures > 1 ? 1 : max(1, window / 2)
    }

    /// The administrator wants it tried now.
    func unblock() { blockedUntil = 0 }
}
