/// Texts as the full-text index takes them: substring search by runs of three characters (SQLite's FTS5, `trigram`).
enum Trigrams {
    /// The most that are asked for: the more there are the fewer messages have all of them, and a few dozen are enough.
    private static let maximum = 64

    /// What a text has to match to hold the one that is wanted.
    static func query(_ text: [UInt8], inHeaderOnly: Bool) -> String? {
        guard !text.contains(0), let wanted = String(validating: text, as: UTF8.self) else { return nil }
        let scalars = Array(wanted.unicodeScalars.prefix(maximum + 2))
        guard scalars.count >= 3 else { return nil }
        var terms: [String] = []
        for start in 0...(scalars.count - 3) {
            var term = "\""
            for scalar in scalars[start..<(start + 3)] {
                if scalar == "\"" { term += "\"" }
                term.unicodeScalars.append(scalar)
            }
            terms.append(term + "\"")
        }
        let all = terms.joined(separator: " AND ")
        return inHeaderOnly ? "header : (\(all))" : all
    }

    /// A text as it goes into the index, where NUL would end it.
    static func text(_ octets: [UInt8]) -> String {
        guard octets.contains(0) else { return String(decoding: octets, as: UTF8.self) }
        return String(decoding: octets.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
    }
}
