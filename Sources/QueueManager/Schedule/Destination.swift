import SMTP

/// Where mail goes: our own mailboxes, or a domain elsewhere. Has its own line, its own concurrency, and a pause after
/// it could not be reached.
final class Destination {
    /// The domain in lower case; empty for our mailboxes.
    let name: String
    /// Jobs that are due.
    var line = PriorityLines()
    /// How many jobs wait for their time.
    var deferred = 0
    /// How many of them wait because their senders don't want them to leave yet (RFC 4865).
    var heldBack = 0
    /// Its deliverer was away when it was its turn: it comes into the line when that is back.
    var isAway = false
    /// Deliveries that are going on.
    private(set) var active = 0
    /// How many may go on: grows by one with each round of successes, halves when it can't be reached or lets no session begin.
    private(set) var window: Double
    private let maximumWindow: Double
    /// Times in a row that it could not be reached.
    private(set) var failures = 0
    /// Times in a row that its hosts let no session begin.
    private var refusals = 0
    /// When it's tried again. Milliseconds since 1970; 0 where nothing is wrong.
    private(set) var blockedUntil: Int64 = 0
    /// Which of all failures of destinations was its last one.
    private(set) var failureNumber = 0
    /// Why it could not be reached.
    private(set) var failure: DeliveryResult?
    /// The shortest time between the beginnings of two deliveries. Milliseconds; 0 for none.
    let interval: Int64
    /// When the next delivery may begin because of that. Milliseconds since 1970.
    private(set) var pacedUntil: Int64 = 0
    /// Whether it was reached when that was tried last.
    private(set) var isProven: Bool
    /// Its place in the schedule's line of destinations; nil where it isn't there.
    var place: Place?

    /// A place in the schedule's line.
    struct Place {
        /// Whose number it has.
        let number: Int
        /// Lower ones come first.
        let turn: Int
    }

    static let initialWindow = 5.0

    init(name: String, maximumWindow: Int, interval: Int64 = 0) {
        self.name = name
        self.interval = interval
        isProven = name.isEmpty
        self.maximumWindow = Double(maximumWindow)
        window = name.isEmpty ? Double(maximumWindow) : min(Self.initialWindow, Double(maximumWindow))
    }

    var isLocal: Bool { name.isEmpty }

    /// Whether one more delivery may begin.
    ///
    /// - Parameter isScarce: whether there is little room for deliveries: of where nobody knows whether it can be reached,
    ///   one finds out.
    func hasRoom(isScarce: Bool) -> Bool {
        failures > 0 || isScarce && !isProven ? active == 0 : active < Int(window)
    }

    /// When a delivery may begin. Milliseconds since 1970.
    var restsUntil: Int64 { max(blockedUntil, pacedUntil) }

    /// No mail is for it.
    var isUnused: Bool { line.isEmpty && deferred == 0 && active == 0 && place == nil }

    /// Nothing is known about it that a new one would not know, or that still matters.
    func isForgettable(at now: Int64) -> Bool {
        isUnused && (failures == 0 && refusals == 0 || blockedUntil <= now) && pacedUntil <= now
    }

    func began() { active += 1 }

    /// A delivery leaves: the next one has to wait where it's to be so.
    func pace(at now: Int64) {
        if interval > 0 { pacedUntil = max(pacedUntil, now) + interval }
    }

    /// A delivery is over, whatever came of it.
    func ended() { active -= 1 }

    /// It was reached.
    ///
    /// - Parameter grows: whether mail got through, or was refused for good.
    func succeeded(grows: Bool) {
        failures = 0
        refusals = 0
        blockedUntil = 0
        failure = nil
        isProven = true
        if grows { window = min(maximumWindow, window + 1 / max(window, 1)) }
    }

    /// The rest after the first refusal, and after many. Milliseconds.
    private static let rests: (first: Int64, longest: Int64) = (1000, 300_000)

    /// Its hosts answered and let no session begin: half as many at a time after a short rest, a longer one each time. It isn't dead.
    func refused(at now: Int64) {
        failures = 0
        failure = nil
        isProven = true
        blockedUntil = now + min(Self.rests.longest, Self.rests.first << min(refusals, 16))
        refusals += 1
        window = max(1, window / 2)
    }

    /// It could not be reached: nothing else is tried until the pause is over, and then one delivery first.
    func failed(until time: Int64, _ result: DeliveryResult, number: Int) {
        failures += 1
        failureNumber = number
        isProven = false
        blockedUntil = time
        failure = result
        window = failures > 1 ? 1 : max(1, window / 2)
    }

    /// Its host is busy with other mail: nothing is wrong with it.
    func rest(until time: Int64) { blockedUntil = max(blockedUntil, time) }

    /// The administrator wants it tried now.
    ///
    /// - Parameter number: of the last failure when that was said: a later one is an answer to it.
    func unblock(before number: Int) { if failureNumber <= number { blockedUntil = 0 } }
}
