import Daemon

/// Edits `domains` in `etc/martlet.toml`. All else in the file stays as it is, comments in the list among it.
package struct DomainListEditor {
    private let file: TableFile

    package init(file: String) { self.file = TableFile(file) }

    /// Why an edit was not made.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        case exists(String)
        case missing(String)
        case configuration(ConfigurationError)
        /// The list is written in a way that isn't understood here.
        case unknownForm
        case system(String)

        package var description: String {
            switch self {
            case .exists(let domain): "\(domain) is there already"
            case .missing(let domain): "there is no domain \(domain)"
            case .configuration(let error): error.description
            case .unknownForm: "the list of domains is written in a way that this command can't edit; edit it by hand"
            case .system(let reason): reason
            }
        }
    }

    package func add(_ domain: String) throws(Fault) {
        let domain = domain.lowercased()
        try edit { text, domains throws(Fault) in
            guard !domains.contains(domain) else { throw .exists(domain) }
            guard let list = try TOMLStringList(of: "domains", in: text) else {
                text = Array("domains = [\"\(domain)\"]\n".utf8) + text
                return [domain]
            }
            text = list.adding(domain, to: text)
            return domains + [domain]
        }
    }

    package func remove(_ domain: String) throws(Fault) {
        let domain = domain.lowercased()
        try edit { text, domains throws(Fault) in
            guard domains.contains(domain) else { throw .missing(domain) }
            guard let list = try TOMLStringList(of: "domains", in: text),
                let element = list.elements.first(where: { $0.text.lowercased() == domain })
            else { throw .unknownForm }
            text = list.removing(element, from: text)
            return domains.filter { $0 != domain }
        }
    }

    private func edit(_ change: (inout [UInt8], [String]) throws(Fault) -> [String]) throws(Fault) {
        try file.edit(failing: { Fault.system($0.description) }) { (lines, octets) throws(Fault) in
            var text = octets
            let wanted = try change(&text, try configuration(octets).domains)
            // What looks like the list may be something else: in a string of many lines, say.
            guard try configuration(text).domains == wanted else { throw .unknownForm }
            lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Array.init)
            if lines.last?.isEmpty == true { lines.removeLast() }
        }
    }

    private func configuration(_ octets: [UInt8]) throws(Fault) -> Configuration {
        do {
            return try Configuration(text: String(decoding: octets, as: UTF8.self), file: file.path)
        } catch {
            throw .configuration(error)
        }
    }
}

/// Where a list of strings stands in a TOML document, and where its elements do.
private struct TOMLStringList {
    struct Element {
        let text: String
        /// With its quotes.
        let range: Range<Int>
    }

    /// Behind the opening bracket.
    private let start: Int
    private(set) var elements: [Element] = []
    /// Where a comma stands behind the last element.
    private var lastComma: Int?

    /// - Returns: nil where there is no such key in front of the first table.
    /// - Throws: `unknownForm`.
    init?(of key: String, in text: [UInt8]) throws(DomainListEditor.Fault) {
        guard var position = Self.value(of: key, in: text) else { return nil }
        guard text[position] == UInt8(ascii: "[") else { throw .unknownForm }
        position += 1
        start = position
        while position < text.count {
            switch text[position] {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            case UInt8(ascii: "#"): position = text[position...].firstIndex(of: 0x0a) ?? text.count
            case UInt8(ascii: ","):
                lastComma = position
                position += 1
            case UInt8(ascii: "]"): return
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                let rest = text[(position + 1)...]
                guard let end = rest.firstIndex(of: text[position]), !rest[..<end].contains(0x0a),
                    !rest[..<end].contains(UInt8(ascii: "\\")), end > position + 1
                else { throw .unknownForm }
                elements.append(
                    Element(text: String(decoding: rest[..<end], as: UTF8.self), range: position..<end + 1)
                )
                lastComma = nil
                position = end + 1
            default: throw .unknownForm
            }
        }
        throw .unknownForm
    }

    private static func value(of key: String, in text: [UInt8]) -> Int? {
        var line = 0
        while line < text.count {
            let end = text[line...].firstIndex(of: 0x0a) ?? text.count
            let rest = text[line..<end].drop { $0 == 0x20 || $0 == 0x09 }
            if rest.first == UInt8(ascii: "[") { return nil }
            if rest.starts(with: key.utf8) {
                let behind = rest.dropFirst(key.utf8.count).drop { $0 == 0x20 || $0 == 0x09 }
                if behind.first == UInt8(ascii: "=") {
                    return text[(behind.startIndex + 1)...].firstIndex { $0 != 0x20 && $0 != 0x09 }
                }
            }
            line = end + 1
        }
        return nil
    }

    /// The document with one more element, on a line of its own where the last one has one.
    func adding(_ element: String, to text: [UInt8]) -> [UInt8] {
        let quoted = Array("\"\(element)\"".utf8)
        guard let last = elements.last else { return text[..<start] + quoted + text[start...] }
        let line = (text[..<last.range.lowerBound].lastIndex(of: 0x0a) ?? -1) + 1
        let indent = text[line..<last.range.lowerBound]
        let isOwnLine = line > start && indent.allSatisfy { $0 == 0x20 || $0 == 0x09 }
        let gap = isOwnLine ? [0x0a] + indent : [0x20]
        let comma = [UInt8(ascii: ",")]
        guard let lastComma else {
            return text[..<last.range.upperBound] + comma + gap + quoted + text[last.range.upperBound...]
        }
        return text[...lastComma] + gap + quoted + comma + text[(lastComma + 1)...]
    }

    /// The document without an element, and without its line where that is empty then.
    func removing(_ element: Element, from text: [UInt8]) -> [UInt8] {
        var (low, high) = (element.range.lowerBound, element.range.upperBound)
        let blank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
        let behind = text[high...].drop(while: blank)
        if behind.first == UInt8(ascii: ",") {
            high = behind.startIndex + 1
        } else if let before = text[start..<low].lastIndex(where: { !blank($0) && $0 != 0x0a && $0 != 0x0d }),
            text[before] == UInt8(ascii: ",")
        {
            // The last of several: the comma before it goes.
            low = before
        }
        let lineStart = (text[..<low].lastIndex(of: 0x0a) ?? -1) + 1
        let rest = text[high...].drop(while: blank)
        if text[lineStart..<low].allSatisfy(blank), rest.first == 0x0a, lineStart > start {
            return Array(text[..<lineStart] + text[(rest.startIndex + 1)...])
        }
        // `["a", "b"]` becomes `["b"]`, not `[ "b"]`.
        let end = rest.isEmpty || rest.first == 0x0a ? high : rest.startIndex
        return Array(text[..<low] + text[end...])
    }
}
