/// The names of a folder's keywords: lines of number and name, where number 0 is the letter `a` in file names (the format
/// of Dovecot's `dovecot-keywords`). Changes need the folder's lock and Dovecot's on its UID list.
struct KeywordList {
    static let path = "dovecot-keywords"

    private(set) var names: [String] = []

    mutating func load(in directory: DirectoryAccess) throws(MailboxError) {
        guard let octets = try directory.contents(Self.path, maximum: 1 << 20) else {
            names = []
            return
        }
        var found: [String] = []
        for line in octets.split(separator: UInt8(ascii: "\n")) {
            let parts = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 1)
            guard parts.count == 2, let index = Int(parts[0]), (0..<KeywordSet.maximum).contains(index) else {
                continue
            }
            while found.count <= index { found.append("") }
            found[index] = String(parts[1])
        }
        names = found
    }

    /// The set of these names, as far as they are known. Case doesn't matter.
    func set(of wanted: [String]) -> KeywordSet { KeywordSet(wanted, among: names) }

    /// Whether one of these could be added.
    func isMissing(_ wanted: [String]) -> Bool { wanted.contains { index(of: $0) == nil && Self.isKeyword($0) } }

    private func index(of name: String) -> Int? {
        let wanted = name.lowercased()
        return names.firstIndex { $0.lowercased() == wanted }
    }

    /// Adds names that are not known yet, as long as there are letters for them.
    mutating func add(_ wanted: [String], in directory: DirectoryAccess) throws(MailboxError) {
        let before = names
        for name in wanted where index(of: name) == nil && Self.isKeyword(name) {
            if let gap = names.firstIndex(of: "") {
                names[gap] = name
            } else if names.count < KeywordSet.maximum {
                names.append(name)
            }
        }
        guard names != before else { return }
        let lines = names.enumerated().filter { !$0.element.isEmpty }.map { "\($0.offset) \($0.element)\n" }
        do throws(MailboxError) { try directory.replace(Self.path, with: Array(lines.joined().utf8)) } catch {
            names = before
            throw error
        }
    }

    private static func isKeyword(_ name: String) -> Bool {
        (1...128).contains(name.utf8.count) && name.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}
