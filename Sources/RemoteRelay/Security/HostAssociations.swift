import TLS

/// What DNSSEC vouches for of a host's certificates (RFC 7672 §2.2).
enum HostAssociations: Hashable, Sendable {
    /// Nothing is published, or nobody vouches for it.
    case nothing
    /// TLSA records, whether or not they can be used.
    ///
    /// - Parameter names: those that a certificate may have (RFC 7672 §3.2.2), the base domain first.
    case records([DANERecord], names: [String])
    /// The question has no answer now, for this reason: somebody in between may not want it to have one (RFC 7672 §2.1.2).
    case unknown(String)

    /// The records that mail can be protected by.
    var usable: [DANERecord] {
        if case .records(let records, _) = self { records.filter(\.isUsable) } else { [] }
    }
}
