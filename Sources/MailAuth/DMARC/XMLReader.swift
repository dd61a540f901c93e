import MIME

/// Why a document could not be read.
package enum XMLError: Error, Sendable, Equatable {
    /// Not well-formed.
    case malformed
    /// A document type, whose entities could grow without end, or another feature that reports don't use.
    case unsupported
    /// Deeper, or longer names or texts, or more elements than a report has.
    case tooLarge
}

/// One element with its text and children; attributes and prefixes of namespaces are left out.
package struct XMLElement: Sendable {
    package var name: [UInt8]
    /// All text directly within it, without white space at both ends.
    package var text: [UInt8] = []
    package var children: [XMLElement] = []

    /// The first child of that name.
    package func child(_ name: StaticString) -> XMLElement? { children.first { ASCII.equal($0.name, name) } }

    /// The text of the first child of that name.
    package func text(_ name: StaticString) -> String? {
        child(name).map { String(decoding: $0.text, as: UTF8.self) }
    }
}

/// Reads the XML that reports are made of, an element at a time, in memory that depends on one element only.
///
/// Comments and processing instructions are skipped. A document type is refused: with it come entities that expand
/// without end.
struct XMLReader {
    static let maximumDepth = 12
    static let maximumName = 128
    static let maximumText = 16_384
    /// The most elements within the one that is read.
    static let maximumElements = 4096

    private let octets: [UInt8]
    private var position: Int

    init(_ octets: [UInt8]) {
        self.octets = octets
        position = octets.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    }

    /// Enters the root element and gives its name.
    mutating func enterRoot() throws(XMLError) -> [UInt8] {
        try skipMisc()
        guard case .start(let name, let isEmpty) = try tag(), !isEmpty else { throw .malformed }
        return name
    }

    /// The next child of the element that was entered; nil at its end.
    mutating func nextChild(of parent: [UInt8]) throws(XMLError) -> XMLElement? {
        try skipMisc()
        switch try tag() {
        case .end(let name):
            guard name == parent else { throw .malformed }
            return nil
        case .start(let name, let isEmpty):
            var budget = Self.maximumElements
            return isEmpty ? XMLElement(name: name) : try element(name, depth: 1, budget: &budget)
        }
    }

    private enum Tag {
        case start([UInt8], isEmpty: Bool)
        case end([UInt8])
    }

    private mutating func element(_ name: [UInt8], depth: Int, budget: inout Int) throws(XMLError) -> XMLElement {
        guard depth < Self.maximumDepth, budget > 0 else { throw .tooLarge }
        budget -= 1
        var element = XMLElement(name: name)
        var text: [UInt8] = []
        while true {
            try appendText(to: &text)
            guard position < octets.count else { throw .malformed }
            if try appendSection(to: &text) { continue }
            switch try tag() {
            case .end(let ended):
                guard ended == name else { throw .malformed }
                element.text = Array(ASCII.trim(text[...]))
                return element
            case .start(let child, let isEmpty):
                budget -= isEmpty ? 1 : 0
                element.children.append(
                    isEmpty ? XMLElement(name: child) : try self.element(child, depth: depth + 1, budget: &budget)
                )
            }
        }
    }

    // MARK: Between tags

    private func starts(_ text: StaticString) -> Bool {
        guard octets.count - position >= text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { text in
            for index in text.indices where octets[position + index] != text[index] { return false }
            return true
        }
    }

    private mutating func skip(past end: StaticString) throws(XMLError) {
        let end = end.withUTF8Buffer { Array($0) }
        while position <= octets.count - end.count {
            if octets[position] == end[0], octets[position..<(position + end.count)].elementsEqual(end) {
                position += end.count
                return
            }
            position += 1
        }
        throw .malformed
    }

    /// White space, comments, instructions; a stray text between elements is none of theirs.
    private mutating func skipMisc() throws(XMLError) {
        while position < octets.count {
            if octets[position] != UInt8(ascii: "<") {
                position += 1
            } else if starts("<?") {
                try skip(past: "?>")
            } else if starts("<!--") {
                try skip(past: "-->")
            } else if starts("<!") {
                throw .unsupported
            } else {
                return
            }
        }
    }

