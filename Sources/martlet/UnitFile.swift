import Daemon
import Files

#if canImport(Glibc)
import Glibc
#endif

/// The settings of a systemd service: the unit's file, and what `systemctl edit` put beside it (systemd.unit(5)).
struct UnitFile {
    /// Values of `[Service]` by their key, in order; an empty value takes those before it back.
    private var values: [Substring: [String]] = [:]

    private static let maximumOctets = 1 << 20

    /// Reads the files in their order.
    ///
    /// - Returns: nil where one can't be read; `errno` says why.
    init?(_ paths: [String]) {
        for path in paths {
            guard let text = WholeFile.read(path, maximum: Self.maximumOctets) else { return nil }
            add(text)
        }
    }

    init(text: String) {
        add(text)
    }

    private mutating func add(_ text: String) {
        var isService = false
        var joined = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasSuffix("\\") {
                joined += line.dropLast() + " "
                continue
            }
            let whole = joined + line
            joined = ""
            let trimmed = whole.drop { $0 == " " || $0 == "\t" }
            guard let first = trimmed.first, first != "#", first != ";" else { continue }
            if first == "[" {
                isService = trimmed.hasPrefix("[Service]")
            } else if isService, let sign = trimmed.firstIndex(of: "=") {
                let key = trimmed[..<sign].split(separator: " ").first ?? ""
                let value = trimmed[trimmed.index(after: sign)...].drop { $0 == " " }
                if value.isEmpty { values[key] = [] } else { values[key, default: []].append(String(value)) }
            }
        }
    }

    /// The value that counts where a key has one.
    func last(_ key: Substring) -> String? { values[key]?.last }

    /// All words of a key's values, without quotes, and without the signs in front of paths (systemd.exec(5)).
    func words(_ key: Substring) -> [String] {
        (values[key] ?? []).flatMap(Self.words)
    }

    /// The program of `ExecStart`.
    var program: String? {
        last("ExecStart").flatMap { Self.words($0).first }.map { String($0.drop { "@-:+!".contains($0) }) }
    }

    static func words(_ text: String) -> [String] {
        var words: [String] = []
        var word = ""
        var quote: Character?
        for character in text {
            if character == quote {
                quote = nil
            } else if quote == nil, character == "\"" || character == "'" {
                quote = character
            } else if quote == nil, character == " " || character == "\t" {
                if !word.isEmpty { words.append(word) }
                word = ""
            } else {
                word.append(character)
            }
        }
        if !word.isEmpty { words.append(word) }
        return words
    }
}
