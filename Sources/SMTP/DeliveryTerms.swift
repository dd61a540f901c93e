/// When a message should be delivered, and before which others: what DELIVERBY, FUTURERELEASE and MT-PRIORITY come to once
/// a server has accepted it. Times don't depend on when they are looked at.
package struct DeliveryTerms: Hashable, Sendable {
    /// By when it should be delivered (RFC 2852).
    package struct Deadline: Hashable, Sendable, CustomStringConvertible {
        /// Seconds since 1970.
        package var time: Int64
        package var mode: DeliverBy.Mode
        /// Whether the sender wants to hear of it when the message leaves for a host that doesn't support deadlines.
        package var isTraced: Bool

        package init(time: Int64, mode: DeliverBy.Mode, isTraced: Bool = false) {
            self.time = time
            self.mode = mode
            self.isTraced = isTraced
        }

        /// Reads `1795451599 R`, `1795451599 NT`; nil for anything else.
        package init?(_ text: String) {
            let words = text.split(separator: " ")
            guard words.count == 2, let time = Int64(words[0]), DeliveryTerms.times.contains(time),
                let first = words[1].first, let mode = DeliverBy.Mode(rawValue: String(first)),
                words[1].count == 1 || words[1].dropFirst() == "T"
            else { return nil }
            self.init(time: time, mode: mode, isTraced: words[1].count == 2)
        }

        /// As frames and queue files have it.
        package var description: String { "\(time) \(mode.rawValue)\(isTraced ? "T" : "")" }
    }

    package var deadline: Deadline?
    /// It's not to be delivered before this time (RFC 4865). Seconds since 1970.
    package var holdUntil: Int64?
    /// From -9 to 9, the usual being 0 (RFC 6710).
    package var priority = 0

    /// Of a message like all others.
    package init() {}

    /// Times that make sense. Seconds since 1970.
    package static let times: ClosedRange<Int64> = 0...(1 << 40)
    package static let priorities = -9...9

    /// Reads the values of the fields `deliver-by`, `hold-until` and `priority`, as frames and queue files have them; what
    /// makes no sense is passed over.
    package init(deliverBy: String?, holdUntil: String?, priority: String?) {
        deadline = deliverBy.flatMap { Deadline($0) }
        self.holdUntil = holdUntil.flatMap { Int64($0) }.flatMap { Self.times.contains($0) ? $0 : nil }
        self.priority = priority.flatMap { Int($0) }.flatMap { Self.priorities.contains($0) ? $0 : nil } ?? 0
    }

    /// The fields that say it, in frames and in queue files.
    package var fields: [(name: StaticString, value: String)] {
        var fields: [(StaticString, String)] = []
        if let deadline { fields.append(("deliver-by", deadline.description)) }
        if let holdUntil { fields.append(("hold-until", String(holdUntil))) }
        if priority != 0 { fields.append(("priority", String(priority))) }
        return fields
    }

    /// When its delivery may begin, at the earliest. Seconds since 1970.
    ///
    /// - Parameter arrived: seconds since 1970.
    package func start(arrived: Int64) -> Int64 { max(arrived, holdUntil ?? arrived) }
}

/// The value of MAIL's BY (RFC 2852 §4).
package struct DeliverBy: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable {
        /// The message comes back when it wasn't delivered in time.
        case `return` = "R"
        /// The sender is told, and the message is tried on.
        case notify = "N"
    }

    /// From now. May be over already in mode N.
    package var seconds: Int
    package var mode: Mode
    package var isTraced: Bool

    package init(seconds: Int, mode: Mode, isTraced: Bool = false) {
        self.seconds = seconds
        self.mode = mode
        self.isTraced = isTraced
    }

    /// `by-time ";" by-mode [by-trace]`; nil where it's something else.
    init?(_ value: ArraySlice<UInt8>) {
        var scanner = ByteScanner(value)
        let isNegative = scanner.take(UInt8(ascii: "-"))
        if !isNegative { _ = scanner.take(UInt8(ascii: "+")) }
        let digits = scanner.take(while: \.isDigit)
        guard (1...9).contains(digits.count), scanner.take(UInt8(ascii: ";")), let letter = scanner.next(),
            let mode = Mode(rawValue: String(decoding: [letter.asciiUppercased], as: UTF8.self))
        else { return nil }
        let isTraced = scanner.take(word: "T")
        let seconds = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        guard scanner.isAtEnd, mode == .notify || !isNegative && seconds > 0 else { return nil }
        self.init(seconds: isNegative ? -seconds : seconds, mode: mode, isTraced: isTraced)
    }

    var text: String { "\(seconds);\(mode.rawValue)\(isTraced ? "T" : "")" }
}

/// MAIL's HOLDFOR or HOLDUNTIL (RFC 4865 §4).
package enum FutureRelease: Hashable, Sendable {
    /// Seconds from now.
    case interval(Int)
    /// Seconds since 1970.
    case until(Int64)

    /// When the message may leave. Seconds since 1970, as `now`.
    package func time(from now: Int64) -> Int64 {
        switch self {
        case .interval(let seconds): now + Int64(seconds)
        case .until(let time): time
        }
    }
}
