/// Why a job waits; all that wait for the same have the same one.
final class FailureReason: Sendable {
    let text: String

    init(_ text: String) { self.text = text }
}

/// Why mail waits, as it's counted: what differs from message to message is left out, and who says the same shares it.
struct FailureReasons {
    private var known: [String: FailureReason] = [:]
    /// Those of before, which may still be needed.
    private var former: [String: FailureReason] = [:]

    /// Reasons of each of the two.
    private static let maximum = 5000
    private static let maximumLength = 120

    /// A reason of these words, which begin with a status.
    mutating func shared(_ text: String) -> FailureReason {
        let short = Self.shortened(text)
        if let reason = known[short] { return reason }
        if known.count >= Self.maximum { (known, former) = ([:], known) }
        let reason = former[short] ?? FailureReason(short)
        known[short] = reason
        return reason
    }

    /// Words with digits in them are addresses, ports, times and names of messages, unless they are short: `*` stands for them.
    static func shortened(_ text: String) -> String {
        var octets: [UInt8] = []
        for word in text.utf8.prefix(4 * maximumLength).split(separator: UInt8(ascii: " ")) {
            if octets.count + word.count > maximumLength { break }
            if !octets.isEmpty { octets.append(UInt8(ascii: " ")) }
            let isName = word.count > 5 && word.contains { $0 &- 0x30 < 10 }
            if !isName {
                octets += word
            } else if octets.last != UInt8(ascii: " ") || octets.dropLast().last != UInt8(ascii: "*") {
                octets.append(UInt8(ascii: "*"))
            } else {
                octets.removeLast()
            }
        }
        return String(decoding: octets, as: UTF8.self)
    }
}
