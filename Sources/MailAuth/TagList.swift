import DNS
import Encodings
import MIME

/// What is wrong with a tag list.
package enum TagListError: Error, Sendable, Equatable {
    /// The same name twice: the whole list is invalid (RFC 6376 §3.2).
    case duplicateTag([UInt8])
    /// A part that is not `name=value`, or has octets that no value may have.
    case malformed
}

/// A list of `tag=value`, as DKIM and ARC write signatures and keys (RFC 6376 §3.2, with UTF-8 as RFC 8616 allows).
package struct TagList: Sendable, Equatable {
    package struct Tag: Sendable, Equatable {
        package let name: [UInt8]
        /// Without white space at its ends; folded as it was inside.
        package let value: [UInt8]
        /// Where everything between `=` and the next semicolon lies, in the octets that were read.
        package let extent: Range<Int>
    }

    /// In the order of the list.
    package let tags: [Tag]

    /// Reads a list; folding may be there or undone.
    package init(_ octets: [UInt8]) throws(TagListError) {
        var tags: [Tag] = []
        var names: Set<[UInt8]> = []
        var start = 0
        while start < octets.count {
            let end = octets[start...].firstIndex(of: UInt8(ascii: ";")) ?? octets.count
            let part = octets[start..<end]
            start = end + 1
            // A semicolon may end the list.
            if end == octets.count, !tags.isEmpty, part.allSatisfy(ASCII.isWhitespace) { break }
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { throw .malformed }
            let name = Array(ASCII.trim(part[..<equals]))
            let value = Array(ASCII.trim(part[(equals + 1)...]))
            guard Self.isName(name), value.allSatisfy(Self.isValueOctet) else { throw .malformed }
            guard names.insert(name).inserted else { throw .duplicateTag(name) }
            tags.append(Tag(name: name, value: value, extent: (equals + 1)..<end))
        }
        self.tags = tags
    }

    /// The tag of that name; names differ by case.
    package func tag(_ name: StaticString) -> Tag? {
        name.withUTF8Buffer { name in tags.first { $0.name.elementsEqual(name) } }
    }

    /// The value of the tag of that name.
    package subscript(_ name: StaticString) -> [UInt8]? { tag(name)?.value }

    private static func isName(_ name: [UInt8]) -> Bool {
        guard let first = name.first, ASCII.isLetter(first) else { return false }
        return name.allSatisfy { ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == UInt8(ascii: "_") }
    }

    private static func isValueOctet(_ octet: UInt8) -> Bool {
        ASCII.isWhitespace(octet) || (octet > 0x20 && octet != 0x7F)
    }

    /// The parts of a value between separators, each without white space around it.
    package static func split(_ value: [UInt8], at separator: UInt8) -> [[UInt8]] {
        value.split(separator: separator, omittingEmptySubsequences: false).map { Array(ASCII.trim($0)) }
    }

    /// The octets that a value means in base64, white space anywhere in it; nil where it's none.
    package static func base64(_ value: [UInt8]) -> [UInt8]? {
        Base64.decode(value.filter { !ASCII.isWhitespace($0) })
    }
}
