import MIME

/// Writes a signature's field, folded to lines of about 76 columns.
struct SignatureWriter {
    private var field: [UInt8]
    private var column: Int
    private var isFirst = true

    private static let width = 76
    private static let fold: [UInt8] = [ASCII.carriageReturn, ASCII.lineFeed, ASCII.tab]

    init(name: StaticString) {
        field = name.withUTF8Buffer { Array($0) } + [UInt8(ascii: ":")]
        column = field.count
    }

    mutating func add(_ name: StaticString, _ value: String) { add(name, Array(value.utf8)) }

    /// A tag whose value stays in one piece.
    mutating func add(_ name: StaticString, _ value: [UInt8]) {
        begin(name, firstLength: value.count + 1)
        append(value, breaking: false)
    }

    /// A tag with a list, folded between its items, and within them where that is said to be harmless.
    mutating func add(_ name: StaticString, _ items: [[UInt8]], separator: UInt8, breaking: Bool = false) {
        begin(name, firstLength: (items.first?.count ?? 0) + 1)
        for (index, item) in items.enumerated() {
            if index > 0 {
                field.append(separator)
                column += 1
                if column + item.count + 1 > Self.width { newLine() }
            }
            append(item, breaking: breaking)
        }
    }

    /// The field with an empty b=, for signing.
    func unsigned() -> [UInt8] {
        var copy = self
        copy.begin("b", firstLength: Self.width)
        return copy.field
    }

    /// The field with its signature, and CRLF at its end.
    func signed(_ signature: [UInt8]) -> [UInt8] {
        var copy = self
        copy.begin("b", firstLength: Self.width)
        copy.append(signature, breaking: true)
        return copy.field + [ASCII.carriageReturn, ASCII.lineFeed]
    }

    private mutating func begin(_ name: StaticString, firstLength: Int) {
        if !isFirst {
            field.append(UInt8(ascii: ";"))
            column += 1
        }
        if !isFirst, column + name.utf8CodeUnitCount + firstLength + 2 > Self.width {
            newLine()
        } else {
            field.append(ASCII.space)
            column += 1
        }
        isFirst = false
        field += name.withUTF8Buffer { Array($0) } + [UInt8(ascii: "=")]
        column += name.utf8CodeUnitCount + 1
    }

    private mutating func newLine() {
        field += Self.fold
        column = 8
    }

    private mutating func append(_ octets: [UInt8], breaking: Bool) {
        for octet in octets {
            if breaking, column >= Self.width { newLine() }
            field.append(octet)
            column += 1
        }
    }
}
