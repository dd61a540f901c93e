import DNS

/// Zones that every resolver answers by itself, so that the questions don't reach the world: RFC 6761 (localhost,
/// invalid, test), RFC 6303 and 7793 (private and other special reverse zones), RFC 7535 §3.3 (empty.as112.arpa, to which
/// aliases may lead), RFC 7686 (onion), RFC 8375 (home.arpa), RFC 9665 §10.2 (service.arpa), RFC 6762 §22 (local), RFC 9462
/// §6.4 (resolver.arpa), RFC 9476 (alt).
package enum SpecialZones {
    /// All of them, none of which has a name but its top, except localhost's and resolver.arpa.
    package static func make() -> [Zone] {
        let empty = names.compactMap { zone($0, "") }
        let local = [
            zone("localhost", "@ A 127.0.0.1\n@ AAAA ::1\n* A 127.0.0.1\n* AAAA ::1\n"),
            zone("127.in-addr.arpa", "1.0.0 PTR localhost.\n"),
            zone(loopback6, "@ PTR localhost.\n"),
            // No name is denied there, and none has data: the wildcard is an empty one (RFC 4592 §2.2.2).
            zone("resolver.arpa", "nothing.* TXT \"\"\n"),
        ]
        return empty + local.compactMap { $0 }
    }

    /// Zones of home networks, the only ones of these that the public tree delegates unsigned.
    package static let delegated = Set(["home.arpa", "service.arpa"].compactMap { try? DomainName($0) })

    package static func zone(_ name: String, _ records: String) -> Zone? {
        guard let origin = try? DomainName(name) else { return nil }
        let text = "$TTL 10800\n@ SOA localhost. nobody.invalid. 1 3600 1200 604800 10800\n@ NS localhost.\n\(records)"
        let parsed = try? MasterFile.parse(Array(text.utf8), file: name, origin: origin) { _ in
            .failure(MasterFileIncludeError(reason: "not here"))
        }
        return parsed.flatMap { try? Zone(origin: origin, file: name, records: $0) }
    }

    private static let loopback6 = "1." + String(repeating: "0.", count: 31) + "ip6.arpa"

    private static let names =
        ["invalid", "test", "onion", "alt", "local", "home.arpa", "service.arpa", "empty.as112.arpa"]
        + ["0.in-addr.arpa", "10.in-addr.arpa"]
        + (16...31).map { "\($0).172.in-addr.arpa" }
        + ["168.192.in-addr.arpa", "254.169.in-addr.arpa", "2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa"]
        + ["113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa"]
        + (64...127).map { "\($0).100.in-addr.arpa" }
        + [String(repeating: "0.", count: 32) + "ip6.arpa", "d.f.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"]
        + ["8", "9", "a", "b"].map { "\($0).e.f.ip6.arpa" }
}
