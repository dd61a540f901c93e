import SMTP

/// Messages, and recipients of messages.
package struct SendingAmount: Equatable, Sendable {
    package var messages = 0
    package var recipients = 0

    package init(messages: Int = 0, recipients: Int = 0) {
        self.messages = messages
        self.recipients = recipients
    }

    static func + (one: Self, other: Self) -> Self {
        // Counts in files may be anything.
        Self(
            messages: one.messages.addingReportingOverflow(other.messages).partialValue,
            recipients: one.recipients.addingReportingOverflow(other.recipients).partialValue
        )
    }
}

/// What an account may send; 0 for no limit.
package struct SendingLimits: Equatable, Sendable {
    package var hour: SendingAmount
    package var day: SendingAmount

    package init(hour: SendingAmount = SendingAmount(), day: SendingAmount = SendingAmount()) {
        self.hour = hour
        self.day = day
    }
}

/// What each account has sent within the last hour and the last day, to ten minutes. A value; bounded by the number of
/// accounts.
struct SendingCounts: Sendable {
    /// Ten minutes, counted from 1970, and what was sent in them.
    struct Slot: Equatable, Sendable {
        let time: Int
        var amount: SendingAmount
    }

    /// Why a message can't be sent.
    enum Refusal: Equatable, Sendable {
        /// More are allowed in so many seconds.
        case later(limit: Int, of: What, per: Period, wait: Int)
        /// The message alone has more recipients than the limit.
        case never(limit: Int, per: Period)

        var text: String {
            switch self {
            case .later(let limit, let what, let period, let wait):
                "the limit of \(limit) \(what.rawValue) \(period.phrase) is reached, try again in \((wait + 59) / 60) minutes"
            case .never(let limit, let period): "the limit is \(limit) recipients \(period.phrase)"
            }
        }
    }

    enum What: String, Sendable {
        case messages
        case recipients
    }

    enum Period: Int, Sendable, CaseIterable {
        case hour = 6
        case day = 144

        var phrase: String { self == .hour ? "an hour" : "a day" }
    }

    private var accounts: [AddressKey: [Slot]] = [:]

    private static let slotSeconds = 600

    init() {}

    /// What an account has sent within a period.
    ///
    /// - Parameter now: seconds since 1970.
    func amount(of account: MailAddress, within period: Period, now: Int) -> SendingAmount {
        let slots = accounts[AddressKey(account)] ?? []
        return Self.recent(slots, period, now).reduce(SendingAmount()) { $0 + $1.amount }
    }

    private static func recent(_ slots: [Slot], _ period: Period, _ now: Int) -> ArraySlice<Slot> {
        let first = now / slotSeconds - period.rawValue + 1
        return slots[(slots.firstIndex { $0.time >= first } ?? slots.endIndex)...]
    }

    /// Counts a message that an account is about to send, unless it's over a limit.
    mutating func send(_ account: MailAddress, recipients: Int, limits: SendingLimits, now: Int) -> Refusal? {
        let key = AddressKey(account)
        // A clock that was put back must not leave slots of the future that nobody outlives.
        var slots = (accounts[key] ?? []).filter { $0.time <= now / Self.slotSeconds }
        slots = Array(Self.recent(slots, .day, now))
        for period in Period.allCases {
            let limit = period == .hour ? limits.hour : limits.day
            if let refusal = Self.refusal(slots, recipients, limit, period, now) { return refusal }
        }
        let amount = SendingAmount(messages: 1, recipients: recipients)
        if let last = slots.last, last.time == now / Self.slotSeconds {
            slots[slots.count - 1].amount = last.amount + amount
        } else {
            slots.append(Slot(time: now / Self.slotSeconds, amount: amount))
        }
        accounts[key] = slots
        return nil
    }

    /// A message that was counted was not taken. It was counted not long ago, so that it's sought among the newest.
    mutating func takeBack(_ account: MailAddress, recipients: Int) {
        let key = AddressKey(account)
        guard var slots = accounts[key] else { return }
        var left = SendingAmount(messages: 1, recipients: max(0, recipients))
        for index in slots.indices.reversed() where left != SendingAmount() {
            let amount = slots[index].amount
            let taken = SendingAmount(
                messages: min(left.messages, amount.messages),
                recipients: min(left.recipients, amount.recipients)
            )
            slots[index].amount = SendingAmount(
                messages: amount.messages - taken.messages,
                recipients: amount.recipients - taken.recipients
            )
            left = SendingAmount(
                messages: left.messages - taken.messages,
                recipients: left.recipients - taken.recipients
            )
        }
        slots.removeAll { $0.amount == SendingAmount() }
        accounts[key] = slots.isEmpty ? nil : slots
    }

    private static func refusal(
        _ slots: [Slot],
        _ recipients: Int,
        _ limit: SendingAmount,
        _ period: Period,
        _ now: Int
    ) -> Refusal? {
        if limit.recipients > 0, recipients > limit.recipients { return .never(limit: limit.recipients, per: period) }
        let recent = recent(slots, period, now)
        if limit.messages > 0,
            let wait = wait(recent.map { ($0.time, $0.amount.messages) }, 1, limit.messages, period, now)
        {
            return .later(limit: limit.messages, of: .messages, per: period, wait: wait)
        }
        if limit.recipients > 0,
            let wait = wait(recent.map { ($0.time, $0.amount.recipients) }, recipients, limit.recipients, period, now)
        {
            return .later(limit: limit.recipients, of: .recipients, per: period, wait: wait)
        }
        return nil
    }

    /// Seconds until so many more fit; nil where they do now.
    private static func wait(
        _ counts: [(time: Int, count: Int)],
        _ more: Int,
        _ limit: Int,
        _ period: Period,
        _ now: Int
    ) -> Int? {
        var sum = counts.reduce(0) { $0 &+ $1.count }
        guard sum > limit - more else { return nil }
        for (time, count) in counts {
            sum &-= count
            if sum <= limit - more { return (time + period.rawValue) * slotSeconds - now }
        }
        return period.rawValue * slotSeconds
    }

    /// Forgets what an account has sent.
    mutating func lift(_ account: MailAddress) { accounts[AddressKey(account)] = nil }

    /// Forgets accounts that are gone.
    ///
    /// - Returns: whether there were any.
    mutating func forget(allBut table: AccountTable) -> Bool {
        let count = accounts.count
        accounts = accounts.filter { table[$0.key] != nil }
        return accounts.count != count
    }

    // MARK: On disk

    /// `address:slot:messages:recipients`, a line for each ten minutes.
    var lines: [String] {
        accounts.flatMap { key, slots in
            slots.map { "\(key.text):\($0.time):\($0.amount.messages):\($0.amount.recipients)" }
        }.sorted()
    }

    /// What isn't understood is passed over.
    init(lines: [Substring]) {
        for line in lines {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count == 4, let address = try? MailAddress(parsing: fields[0].utf8, options: .utf8),
                let time = Int(fields[1]), let messages = Int(fields[2]), let recipients = Int(fields[3]),
                (0...Self.longestTime).contains(time), messages >= 0, recipients >= 0
            else { continue }
            accounts[AddressKey(address), default: []].append(
                Slot(time: time, amount: SendingAmount(messages: messages, recipients: recipients))
            )
        }
        for (key, slots) in accounts { accounts[key] = slots.sorted { $0.time < $1.time } }
    }

    /// Far beyond all of us.
    private static let longestTime = 1 << 40
}
