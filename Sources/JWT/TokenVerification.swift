import Cryptography
import FoundationEssentials

/// What a token must be to be good for a login (RFC 7519, RFC 9068).
package struct TokenRequirements: Equatable, Sendable {
    /// `iss`, exactly.
    package var issuer: String
    /// `aud` must have one of these.
    package var audiences: [String]
    /// The claim that names the account.
    package var accountClaim: String
    /// Whether the issuer must say that it has verified the address, where `email` names the account.
    package var needsVerifiedEmail: Bool
    /// What `scope` must have; nil for nothing.
    package var scope: String?
    /// Seconds by which clocks may differ.
    package var leeway: Int

    package init(
        issuer: String,
        audiences: [String],
        accountClaim: String = "email",
        needsVerifiedEmail: Bool = true,
        scope: String? = nil,
        leeway: Int = 60
    ) {
        self.issuer = issuer
        self.audiences = audiences
        self.accountClaim = accountClaim
        self.needsVerifiedEmail = needsVerifiedEmail
        self.scope = scope
        self.leeway = leeway
    }

    /// Octets of a token that are looked at.
    package static let maximumToken = 8192
    private static let maximumHeader = 2048

    /// Verifies a token in the compact form (RFC 7515 §7.1). Nothing that it claims is looked at before its signature was.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: the account, as the claim says it.
    package func account(
        of token: String,
        keys: KeySet,
        now: Int
    ) throws(JWTFault) -> String {
        let octets = Array(token.utf8)
        guard octets.count <= Self.maximumToken else { throw .malformed }
        let parts = octets.split(separator: UInt8(ascii: "."), maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].count <= Self.maximumHeader, let head = Base64URL.decode(parts[0]),
            let body = Base64URL.decode(parts[1]), let signature = Base64URL.decode(parts[2]),
            let header = Self.decoded(Header.self, head)
        else { throw .malformed }
        guard let algorithm = SignatureAlgorithm(rawValue: header.alg) else { throw .algorithm(header.alg) }
        guard !header.hasCritical else { throw .critical }
        if let kind = header.typ, !Self.isAccessToken(kind) { throw .kind(kind) }
        try Self.verify(signature, of: Array(octets[..<parts[1].endIndex]), header, algorithm, keys)
        guard let claims = Self.decoded(Claims.self, body) else { throw .malformed }
        try check(claims, now: now)
        guard let account = claims.text(accountClaim), !account.isEmpty else { throw .claim(accountClaim) }
        if accountClaim == "email", needsVerifiedEmail, !claims.isEmailVerified { throw .unverified(accountClaim) }
        return account
    }

    /// An ID token or a logout token, say, is for others (RFC 8725 §3.11). `application/` may be left out (RFC 7515 §4.1.9).
    private static func isAccessToken(_ kind: String) -> Bool {
        let kind = kind.lowercased()
        return ["jwt", "at+jwt", "application/jwt", "application/at+jwt"].contains(kind)
    }

    private static func verify(
        _ signature: [UInt8],
        of message: [UInt8],
        _ header: Header,
        _ algorithm: SignatureAlgorithm,
        _ keys: KeySet
    ) throws(JWTFault) {
        // A token without a name for its key is tried with those that have none, and with the only one.
        let candidates = keys.keys.filter { key in
            (key.algorithm == nil || key.algorithm == algorithm.rawValue) && algorithm.goes(with: key.key.kind)
                && (header.kid == nil ? key.identifier == nil || keys.keys.count == 1 : key.identifier == header.kid)
        }
        guard !candidates.isEmpty else { throw .unknownKey }
        guard candidates.prefix(4).contains(where: { algorithm.isValid(signature, of: message, by: $0.key) }) else {
            throw .signature
        }
    }

    private func check(_ claims: Claims, now: Int) throws(JWTFault) {
        guard claims.text("iss") == issuer else { throw .issuer }
        guard claims.texts("aud").contains(where: audiences.contains) else { throw .audience }
        guard let expiry = claims.time("exp") else { throw .claim("exp") }
        guard Double(now) < expiry + Double(leeway) else { throw .expired }
        if let begin = claims.time("nbf"), Double(now) + Double(leeway) < begin { throw .notYet }
        if let scope {
            let granted = claims.texts("scope") + claims.texts("scp")
            guard granted.contains(where: { $0.split(separator: " ").contains(scope[...]) }) else { throw .scope }
        }
    }

    private static func decoded<Value: Decodable>(_ type: Value.Type, _ octets: [UInt8]) -> Value? {
        // What looks like UTF-16 would be read as that.
        guard !octets.contains(0) else { return nil }
        return try? JSONDecoder().decode(type, from: Data(octets))
    }

    /// The JOSE header (RFC 7515 §4).
    private struct Header: Decodable {
        private enum Name: String, CodingKey {
            case alg, kid, crit, typ
        }

        let alg: String
        let kid: String?
        let typ: String?
        let hasCritical: Bool

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Name.self)
            alg = try container.decode(String.self, forKey: .alg)
            kid = try container.decodeIfPresent(String.self, forKey: .kid)
            typ = try container.decodeIfPresent(String.self, forKey: .typ)
            hasCritical = container.contains(.crit)
        }
    }

    /// The claims, by whatever names they have.
    private struct Claims: Decodable {
        private struct Name: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        private let container: KeyedDecodingContainer<Name>

        init(from decoder: any Decoder) throws { container = try decoder.container(keyedBy: Name.self) }

        func text(_ name: String) -> String? { try? container.decode(String.self, forKey: Name(stringValue: name)) }

        /// One text, or a list of them.
        func texts(_ name: String) -> [String] {
            if let text = text(name) { return [text] }
            return (try? container.decode([String].self, forKey: Name(stringValue: name))) ?? []
        }

        func time(_ name: String) -> Double? {
            let time = try? container.decode(Double.self, forKey: Name(stringValue: name))
            return time.flatMap { $0.isFinite ? $0 : nil }
        }

        /// Whether the issuer says that it has looked whether the address is the user's (OpenID Connect Core §5.1).
        var isEmailVerified: Bool {
            let name = Name(stringValue: "email_verified")
            if let flag = try? container.decode(Bool.self, forKey: name) { return flag }
            return text("email_verified") == "true"
        }
    }
}