    private mutating func appendText(to text: inout [UInt8]) throws(XMLError) {
        while position < octets.count, octets[position] != UInt8(ascii: "<") {
            guard text.count < Self.maximumText else { throw .tooLarge }
            if octets[position] == UInt8(ascii: "&") {
                text += try reference()
            } else {
                text.append(octets[position])
                position += 1
            }
        }
    }

    /// A comment, an instruction or a CDATA section; false for a tag.
    private mutating func appendSection(to text: inout [UInt8]) throws(XMLError) -> Bool {
        if starts("<![CDATA[") {
            let start = position + 9
            try skip(past: "]]>")
            guard text.count + position - start <= Self.maximumText else { throw .tooLarge }
            text += octets[start..<(position - 3)]
            return true
        }
        guard starts("<!") || starts("<?") else { return false }
        try skipMisc()
        return true
    }

    /// `&lt;` and its like, and numbers of characters.
    private mutating func reference() throws(XMLError) -> [UInt8] {
        let name = octets[(position + 1)...].prefix(12).prefix { $0 != UInt8(ascii: ";") }
        let end = position + 1 + name.count
        guard end < octets.count, octets[end] == UInt8(ascii: ";") else { throw .malformed }
        position = end + 1
        switch String(decoding: name, as: UTF8.self) {
        case "lt": return [UInt8(ascii: "<")]
        case "gt": return [UInt8(ascii: ">")]
        case "amp": return [UInt8(ascii: "&")]
        case "quot": return [UInt8(ascii: "\"")]
        case "apos": return [UInt8(ascii: "'")]
        default:
            guard name.first == UInt8(ascii: "#") else { throw .unsupported }
            let isHexadecimal = name.dropFirst().first == UInt8(ascii: "x")
            let digits = String(decoding: name.dropFirst(isHexadecimal ? 2 : 1), as: UTF8.self)
            guard digits.utf8.first != UInt8(ascii: "+"),
                let scalar = UInt32(digits, radix: isHexadecimal ? 16 : 10).flatMap(Unicode.Scalar.init)
            else { throw .malformed }
            return Array(String(Character(scalar)).utf8)
        }
    }

    // MARK: Tags

    private mutating func tag() throws(XMLError) -> Tag {
        guard position < octets.count, octets[position] == UInt8(ascii: "<") else { throw .malformed }
        position += 1
        let isEnd = position < octets.count && octets[position] == UInt8(ascii: "/")
        if isEnd { position += 1 }
        let name = try tagName()
        let isEmpty = try skipAttributes()
        guard !(isEnd && isEmpty) else { throw .malformed }
        return isEnd ? .end(name) : .start(name, isEmpty: isEmpty)
    }

    /// The name without the prefix of its namespace.
    private mutating func tagName() throws(XMLError) -> [UInt8] {
        let start = position
        while position < octets.count, Self.isName(octets[position]) { position += 1 }
        guard position - start <= Self.maximumName else { throw .tooLarge }
        let name = octets[start..<position]
        let local = name.lastIndex(of: UInt8(ascii: ":")).map { name[($0 + 1)...] } ?? name
        guard !local.isEmpty else { throw .malformed }
        return Array(local)
    }

    private static func isName(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: ":"): true
        default: ASCII.isDigit(octet) || ASCII.isLetter(octet) || octet >= 0x80
        }
    }

    /// To behind the tag's end; true for an element without content.
    private mutating func skipAttributes() throws(XMLError) -> Bool {
        var quote: UInt8?
        var last: UInt8 = 0
        while position < octets.count {
            let octet = octets[position]
            position += 1
            if let open = quote {
                if octet == open { quote = nil }
            } else if octet == UInt8(ascii: ">") {
                return last == UInt8(ascii: "/")
            } else if octet == UInt8(ascii: "<") {
                throw .malformed
            } else if octet == UInt8(ascii: "\"") || octet == UInt8(ascii: "'") {
                quote = octet
            }
            last = octet
        }
        throw .malformed
    }
}
