/// Why mail waits, as it's counted: what differs from message to message is left out, and who says the same shares it.
struct FailureReasons {
    private var known: Set<String> = []
    /// Those of before, which may still be needed.
    private var former: Set<String> = []

    /// Reasons of each of the two.
    private static let maximum = 5000
    private static let maximumLength = 120

    /// A reason of these words, which begin with a status.
    mutating func shared(_ text: String) -> String {
        let short = Self.shortened(text)
        if let index = known.firstIndex(of: short) { return known[index] }
        if known.count >= Self.maximum { (known, former) = ([], known) }
        let reason = former.firstIndex(of: short).map { former[$0] } ?? short
        known.insert(reason)
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
