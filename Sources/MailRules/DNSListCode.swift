/// Which answers of a DNS list count (RFC 5782 §2.1): a last octet of 127.0.0.x, such as `2` or `4-7`, or all four octets, where
/// `*` stands for any, such as `127.0.*.1-3`.
package struct DNSListCode: Sendable, Equatable {
    /// What each of the four octets may be.
    private let octets: [ClosedRange<UInt8>]

    /// nil for what is neither of the two.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        switch parts.count {
        case 1: octets = [127...127, 0...0, 0...0] + parts.compactMap(Self.range)
        case 4: octets = parts.compactMap { $0 == "*" ? 0...255 : Self.range($0) }
        default: return nil
        }
        guard octets.count == 4 else { return nil }
    }

    private static func range(_ text: Substring) -> ClosedRange<UInt8>? {
        let bounds = text.split(separator: "-", omittingEmptySubsequences: false)
        guard bounds.count <= 2, bounds.allSatisfy({ $0.utf8.first != UInt8(ascii: "+") }),
            let first = bounds.first.flatMap({ UInt8($0) }), let last = bounds.last.flatMap({ UInt8($0) }),
            first <= last
        else { return nil }
        return first...last
    }

    /// Whether it stands for an answer, of four octets.
    package func matches(_ answer: [UInt8]) -> Bool {
        answer.count == octets.count && zip(octets, answer).allSatisfy { $0.contains($1) }
    }
}
