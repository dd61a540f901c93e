import MIME

/// The domain that a message says it is from: there has to be exactly one (RFC 7489 §6.6.1).
package enum DMARCAuthor: Sendable, Hashable, CustomStringConvertible {
    case domain([UInt8])
    case noField
    case severalFields
    case noAddress
    /// What stands behind the @ of its addresses is no domain.
    case noDomain
    case severalDomains
    /// What is beyond a limit isn't looked at, and could name another author.
    case tooLong

    /// The most addresses of the From field.
    private static let maximumAddresses = 1000

    /// The author of a message; there's none to be told where its header is longer than the limit.
    package init(_ message: HashedMessage) {
        self = message.isHeaderCut ? .tooLong : DMARCAuthor(message.header)
    }

    /// The author of a message with that header.
    package init(_ header: HeaderBlock) { self.init(fields: header.all("from")) }

    /// - Parameter fields: the unfolded values of all From fields.
    package init(fields: [[UInt8]]) {
        guard let field = fields.first else {
            self = .noField
            return
        }
        guard fields.count == 1 else {
            self = .severalFields
            return
        }
        let (addresses, hasMore) = AddressListParser.read(field, maximum: Self.maximumAddresses)
        guard !hasMore else {
            self = .tooLong
            return
        }
        // Entries without an address name nobody.
        let written = addresses.compactMap(\.host).filter { !$0.isEmpty }
        guard !written.isEmpty else {
            self = .noAddress
            return
        }
        let domains = written.compactMap(Self.domain)
        guard let first = domains.first else {
            self = .noDomain
            return
        }
        // A host that can't be read beside one that can is another author: it must not switch the domain's policy off.
        let isOne = domains.count == written.count && domains.allSatisfy { $0 == first }
        self = isOne ? .domain(first) : .severalDomains
    }

    /// In ASCII and lower case, without the dot of a rooted name; nil for what is no domain.
    private static func domain(_ host: [UInt8]) -> [UInt8]? {
        guard var name = SPFLookups.ascii(host) else { return nil }
        if name.last == UInt8(ascii: ".") { name.removeLast() }
        return isDomain(name) ? name.map(ASCII.lower) : nil
    }

    private static func isDomain(_ host: [UInt8]) -> Bool {
        host.allSatisfy { $0 < 0x80 } && MailDomain.isHostName(host)
    }

    package var description: String {
        switch self {
        case .domain(let domain): String(decoding: domain, as: UTF8.self)
        case .noField: "the message has no From field"
        case .severalFields: "the message has more than one From field"
        case .noAddress: "the From field has no address with a domain"
        case .noDomain: "what stands behind the @ in the From field is no domain"
        case .severalDomains: "the From field has addresses of several domains"
        case .tooLong: "the header or its From field is longer than what is looked at"
        }
    }
}
