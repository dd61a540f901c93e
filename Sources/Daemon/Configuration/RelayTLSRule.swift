/// What the administrator wants of TLS with a destination or a host: a floor, above which what the domain itself has published counts.
package struct RelayTLSRule: Sendable, Hashable {
    /// From the loosest to the strictest.
    package enum Level: String, Sendable, CaseIterable {
        /// Never TLS.
        case none
        /// Where it's offered, whatever the certificate (RFC 7435).
        case may
        /// Mail waits for a host that offers it.
        case encrypt
        /// And that shows a certificate with its name, by an authority that is trusted.
        case verify
        /// Or that has TLSA records by which it's verified.
        case daneOnly = "dane-only"
        /// Or that shows a certificate or key that is named here.
        case fingerprint
    }

    package var level: Level
    /// Of `verify`: the names of which the certificate must have one, `.example.net` for any below; where empty, what the route or signed
    /// MX records say, else the destination's own.
    package var names: [String] = []
    /// SHA-256 of certificates or public keys.
    package var fingerprints: [[UInt8]] = []
    /// Whether DANE and MTA-STS are looked at, too.
    package var usesPublished = true

    package init(_ level: Level) {
        self.level = level
        usesPublished = level != .none
    }

    /// A rule as text (`"verify"`) or as a table with `level`.
    init(_ key: String, in table: ConfigurationTable) throws(ConfigurationError) {
        guard table.isTable(key) else {
            self.init(try table.choice(key, default: Level.may))
            guard level != .fingerprint else {
                throw table.error(key, "needs fingerprints: { level = \"fingerprint\", fingerprints = [\"…\"] }")
            }
            return
        }
        let rule = try table.table(key)
        guard try rule.string("level") != nil else { throw rule.error("level", "is missing") }
        self.init(try rule.choice("level", default: Level.may))
        names = try rule.strings("names").map { $0.lowercased() }
        for text in try rule.strings("fingerprints") {
            guard let fingerprint = Self.fingerprint(text) else {
                throw rule.error("fingerprints", "\"\(text)\" is not a SHA-256 in hexadecimal")
            }
            fingerprints.append(fingerprint)
        }
        usesPublished = try rule.boolean("published", default: level != .none)
        if level == .none, usesPublished { throw rule.error("published", "without TLS there is nothing to look at") }
        if level == .daneOnly, !usesPublished { throw rule.error("published", "dane-only looks at what is published") }
        if level == .fingerprint, fingerprints.isEmpty { throw rule.error("fingerprints", "is missing") }
        if level != .fingerprint, !fingerprints.isEmpty {
            throw rule.error("fingerprints", "goes with level = \"fingerprint\"")
        }
        if level != .verify, !names.isEmpty { throw rule.error("names", "goes with level = \"verify\"") }
        // OpenSSL takes names as C strings.
        if names.contains(where: { $0.isEmpty || $0 == "." || $0.utf8.contains(0) }) {
            throw rule.error("names", "must be names")
        }
    }

    /// 64 hexadecimal digits, with colons between pairs or without.
    static func fingerprint(_ text: String) -> [UInt8]? {
        let digits = text.utf8.filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 64 else { return nil }
        var octets: [UInt8] = []
        for place in stride(from: 0, to: 64, by: 2) {
            let pair = String(decoding: digits[place..<place + 2], as: UTF8.self)
            guard pair.utf8.first != UInt8(ascii: "+"), let octet = UInt8(pair, radix: 16) else { return nil }
            octets.append(octet)
        }
        return octets
    }
}

extension RelayTLSRule.Level: Comparable {
    /// Looser ones come first.
    package static func < (one: Self, other: Self) -> Bool {
        (allCases.firstIndex(of: one) ?? 0) < (allCases.firstIndex(of: other) ?? 0)
    }
}
