import MIME

/// What a host found out about a message (RFC 8601 §2.2), as an Authentication-Results field says it.
package struct AuthenticationResults: Sendable, Equatable {
    /// A property of the message that a result is about, such as `smtp.mailfrom=a@example.net`.
    package struct Property: Sendable, Equatable {
        /// `smtp`, `header`, `body`, `policy`, or another.
        package var type: [UInt8]
        package var name: [UInt8]
        package var value: [UInt8]

        package init(_ type: String, _ name: String, _ value: [UInt8]) {
            self.type = Array(type.utf8)
            self.name = Array(name.utf8)
            self.value = value
        }
    }

    /// What one method says.
    package struct Entry: Sendable, Equatable {
        package var method: [UInt8]
        /// 1 unless it's said.
        package var version = 1
        package var result: [UInt8]
        package var reason: [UInt8]?
        /// Comments beside the result.
        package var comment: [UInt8]?
        package var properties: [Property] = []

        package init(
            method: String,
            result: String,
            reason: [UInt8]? = nil,
            comment: [UInt8]? = nil,
            properties: [Property] = []
        ) {
            self.method = Array(method.utf8)
            self.result = Array(result.utf8)
            self.reason = reason
            self.comment = comment
            self.properties = properties
        }
    }

    /// Why a field can't be read.
    package enum ParseError: Error, Sendable, Equatable { case malformed }

    /// The name of the host or organisation that says it.
    package var authservID: [UInt8]
    /// nil where it isn't said, which is 1.
    package var version: Int?
    /// Empty for `none`.
    package var entries: [Entry]

    package init(authservID: [UInt8], entries: [Entry]) {
        self.authservID = authservID
        self.entries = entries
    }

    /// Reads a field's value, folded or not. Values that should be quoted and aren't are taken as they are.
    package init(field value: ArraySlice<UInt8>) throws(ParseError) {
        var lexer = ResultsLexer(value)
        guard let authservID = lexer.value() else { throw .malformed }
        self.authservID = authservID
        if !lexer.isAtEnd(), !lexer.isNext(UInt8(ascii: ";")) {
            guard let number = lexer.keyword().flatMap({ ASCII.number($0) }) else { throw .malformed }
            version = number
        }
        entries = []
        while !lexer.isAtEnd() {
            guard lexer.take(UInt8(ascii: ";")) else { throw .malformed }
            if lexer.isAtEnd() { break }
            _ = lexer.takeComments()
            if let entry = try Self.entry(&lexer) { entries.append(entry) }
        }
    }

    /// One result; nil for `none`.
    private static func entry(_ lexer: inout ResultsLexer) throws(ParseError) -> Entry? {
        guard let method = lexer.keyword() else { throw .malformed }
        if ASCII.equal(method, "none"), lexer.isAtEnd() || lexer.isNext(UInt8(ascii: ";")) { return nil }
        var version = 1
        if lexer.take(UInt8(ascii: "/")) {
            guard let number = lexer.keyword().flatMap({ ASCII.number($0) }) else { throw .malformed }
            version = number
        }
        guard lexer.take(UInt8(ascii: "=")), let result = lexer.keyword() else { throw .malformed }
        var entry = Entry(method: "", result: "")
        entry.method = method.map(ASCII.lower)
        entry.version = version
        entry.result = result.map(ASCII.lower)
        while !lexer.isAtEnd(), !lexer.isNext(UInt8(ascii: ";")) {
            guard let word = lexer.keyword() else { throw .malformed }
            if lexer.take(UInt8(ascii: "=")) {
                guard ASCII.equal(word, "reason"), entry.reason == nil, let reason = lexer.value() else {
                    throw .malformed
                }
                entry.reason = reason
                continue
            }
            guard lexer.take(UInt8(ascii: ".")), let name = lexer.keyword(), lexer.take(UInt8(ascii: "=")) else {
                throw .malformed
            }
            var property = Property("", "", lexer.value() ?? [])
            property.type = word.map(ASCII.lower)
            property.name = name.map(ASCII.lower)
            // A local part in quotes, before its domain.
            if lexer.isNext(UInt8(ascii: "@")), let rest = lexer.value() { property.value += rest }
            entry.properties.append(property)
        }
        let comments = lexer.takeComments()
        if !comments.isEmpty { entry.comment = Array(comments.joined(separator: [ASCII.space])) }
        return entry
    }

    /// What a host itself found out about a message: its field above the trace field of the hop that it took the message from
    /// (RFC 8601 §4.1). What stands further down anybody may have written.
    package static func own(in header: HeaderBlock, authservID: [UInt8]) -> AuthenticationResults? {
        for field in header.fields {
            let name = header.octets[field.name]
            if ASCII.equal(name, "received") { return nil }
            guard ASCII.equal(name, "authentication-results"),
                let results = try? AuthenticationResults(field: header.octets[field.value]),
                ASCII.equal(results.authservID, authservID)
            else { continue }
            return results
        }
        return nil
    }
}
