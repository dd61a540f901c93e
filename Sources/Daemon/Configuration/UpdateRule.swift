import DNS

/// What the holder of a key may change in a zone (RFC 2136, RFC 3007): `key KEY SCOPE NAME [TYPES…]`.
package struct UpdateRule: Hashable, Sendable {
    /// Which names.
    package enum Scope: Hashable, Sendable {
        /// One name: `name NAME`.
        case name(DomainName)
        /// A name and all below it: `subdomain NAME`.
        case subdomain(DomainName)
        /// The name that the key has: `self`.
        case itself
        /// The whole zone: `zone`.
        case zone
    }

    /// Why a text is no rule.
    package struct Fault: Error {
        package let reason: String
    }

    package var key: DomainName
    package var scope: Scope
    /// The types that may be changed, `ANY` for all of them; empty for all but those that the zone itself lives on: SOA,
    /// NS, DNAME and what DNSSEC makes.
    package var types: Set<RecordType>

    package init(key: DomainName, scope: Scope, types: Set<RecordType> = []) {
        self.key = key
        self.scope = scope
        self.types = types
    }

    /// A rule as the configuration has it.
    package init(_ text: String) throws(Fault) {
        var words = text.split(separator: " ")[...]
        guard words.popFirst() == "key", let signer = words.popFirst() else {
            throw Fault(reason: "it begins with \"key NAME\"")
        }
        key = try Self.name(signer)
        switch words.popFirst() {
        case "name": scope = .name(try Self.name(words.popFirst()))
        case "subdomain": scope = .subdomain(try Self.name(words.popFirst()))
        case "self": scope = .itself
        case "zone": scope = .zone
        default:
            throw Fault(reason: "behind the key there must be \"name NAME\", \"subdomain NAME\", \"self\" or \"zone\"")
        }
        types = []
        for word in words {
            if word.lowercased() == "any" {
                types.insert(.any)
                continue
            }
            guard let type = RecordType(mnemonic: word.utf8), !type.isMeta else {
                throw Fault(reason: "\(word) is not a type of records")
            }
            types.insert(type)
        }
    }

    private static func name(_ text: Substring?) throws(Fault) -> DomainName {
        guard let text else { throw Fault(reason: "a name is missing") }
        do {
            return try DomainName(String(text))
        } catch {
            throw Fault(reason: "\"\(text)\" is not a domain name (\(error))")
        }
    }

    /// What must be named in order to be changed.
    private static let guarded: Set<RecordType> = [
        .soa, .ns, .dname, .dnskey, .cds, .cdnskey, .rrsig, .nsec, .nsec3, .nsec3param,
    ]

    /// Whether the rule lets the key's holder change records of the type at the name.
    package func allows(_ signer: DomainName, _ name: DomainName, _ type: RecordType) -> Bool {
        guard signer == key, covers(name) else { return false }
        guard !types.isEmpty else { return !Self.guarded.contains(type) }
        return types.contains(type) || types.contains(.any)
    }

    /// Whether the rule is about a name of the zone.
    package func covers(_ name: DomainName) -> Bool {
        switch scope {
        case .name(let only): name == only
        case .subdomain(let top): name.isSubdomain(of: top)
        case .itself: name == key
        case .zone: true
        }
    }
}
