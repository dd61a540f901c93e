/// What is wrong with the fields of a header beyond its structure.
extension Defects {
    private static let dates: [StaticString] = ["date", "resent-date"]
    private static let addresses: [StaticString] = [
        "from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-to", "resent-cc",
        "resent-bcc",
    ]
    private static let identifiers: [StaticString] = ["message-id", "content-id", "resent-message-id"]

    /// - Parameter isRoot: whether the message is the outermost, which has to have all that a message needs.
    init(checking header: HeaderBlock, isMessage: Bool, isRoot: Bool) {
        self = []
        var authors = 0
        var hasSender = false
        for field in header.fields {
            let name = header.name(of: field)
            let value = header.value(of: field)
            if value.contains(UInt8(ascii: "?")) { formUnion(EncodedWords.defects(of: value)) }
            if Self.dates.contains(where: { ASCII.equal(name, $0) }), DateTime(field: value) == nil {
                insert(.invalidDate)
            }
            if Self.identifiers.contains(where: { ASCII.equal(name, $0) }), !MessageIdentifiers.isOne(value) {
                insert(.invalidIdentifier)
            }
            guard isMessage, Self.addresses.contains(where: { ASCII.equal(name, $0) }) else { continue }
            let count = addressCount(value)
            if ASCII.equal(name, "from") { authors += count }
            if ASCII.equal(name, "sender") {
                hasSender = true
                if count != 1 { insert(.invalidAddress) }
            } else if count == 0, !(value.isEmpty && ASCII.equal(name.suffix(3), "bcc")), !AddressSyntax.isList(value) {
                insert(.invalidAddress)
            }
        }
        guard isRoot else { return }
        if header.first("from") == nil { insert(.noFrom) } else if authors > 1, !hasSender { insert(.noSender) }
        if header.first("date") == nil { insert(.noDate) }
        let hasContent = header.fields.contains { ASCII.equal(header.name(of: $0).prefix(8), "content-") }
        if hasContent, header.first("mime-version") == nil { insert(.noVersion) }
    }

    /// How many mailboxes there are, groups aside.
    private mutating func addressCount(_ value: [UInt8]) -> Int {
        let (list, hasMore) = AddressListParser.read(value)
        if hasMore { insert(.tooManyAddresses) }
        let mailboxes = list.filter { $0.host != nil }
        if !mailboxes.isEmpty, !AddressSyntax.isList(value) { insert(.invalidAddress) }
        return mailboxes.count
    }
}
