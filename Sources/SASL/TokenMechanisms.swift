/// OAUTHBEARER (RFC 7628): an access token in one message. A client without a valid one is told where to get it, and answers
/// with one octet before the exchange fails (§3.2.3).
package struct OAuthBearerMechanism: SASLMechanism {
    package init() {}

    package var firstChallenge: [UInt8] { [] }

    /// `gs2-header ^A key=value ^A … ^A` (§3.1). There is nothing here that a channel binding could be bound to.
    package mutating func respond(to response: [UInt8]) -> SASLStep {
        var rest = response[...]
        guard let header = try? GS2Header(parsing: &rest), rest.popFirst() == KeyValuePairs.separator,
            let pairs = KeyValuePairs(rest)
        else { return .malformed }
        switch header.binding {
        case .unsupported, .notOffered: break
        case .used: return .malformed
        }
        guard let value = pairs["auth"], !value.isEmpty else { return .inquiry }
        guard let token = KeyValuePairs.bearerToken(value) else { return .malformed }
        return .evidence(.token(TokenCredentials(user: header.authorization, token: token)))
    }

    package func refusal(_ hint: TokenHint) -> [UInt8]? { hint.json(status: "invalid_token") }
}

/// XOAUTH2, Google's and Microsoft's own, which many clients have instead: `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
package struct XOAuth2Mechanism: SASLMechanism {
    package init() {}

    package var firstChallenge: [UInt8] { [] }

    package mutating func respond(to response: [UInt8]) -> SASLStep {
        guard let pairs = KeyValuePairs(response[...]), let user = pairs["user"].flatMap(SASLText.name),
            let token = pairs["auth"].flatMap(KeyValuePairs.bearerToken)
        else { return .malformed }
        return .evidence(.token(TokenCredentials(user: user, token: token)))
    }

    package func refusal(_ hint: TokenHint) -> [UInt8]? { hint.json(status: "401") }
}

/// `key=value` pairs that each end in ^A, and one more ^A (RFC 7628 §3.1).
private struct KeyValuePairs {
    static let separator: UInt8 = 1

    private var pairs: [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] = []

    /// So many are enough for anybody; tokens have their own limit.
    private static let maximumCount = 32

    /// - Returns: nil where the grammar is violated, or a key is there twice.
    init?(_ octets: ArraySlice<UInt8>) {
        guard octets.last == Self.separator else { return nil }
        var parts = octets.dropLast().split(separator: Self.separator, omittingEmptySubsequences: false)
        guard parts.count <= Self.maximumCount, parts.popLast()?.isEmpty == true else { return nil }
        for part in parts {
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let key = part[..<equals]
            guard !key.isEmpty, key.allSatisfy({ ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7a }),
                !pairs.contains(where: { $0.key == key })
            else { return nil }
            pairs.append((key, part[part.index(after: equals)...]))
        }
    }

    subscript(key: String) -> ArraySlice<UInt8>? { pairs.first { $0.key.elementsEqual(key.utf8) }?.value }

    /// The token in `Bearer TOKEN` (RFC 6750 §2.1); nil for another scheme or what is no token.
    static func bearerToken(_ value: ArraySlice<UInt8>) -> String? {
        let scheme = value.prefix(7)
        guard scheme.map({ $0 | 0x20 }).elementsEqual("bearer ".utf8) else { return nil }
        let token = value.dropFirst(7).drop { $0 == UInt8(ascii: " ") }
        guard (1...TokenCredentials.maximumToken).contains(token.count) else { return nil }
        let body = token.prefix { $0 != UInt8(ascii: "=") }
        guard !body.isEmpty, body.allSatisfy(isTokenOctet),
            token.dropFirst(body.count).allSatisfy({ $0 == UInt8(ascii: "=") })
        else { return nil }
        return String(decoding: token, as: UTF8.self)
    }

    private static func isTokenOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: "-._~+/".utf8.contains(octet)
        }
    }
}
