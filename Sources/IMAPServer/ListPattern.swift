import MIME

/// A pattern of LIST (RFC 3501 §6.3.8): `*` stands for anything, `%` for anything within one level.
struct ListPattern: Sendable {
    private let pattern: [UInt8]
    private let delimiter: UInt8
    /// Places in it that a name is compared with.
    var length: Int { pattern.count + 1 }
    /// Octets of the pattern that are no wildcards: no shorter name matches.
    private let literals: Int

    /// The longest pattern, with its reference, and what all patterns of a command may have together. No name is longer
    /// than a file's name. Octets.
    static let maximumLength = 1024
    static let maximumTotal = 8192

    /// `INBOX` at the start matches in any case. Wildcards in a row count as one.
    init(_ text: [UInt8], delimiter: UInt8) {
        self.delimiter = delimiter
        var short: [UInt8] = []
        for octet in text {
            let last = short.last
            if octet == UInt8(ascii: "%"), last == UInt8(ascii: "%") || last == UInt8(ascii: "*") { continue }
            if octet == UInt8(ascii: "*"), last == UInt8(ascii: "*") { continue }
            if octet == UInt8(ascii: "*"), last == UInt8(ascii: "%") { short.removeLast() }
            short.append(octet)
        }
        if ASCII.equal(short.prefix(5), "INBOX"), short.count == 5 || short[5] == delimiter {
            short.replaceSubrange(0..<5, with: "INBOX".utf8)
        }
        pattern = short
        literals = short.count { $0 != UInt8(ascii: "%") && $0 != UInt8(ascii: "*") }
    }

    /// Takes time in proportion to both lengths: places in the pattern that can be reached are kept as a set.
    func matches(_ name: some Collection<UInt8>) -> Bool {
        guard literals <= name.count else { return false }
        var reached = [Bool](repeating: false, count: pattern.count + 1)
        reached[0] = true
        skipWildcards(&reached)
        for octet in name {
            var next = [Bool](repeating: false, count: pattern.count + 1)
            for place in pattern.indices where reached[place] {
                let wanted = pattern[place]
                if wanted == UInt8(ascii: "*") || wanted == UInt8(ascii: "%") && octet != delimiter {
                    next[place] = true
                } else if wanted == octet {
                    next[place + 1] = true
                }
            }
            skipWildcards(&next)
            reached = next
        }
        return reached[pattern.count]
    }

    private func skipWildcards(_ reached: inout [Bool]) {
        for place in pattern.indices where reached[place] {
            if pattern[place] == UInt8(ascii: "*") || pattern[place] == UInt8(ascii: "%") { reached[place + 1] = true }
        }
    }
}
