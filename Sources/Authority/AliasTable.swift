import SMTP

/// `etc/aliases`: `name: target, target`, where a target may be a list in a file (`MailingList`), and a name is `local-part` (in every domain of ours), `local-part@domain`,
/// or `@domain` for all that has neither account nor alias. A line that begins with a space continues the one
/// before it.
package struct AliasTable: Sendable {
    /// An alias and where it stands.
    package struct Entry: Equatable, Sendable {
        /// As it's looked up, in lower case.
        package let name: String
        /// Counted from 1.
        package let line: Int
        /// As they are written.
        package let targets: [String]
    }

    private var entries: [String: Entry] = [:]

    package init() {}

    /// - Throws: `TableError` with every line that can't be understood.
    package init(text: String, file: String) throws(TableError) {
        var faults = TableFaults(file: file)
        var builder: Builder?
        for (number, line) in TableLines(text) {
            if let reason = TableLines.fault(of: line) {
                faults.add(line: number, reason: reason)
            } else if line.first == " " || line.first == "\t", builder != nil {
                builder?.add(line, number)
            } else {
                if let builder { finish(builder, &faults) }
                builder = Builder(line, number)
            }
        }
        if let builder { finish(builder, &faults) }
        try faults.check()
    }

    private mutating func finish(_ builder: Builder, _ faults: inout TableFaults) {
        var targets: [String] = []
        guard let name = builder.name else {
            return faults.add(line: builder.number, reason: "expected name: address, address")
        }
        guard let key = Self.key(of: name) else {
            let reason = "\"\(name)\" is no name of an alias: a local part, an address or @domain, one for each line"
            return faults.add(line: builder.number, reason: reason)
        }
        for (target, number) in builder.targets {
            if let reason = Self.fault(ofTarget: target) { faults.add(line: number, reason: reason) }
            targets.append(target)
        }
        let entry = Entry(name: key, line: builder.number, targets: targets)
        if let former = entries.updateValue(entry, forKey: key) {
            faults.add(line: builder.number, reason: "\(key) is there already, in line \(former.line)")
        }
    }

    /// An alias as its lines are read. Commas and colons in quotes belong to an address.
    private struct Builder {
        let number: Int
        /// nil where no colon ends it.
        private(set) var name: String?
        private(set) var targets: [(text: String, line: Int)] = []

        /// A list without a name.
        init() {
            number = 0
            targets = [("", 0)]
        }

        init(_ line: Substring, _ number: Int) {
            self.number = number
            guard let colon = Self.places(of: ":", in: line).first else { return }
            name = String(TableLines.trimmed(line[..<colon]))
            targets = [("", number)]
            add(line[line.index(after: colon)...], number)
        }

        /// Goes on with the list.
        mutating func add(_ text: Substring, _ line: Int) {
            var start = text.startIndex
            for comma in Self.places(of: ",", in: text) {
                extend(text[start..<comma], line)
                targets.append(("", line))
                start = text.index(after: comma)
            }
            extend(text[start...], line)
        }

        private mutating func extend(_ text: Substring, _ line: Int) {
            let text = String(TableLines.trimmed(text))
            guard !text.isEmpty, let last = targets.popLast() else { return }
            targets.append(last.text.isEmpty ? (text, line) : ("\(last.text) \(text)", last.line))
        }

        /// Where a character stands outside of quotes.
        private static func places(of wanted: Character, in text: Substring) -> [Substring.Index] {
            var places: [Substring.Index] = []
            var isQuoted = false
            var isEscaped = false
            for index in text.indices {
                if isEscaped {
                    isEscaped = false
                    continue
                }
                switch text[index] {
                case "\\" where isQuoted: isEscaped = true
                case "\"": isQuoted.toggle()
                case wanted where !isQuoted: places.append(index)
                default: continue
                }
            }
            return places
        }
    }

    /// The targets in a line of a list.
    static func targets(in line: Substring) -> [String] {
        var builder = Builder()
        builder.add(line, 0)
        return builder.targets.map(\.text).filter { !$0.isEmpty }
    }

    /// What an alias is looked up by; nil where the name is none.
    static func key(of name: String) -> String? {
        if name.first == "@" {
            guard let address = try? MailAddress(parsing: "x\(name)".utf8, options: .utf8) else { return nil }
            return catchAllKey(address.domain)
        }
        if name.contains("@") {
            return (try? MailAddress(parsing: name.utf8, options: .utf8)).map { AddressKey($0).text }
        }
        return (try? MailAddress(parsing: "\(name)@localhost".utf8, options: .utf8)).map { everywhereKey($0.localPart) }
    }

    private static func catchAllKey(_ domain: String) -> String { AddressKey(localPart: "", domain: domain).text }

    private static func everywhereKey(_ localPart: some StringProtocol) -> String {
        String(AddressKey(localPart: localPart, domain: "").text.dropLast())
    }

    static func fault(ofTarget target: String) -> String? {
        if target.isEmpty { return "an alias needs an address before and behind each comma" }
        let bare = target.first == "\"" ? target.dropFirst() : target[...]
        if bare.first == "|" { return "\"\(target)\": an alias starts no program" }
        if let path = MailingList.path(of: target) {
            let isPath = !path.isEmpty && !path.utf8.contains(0) && path.utf8.count <= 1000
            return isPath ? nil : "\"\(target)\" names no file"
        }
        // With a domain it's an address all the same.
        if bare.first == "/", !target.contains("@") { return "\"\(target)\": an alias writes to no file" }
        let address = target.contains("@") ? target : target + "@localhost"
        if (try? MailAddress(parsing: address.utf8, options: .utf8)) != nil { return nil }
        return "\"\(target)\" is not an address"
    }

    /// All aliases, in the order of their lines.
    package var all: [Entry] { entries.values.sorted { $0.line < $1.line } }

    /// The files that aliases name.
    package var lists: Set<String> { Set(entries.values.flatMap { $0.targets.compactMap(MailingList.path) }) }

    /// The alias of that name, in the form in which it's looked up.
    subscript(key: String) -> Entry? { entries[key] }

    /// The alias for an address of ours. A catch-all is asked for apart.
    func entry(localPart: some StringProtocol, domain: String) -> Entry? {
        entries[AddressKey(localPart: localPart, domain: domain).text] ?? entries[Self.everywhereKey(localPart)]
    }

    /// The alias for all of a domain that has neither account nor alias.
    func catchAll(domain: String) -> Entry? { entries[Self.catchAllKey(domain)] }
}
