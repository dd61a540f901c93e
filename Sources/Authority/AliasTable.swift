import SMTP

/// `etc/aliases`: `name: target, target`, where a name is `local-part` (in every domain of ours), `local-part@domain`,
/// or `@domain` for all that has neither account nor alias. A line that begins with a space continues the one
/// before it.
package struct AliasTable: Sendable {
    private var targets: [String: [String]] = [:]

    package init() {}

    /// - Throws: `TableError` for the first line that can't be understood.
    package init(text: String, file: String) throws(TableError) {
        for (number, entry) in Self.entries(text) {
            guard let colon = entry.firstIndex(of: ":") else {
                throw TableError(file: file, line: number, reason: "expected name: address, address")
            }
            let name = Self.trimmed(entry[..<colon]).lowercased()
            let list = entry[entry.index(after: colon)...].split(separator: ",").map { Self.trimmed($0) }
            guard !name.isEmpty, !list.isEmpty, list.allSatisfy({ !$0.isEmpty }) else {
                throw TableError(file: file, line: number, reason: "an alias needs a name and an address")
            }
            for target in list where !Self.isTarget(target) {
                throw TableError(file: file, line: number, reason: "\"\(target)\" is not an address")
            }
            guard targets.updateValue(list, forKey: name) == nil else {
                throw TableError(file: file, line: number, reason: "\(name) is there already")
            }
        }
    }

    /// What an address of ours leads to; nil where there is no alias. A catch-all is asked for apart.
    func targets(localPart: String, domain: String) -> [String]? {
        let key = AddressKey(localPart: localPart, domain: domain).text
        return targets[key] ?? targets[AddressKey(localPart: localPart, domain: "").text.dropLast().description]
    }

    func catchAll(domain: String) -> [String]? { targets["@" + domain.lowercased()] }

    private static func isTarget(_ text: String) -> Bool {
        let address = text.contains("@") ? text : text + "@localhost"
        return (try? MailAddress(parsing: address.utf8, options: .utf8)) != nil
    }

    private static func entries(_ text: String) -> [(line: Int, text: Substring)] {
        var entries: [(line: Int, text: Substring)] = []
        for (index, line) in text.tableLines.enumerated() {
            if line.first == "#" || line.allSatisfy({ $0 == " " || $0 == "\t" }) { continue }
            if line.first == " " || line.first == "\t", let last = entries.popLast() {
                entries.append((last.line, last.text + line))
            } else {
                entries.append((index + 1, line))
            }
        }
        return entries
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.trimmingPrefix { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}
