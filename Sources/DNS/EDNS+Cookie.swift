/// What a COOKIE option carries (RFC 7873 §4).
package struct CookieOption: Hashable, Sendable {
    /// The option's number.
    package static let code: UInt16 = 10
    /// How many octets a client cookie has.
    package static let clientLength = 8
    /// How many octets a server cookie may have.
    package static let serverLengths = 8...32

    /// The client's part: 8 octets.
    package var client: [UInt8]
    /// The server's part: 8 to 32 octets, or none where the client knows none yet.
    package var server: [UInt8]

    package init(client: [UInt8], server: [UInt8] = []) {
        self.client = client
        self.server = server
    }

    /// The data of a COOKIE option; nil where its length is wrong (RFC 7873 §5.2.2).
    package init?(_ data: some Collection<UInt8>) {
        let rest = data.count - Self.clientLength
        guard rest == 0 || Self.serverLengths.contains(rest) else { return nil }
        client = Array(data.prefix(Self.clientLength))
        server = Array(data.dropFirst(Self.clientLength))
    }

    /// The option.
    package var option: EDNS.Option { EDNS.Option(code: Self.code, data: client + server) }
}

extension EDNS {
    /// The number of the option that asks for a server's identity, and carries it (RFC 5001 §2.3).
    package static let identityOptionCode: UInt16 = 3

    /// Whether the server's identity is asked for (RFC 5001 §2.1).
    package var asksForIdentity: Bool { options.contains { $0.code == Self.identityOptionCode } }

    /// What the first COOKIE option says: the others don't count (RFC 7873 §5.2).
    package enum Cookie: Equatable, Sendable {
        case none
        /// Of a length that no cookie has.
        case malformed
        case cookie(CookieOption)
    }

    /// The cookies.
    package var cookie: Cookie {
        guard let option = options.first(where: { $0.code == CookieOption.code }) else { return .none }
        return CookieOption(option.data).map { .cookie($0) } ?? .malformed
    }
}
