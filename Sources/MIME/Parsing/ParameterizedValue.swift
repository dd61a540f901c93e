/// A parameter of a Content-Type or Content-Disposition field.
package struct MIMEParameter: Sendable, Equatable {
    /// As it is written; with a `*` at its end where the value is encoded by RFC 2231.
    package var name: [UInt8]
    package var value: [UInt8]

    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

/// A structured field: a value, then parameters (RFC 2045 §5.1, RFC 2183 §2); continuations are joined (RFC 2231 §3).
package struct ParameterizedValue: Sendable, Equatable {
    /// Such as `text/plain` or `attachment`, as it is written.
    package var value: [UInt8]
    package var parameters: [MIMEParameter]
    /// Whether there are more parameters than are kept.
    package var hasMoreParameters = false

    /// Whether it was read although its grammar doesn't allow what stands there: a parameter without a semicolon before
    /// it, a value in quotes, or none.
    package var isMalformed = false

    /// The most parameters that are kept.
    private static let maximumParameters = 200

    package init(value: [UInt8], parameters: [MIMEParameter] = []) {
        self.value = value
        self.parameters = parameters
    }

    /// Reads an unfolded field value. Never fails: what makes no sense is left out. Without a value before the parameters,
    /// `value` is empty.
    package init(field: [UInt8]) {
        var scanner = FieldScanner(field)
        value = []
        parameters = []
        readValue(&scanner)
        var pieces: [MIMEParameter] = []
        while pieces.count < Self.maximumParameters {
            let isSeparated = scanner.skipSeparators()
            // A parameter may begin where the semicolon before it is missing.
            let before = scanner
            if let piece = scanner.parameter() {
                if !isSeparated { isMalformed = true }
                pieces.append(piece)
            } else {
                scanner = before
                if !scanner.isAtEnd { isMalformed = true }
                guard scanner.skipTo(UInt8(ascii: ";")) else { break }
            }
        }
        if scanner.hasWrongQuotes { isMalformed = true }
        parameters = Self.join(pieces)
        hasMoreParameters = pieces.count == Self.maximumParameters
    }

    /// What stands before the parameters.
    private mutating func readValue(_ scanner: inout FieldScanner) {
        let start = scanner
        if let quoted = scanner.quoted() {
            value = Array(ASCII.trim(quoted[...]))
            isMalformed = true
            return
        }
        value = scanner.token()
        scanner.skipBlanks()
        if scanner.take(UInt8(ascii: "/")) {
            value += [UInt8(ascii: "/")] + scanner.token()
        } else if scanner.isNext(UInt8(ascii: "=")) {
            value = []
            isMalformed = true
            scanner = start
        }
    }

    /// The value of a parameter, by its name in any case.
    package subscript(_ name: StaticString) -> [UInt8]? {
        parameters.first { ASCII.equal($0.name, name) }?.value
    }

    private static func join(_ pieces: [MIMEParameter]) -> [MIMEParameter] {
        var parameters: [MIMEParameter] = []
        var continued: [(name: [UInt8], pieces: [(number: Int, isEncoded: Bool, value: [UInt8])])] = []
        for piece in pieces {
            guard let (name, number, isEncoded) = continuation(piece.name) else {
                parameters.append(piece)
                continue
            }
            let section = (number, isEncoded, piece.value)
            if let index = continued.firstIndex(where: { ASCII.equal($0.name, name) }) {
                continued[index].pieces.append(section)
            } else {
                continued.append((name, [section]))
            }
        }
        for parameter in continued {
            let sorted = parameter.pieces.sorted { $0.number < $1.number }
            let isEncoded = sorted.contains { $0.isEncoded }
            var value: [UInt8] = []
            for (number, piece) in sorted.enumerated() {
                guard piece.number == number else { break }
                value += isEncoded && !piece.isEncoded ? percentEncoded(piece.value) : piece.value
            }
            let name = isEncoded ? parameter.name + [UInt8(ascii: "*")] : parameter.name
            parameters.append(MIMEParameter(name: name, value: value))
        }
        return parameters
    }

    /// `name*2` or `name*2*`; nil for any other name.
    private static func continuation(_ name: [UInt8]) -> (name: [UInt8], number: Int, isEncoded: Bool)? {
        let parts = name.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false)
        guard parts.count == 2 || (parts.count == 3 && parts[2].isEmpty), parts[1].count <= 4,
            let number = ASCII.number(parts[1])
        else { return nil }
        return (Array(parts[0]), number, parts.count == 3)
    }

    private static func percentEncoded(_ text: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return text.flatMap { octet -> [UInt8] in
            ASCII.isLetter(octet) || ASCII.isDigit(octet)
                ? [octet] : [UInt8(ascii: "%"), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
    }
}
