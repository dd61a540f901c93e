import Network
import SMTP

/// Why a policy table can't be used.
package struct PolicySyntaxError: Error, Sendable, Equatable, CustomStringConvertible {
    package let line: Int
    package let reason: String

    package var description: String { "line \(line): \(reason)" }
}

/// Reads a policy table (docs/policy.md): a rule a line, `ACTION if CONDITION and CONDITION …`.
package struct PolicyParser {
    private var words: ArraySlice<Word>
    private let line: Int

    private struct Word {
        let text: String
        /// It stood in quotes, and is no keyword.
        let isQuoted: Bool
    }

    private static let maximumRules = 10_000
    private static let maximumLine = 4096
    /// They have to fit in front of a message, beside other fields.
    private static let maximumFields = 20

    /// - Parameters:
    ///   - firstLine: the number of the first line.
    ///   - lists: the names of DNS lists that there are.
    /// - Throws: of the first line that is wrong.
    package static func table(
        _ text: String,
        firstLine: Int = 1,
        lists: Set<String> = []
    ) throws(PolicySyntaxError) -> PolicyTable {
        var rules: [PolicyRule] = []
        // Of octets: CR LF is one character.
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, octets) in lines.enumerated() {
            let line = firstLine + index
            let written = Substring(octets)
            guard written.utf8.count <= maximumLine, rules.count < maximumRules else {
                throw PolicySyntaxError(
                    line: line,
                    reason: "the table has more than \(maximumRules) rules, or a line is too long"
                )
            }
            let words = try words(written, line: line)
            guard !words.isEmpty else { continue }
            var parser = PolicyParser(words: words[...], line: line)
            rules.append(try parser.rule(trimmed(written)))
            if let unknown = parser.unknownList(in: rules[rules.count - 1], lists) {
                throw PolicySyntaxError(line: line, reason: "there is no DNS list \"\(unknown)\"")
            }
        }
        let fields = rules.filter { if case .addField = $0.action { true } else { false } }
        if let last = fields.dropFirst(maximumFields).first {
            throw PolicySyntaxError(
                line: last.line,
                reason: "there are more than \(maximumFields) rules that add a field"
            )
        }
        return PolicyTable(rules)
    }

    private static func trimmed(_ line: Substring) -> String {
        var line = line
        while let last = line.last, last == " " || last == "\t" { line.removeLast() }
        return String(line.drop { $0 == " " || $0 == "\t" })
    }

    /// Words, and what stands in quotes; `#` begins a comment.
    private static func words(_ line: Substring, line number: Int) throws(PolicySyntaxError) -> [Word] {
        var words: [Word] = []
        var rest = line.utf8[...]
        while let first = rest.first {
            switch first {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): rest = rest.dropFirst()
            case UInt8(ascii: "#"): return words
            case UInt8(ascii: "\""):
                guard let end = rest.dropFirst().firstIndex(of: UInt8(ascii: "\"")) else {
                    throw PolicySyntaxError(line: number, reason: "a quotation mark is missing")
                }
                words.append(
                    Word(text: String(Substring(rest[rest.index(after: rest.startIndex)..<end])), isQuoted: true)
                )
                rest = rest[rest.index(after: end)...]
            default:
                let end = rest.firstIndex { [0x20, 0x09, 0x0D, 0x22].contains($0) } ?? rest.endIndex
                words.append(Word(text: String(Substring(rest[..<end])), isQuoted: false))
                rest = rest[end...]
            }
        }
        return words
    }

    private func fault(_ reason: String) -> PolicySyntaxError { PolicySyntaxError(line: line, reason: reason) }

    private mutating func take(_ keyword: String) -> Bool {
        guard let word = words.first, !word.isQuoted, word.text == keyword else { return false }
        words = words.dropFirst()
        return true
    }

    private mutating func rule(_ text: String) throws(PolicySyntaxError) -> PolicyRule {
        let action = try action()
        var conditions: [PolicyCondition] = []
        if take("if") {
            repeat { conditions.append(try condition()) } while take("and")
        }
        if let word = words.first { throw fault("\"\(word.text)\" is not expected here") }
        return PolicyRule(line: line, text: text, action: action, conditions: conditions)
    }

    // MARK: Actions

    private mutating func action() throws(PolicySyntaxError) -> PolicyAction {
        guard let word = words.popFirst(), !word.isQuoted else { throw fault("a rule begins with an action") }
        switch word.text {
        case "accept": return .accept
        case "reject":
            let (status, text) = try reply(5, EnhancedStatusCode(5, 7, 1), "not accepted here")
            return .reject(status, text)
        case "defer":
            let (status, text) = try reply(4, EnhancedStatusCode(4, 7, 1), "not accepted now, try again later")
            return .defer(status, text)
        case "junk": return .junk
        case "hold": return .hold
        case "greylist": return .greylist
        case "tarpit":
            guard let seconds = words.popFirst().flatMap({ Int($0.text) }),
                (1...PolicyTable.maximumDelay).contains(seconds)
            else { throw fault("tarpit wants seconds, \(PolicyTable.maximumDelay) at most") }
            return .tarpit(seconds)
        case "discard": return .discard
        case "add":
            guard let field = words.popFirst(), Self.isField(field.text) else {
                throw fault("add wants a header field such as \"X-Checked: yes\"")
            }
            return .addField(field.text)
        case "route":
            guard let name = words.popFirst()?.text, !name.isEmpty else { throw fault("route wants a name") }
            return .route(name.lowercased())
        case "score":
            guard let points = words.popFirst().flatMap({ Int($0.text) }), (-10_000...10_000).contains(points) else {
                throw fault("score wants a number")
            }
            return .score(points)
        default:
            throw fault(
                "\"\(word.text)\" is not an action: accept, reject, defer, greylist, tarpit, junk, hold, discard, add, route or score"
            )
        }
    }

    private mutating func reply(
        _ statusClass: UInt8,
        _ standard: EnhancedStatusCode,
        _ standardText: String
    ) throws(PolicySyntaxError) -> (EnhancedStatusCode, String) {
        var status = standard
        if let word = words.first, !word.isQuoted, let given = EnhancedStatusCode(parsing: word.text.utf8) {
            guard given.statusClass == statusClass else {
                throw fault("\(given) is not a status that begins with \(statusClass)")
            }
            status = given
            words = words.dropFirst()
        }
        guard let word = words.first, word.isQuoted else { return (status, standardText) }
        words = words.dropFirst()
        guard !word.text.isEmpty, word.text.utf8.count <= 400, word.text.utf8.allSatisfy({ (0x20...0x7E).contains($0) })
        else { throw fault("the text of a reply is ASCII, 400 characters at most") }
        return (status, word.text)
    }

    /// A whole field in ASCII, short enough for a line.
    private static func isField(_ text: String) -> Bool {
        let octets = Array(text.utf8)
        guard let colon = octets.firstIndex(of: UInt8(ascii: ":")), colon > 0, octets.count <= 900 else { return false }
        return octets[..<colon].allSatisfy { (0x21...0x7E).contains($0) }
            && octets[colon...].allSatisfy { (0x20...0x7E).contains($0) }
    }

    // MARK: Conditions

    private mutating func condition() throws(PolicySyntaxError) -> PolicyCondition {
        let isNegated = take("not")
        guard let word = words.popFirst(), !word.isQuoted else { throw fault("a condition is missing") }
        return PolicyCondition(isNegated: isNegated, test: try test(word.text))
    }

    /// What stands up to the next `and`.
    private mutating func values(of name: String, mayBeEmpty: Bool = false) throws(PolicySyntaxError) -> [String] {
        var values: [String] = []
        while let word = words.first, word.isQuoted || word.text != "and" {
            values.append(word.text)
            words = words.dropFirst()
        }
        guard mayBeEmpty || !values.isEmpty else { throw fault("\(name) wants a value") }
        return values
    }

    private mutating func choices(of name: String, among known: [String]) throws(PolicySyntaxError) -> [String] {
        let values = try values(of: name)
        if let wrong = values.first(where: { !known.contains($0) }) {
            throw fault("\"\(wrong)\" is not one of " + known.joined(separator: ", "))
        }
        return values
    }

    private mutating func patterns(of name: String, mayBeEmpty: Bool = false) throws(PolicySyntaxError) -> [TextPattern]
    {
        try values(of: name, mayBeEmpty: mayBeEmpty).map { TextPattern($0) }
    }

    /// Results that the RFCs name.
    private static let results = [
        "iprev": ["pass", "fail", "temperror", "permerror"],
        "spf": ["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"],
        "dkim": ["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"],
        "arc": ["none", "pass", "fail"],
        "dmarc": ["none", "pass", "fail", "temperror", "permerror"],
    ]

    private mutating func test(_ name: String) throws(PolicySyntaxError) -> PolicyTest {
        switch name {
        case "listener": return .listener(try choices(of: name, among: ["smtp", "submission", "submissions", "lmtp"]))
        case "client":
            let values = try values(of: name)
            let ranges = values.compactMap { AddressRange($0) }
            guard ranges.count == values.count else {
                throw fault("client wants networks such as 192.0.2.0/24 or 2001:db8::/32")
            }
            return .client(ranges)
        case "client-name": return .clientName(try patterns(of: name))
        case "helo": return .helo(try patterns(of: name))
        case "own-helo": return .ownHelo
        case "tls": return .tls
        case "account": return .account(try patterns(of: name, mayBeEmpty: true))
        case "sender": return .sender(try addresses(of: name))
        case "recipient": return .recipient(try addresses(of: name))
        case "size":
            guard take(">"), let limit = words.popFirst().flatMap({ Int($0.text) }), limit >= 0 else {
                throw fault("size is written as in \"size > 1000000\", in octets")
            }
            return .size(limit)
        case "iprev", "spf", "dkim", "arc", "dmarc":
            return .result(name, try choices(of: name, among: Self.results[name] ?? []))
        case "signed-by": return .signedBy(try patterns(of: name))
        case "listed": return .listed(try values(of: name))
        case "score":
            guard take(">="), let limit = words.popFirst().flatMap({ Int($0.text) }) else {
                throw fault("score is written as in \"score >= 5\"")
            }
            return .score(limit)
        case "header":
            guard let field = words.popFirst(), Self.isField(field.text + ":") else {
                throw fault("header is written as in \"header Subject *lottery*\"")
            }
            return .header(field.text.lowercased(), try patterns(of: name))
        case "body": return .body(try values(of: name).map { TextPattern("*\($0)*") })
        case "time":
            let parts = words.popFirst()?.text.split(separator: "-", omittingEmptySubsequences: false) ?? []
            guard parts.count == 2, let from = Self.minutes(parts[0]), let to = Self.minutes(parts[1]), from != to
            else {
                throw fault("time is written as in \"time 22:00-06:30\"")
            }
            return .time(from: from, to: to)
        default: throw fault("\"\(name)\" is not a condition")
        }
    }

    /// Patterns of addresses: `<>` is the null reverse-path, a domain alone means all its addresses.
    private mutating func addresses(of name: String) throws(PolicySyntaxError) -> [TextPattern] {
        try values(of: name).map { text in
            if text == "<>" { return TextPattern("") }
            return TextPattern(
                text.utf8.contains(UInt8(ascii: "@")) || text.utf8.contains(UInt8(ascii: "*")) ? text : "*@" + text
            )
        }
    }

    private static func minutes(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].count == 2, let hour = Int(parts[0]), let minute = Int(parts[1]),
            (0...24).contains(hour), (0..<60).contains(minute), hour < 24 || minute == 0
        else { return nil }
        return hour * 60 + minute
    }

    private func unknownList(in rule: PolicyRule, _ lists: Set<String>) -> String? {
        for case .listed(let names) in rule.conditions.map(\.test) {
            if let unknown = names.first(where: { !lists.contains($0) }) { return unknown }
        }
        return nil
    }
}
