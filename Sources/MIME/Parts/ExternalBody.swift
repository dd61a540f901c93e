/// Content that lies elsewhere (message/external-body, RFC 2046 §5.2.3, RFC 2017). It's told, never fetched.
package struct ExternalBody: Sendable, Equatable {
    /// Such as `ftp`, `mail-server` or `url`, in lower case.
    package let accessType: String
    /// All other parameters as text, in the order they came; names in lower case.
    package let parameters: [(name: String, value: String)]
    /// What the content will be, from the header that the body holds.
    package let content: ContentFields

    /// nil for other types, and without an access type.
    ///
    /// - Parameter body: its start, with the header of the content.
    package init?(_ content: ContentFields, body: [UInt8]) {
        guard Self.isExternal(content), let access = content.type["access-type"], !access.isEmpty else { return nil }
        accessType = String(decoding: access.map(ASCII.lower), as: UTF8.self)
        parameters = content.type.parameters.compactMap { parameter in
            let bare = parameter.name.last == UInt8(ascii: "*") ? parameter.name.dropLast() : parameter.name[...]
            if ASCII.equal(bare, "access-type") { return nil }
            let value =
                bare.count < parameter.name.count
                ? ExtendedParameter(parameter.value).text : EncodedWords.text(parameter.value)
            return (String(decoding: bare.map(ASCII.lower), as: UTF8.self), value)
        }
        self.content = ContentFields(HeaderBlock(Array(body.prefix(Self.limit))), isInDigest: false)
    }

    package static func isExternal(_ content: ContentFields) -> Bool {
        ASCII.equal(content.type.value, "message/external-body")
    }

    /// Octets of the body that are looked at.
    package static let limit = 16 * 1024

    /// A parameter's value by its name in lower case.
    package subscript(_ name: String) -> String? { parameters.first { $0.name == name }?.value }

    /// The place as a URL where one is told (RFC 2017), without white space.
    package var url: String? { self["url"].map { $0.filter { !$0.isWhitespace } } }

    package static func == (one: ExternalBody, other: ExternalBody) -> Bool {
        one.accessType == other.accessType && one.content == other.content
            && one.parameters.elementsEqual(other.parameters) { $0 == $1 }
    }
}
