import IMAP
import MIME

/// What SORT and THREAD compare of a message's header (RFC 5256 §2 and §3).
enum HeaderValues {
    /// Of a key no more is kept: what is alike that far is in the order of the messages. Octets.
    static let maximumKey = 512

    static func subject(_ header: HeaderBlock) -> BaseSubject {
        let decoded = header.first("subject").map { EncodedWords.decode($0) } ?? []
        return BaseSubject(folded: TextMatcher.foldField(decoded))
    }

    /// Seconds since 1970; nil where the Date field doesn't say it.
    static func sent(_ header: HeaderBlock) -> Int? {
        header.first("date").flatMap { DateTime(field: $0)?.secondsSince1970 }
    }

    /// The mailbox of the first address, as ENVELOPE has it; for a group, its name.
    static func mailbox(_ header: HeaderBlock, _ name: StaticString) -> [UInt8] {
        let address = header.first(name).flatMap { AddressListParser.parse($0, maximum: 1).first }
        return TextMatcher.fold(Array((address?.mailbox ?? []).prefix(maximumKey)))
    }

    /// What people see of the first address (RFC 5957 §3): its name, or the address.
    static func display(_ header: HeaderBlock, _ name: StaticString) -> [UInt8] {
        guard let address = header.first(name).flatMap({ AddressListParser.parse($0, maximum: 1).first }) else {
            return []
        }
        let shown: [UInt8]
        if let name = address.name, !name.isEmpty {
            shown = Array(EncodedWords.decode(name))
        } else if let host = address.host, !host.isEmpty {
            shown = (address.mailbox ?? []) + [UInt8(ascii: "@")] + host
        } else {
            shown = address.mailbox ?? []
        }
        return TextMatcher.foldField(Array(shown.prefix(maximumKey)))
    }

    /// The identifiers of the messages that this one answers, the nearest last: References, or the first of In-Reply-To.
    static func ancestors(_ header: HeaderBlock) -> [[UInt8]] {
        let references = header.first("references").map { MessageIdentifiers.list($0) } ?? []
        if !references.isEmpty { return references }
        return header.first("in-reply-to").map { MessageIdentifiers.list($0, maximum: 1) } ?? []
    }

    static func identifier(_ header: HeaderBlock) -> [UInt8]? {
        header.first("message-id").flatMap { MessageIdentifiers.list($0, maximum: 1).first }
    }
}
