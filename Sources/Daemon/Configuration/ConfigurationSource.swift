/// The text of a TOML file, to find the line of a key: the TOML library tells lines for syntax errors only.
struct ConfigurationSource: Sendable {
    let file: String
    private var lines: [[String]: Int] = [:]

    init(file: String, text: String) {
        self.file = file
        var table: [String] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            var rest = line.utf8.drop { Self.isSpace($0) }
            let isTable = rest.first == UInt8(ascii: "[")
            while rest.first == UInt8(ascii: "[") { rest = rest.dropFirst() }
            guard let (path, next) = Self.dottedKey(rest) else { continue }
            if isTable, next == UInt8(ascii: "]") {
                table = path
                lines[table] = lines[table] ?? index + 1
            } else if !isTable, next == UInt8(ascii: "=") {
                let key = table + path
                lines[key] = lines[key] ?? index + 1
            }
        }
    }

    /// The line of a key, or of the nearest table around it.
    func line(of path: [String]) -> Int? {
        var path = path[...]
        while !path.isEmpty {
            if let line = lines[Array(path)] { return line }
            path = path.dropLast()
        }
        return nil
    }

    func error(_ path: [String], _ reason: String) -> ConfigurationError {
        ConfigurationError(file: file, line: line(of: path), key: path.joined(separator: "."), reason: reason)
    }

    /// A key as TOML writes it (bare, quoted, dotted), and the octet behind it.
    private static func dottedKey(_ text: Substring.UTF8View) -> (path: [String], next: UInt8?)? {
        var rest = text
        var path: [String] = []
        while true {
            rest = rest.drop { isSpace($0) }
            if let quote = rest.first, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
                rest = rest.dropFirst()
                guard let end = rest.firstIndex(of: quote) else { return nil }
                path.append(String(decoding: rest[..<end], as: UTF8.self))
                rest = rest[rest.index(after: end)...]
            } else {
                let bare = rest.prefix { isBare($0) }
                guard !bare.isEmpty else { return nil }
                path.append(String(decoding: bare, as: UTF8.self))
                rest = rest.dropFirst(bare.count)
            }
            rest = rest.drop { isSpace($0) }
            guard rest.first == UInt8(ascii: ".") else { return (path, rest.first) }
            rest = rest.dropFirst()
        }
    }

    private static func isSpace(_ octet: UInt8) -> Bool { octet == 0x20 || octet == 0x09 }

    private static func isBare(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            return true
        default: return false
        }
    }
}
