/// Why a line of a table can't be understood.
package struct TableFault: Error, Equatable {
    package let reason: String

    init(_ reason: String) { self.reason = reason }
}

/// A table that can't be used, and what is wrong with it.
package struct TableError: Error, Equatable, CustomStringConvertible {
    /// A line that can't be understood.
    package struct Line: Equatable, Sendable {
        /// Counted from 1.
        package let number: Int
        package let reason: String
    }

    package let file: String
    /// The first hundred faulty lines, in order; never empty.
    package private(set) var lines: [Line]
    /// Faulty lines in all.
    package private(set) var count = 1

    private static let maximumLines = 100
    /// How many `description` names; log lines are short.
    private static let maximumNamed = 10

    init(file: String, line: Int, reason: String) {
        self.file = file
        lines = [Line(number: line, reason: reason)]
    }

    mutating func add(line: Int, reason: String) {
        count += 1
        if lines.count < Self.maximumLines { lines.append(Line(number: line, reason: reason)) }
    }

    package var description: String {
        let named = lines.prefix(Self.maximumNamed).map { "\(file):\($0.number): \($0.reason)" }
        let rest = count - named.count
        return named.joined(separator: "; ") + (rest > 0 ? "; and \(rest) more lines" : "")
    }
}

/// Collects what is wrong with a table while it's read.
struct TableFaults {
    private let file: String
    private var error: TableError?

    init(file: String) { self.file = file }

    mutating func add(line: Int, reason: String) {
        if error == nil {
            error = TableError(file: file, line: line, reason: reason)
        } else {
            error?.add(line: line, reason: reason)
        }
    }

    func check() throws(TableError) {
        if let error { throw error }
    }
}

/// The lines of a table that say something, with their numbers, counted from 1. They end in LF or CRLF.
struct TableLines: Sequence, IteratorProtocol {
    private var rest: Substring.UTF8View
    private var number = 0

    init(_ text: String) { rest = text[...].utf8 }

    /// The next line that is neither empty nor a comment.
    mutating func next() -> (number: Int, text: Substring)? {
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex
            var line = rest[..<end]
            rest = end == rest.endIndex ? rest[end...] : rest[rest.index(after: end)...]
            number += 1
            if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
            let isBlank = line.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
            if isBlank || line.first == UInt8(ascii: "#") { continue }
            return (number, Substring(line))
        }
        return nil
    }

    /// Without blanks at its ends.
    static func trimmed(_ text: Substring) -> Substring {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        var text = text.drop(while: isBlank)
        while let last = text.last, isBlank(last) { text.removeLast() }
        return text
    }

    /// Why the line is not text that people can have meant; nil where nothing is wrong.
    static func fault(of line: Substring) -> String? {
        for scalar in line.unicodeScalars {
            switch scalar.value {
            case 0xfffd: return "the line is not UTF-8"
            case 0xfeff: return "the line has a byte order mark"
            case 0x00..<0x09, 0x0a..<0x20, 0x7f..<0xa0: return "the line has a control character"
            default: continue
            }
        }
        return nil
    }
}
