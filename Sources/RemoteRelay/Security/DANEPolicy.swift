import TLS

/// What a host's own TLSA records ask for (RFC 7672).
struct DANEPolicy: TransportPolicy {
    /// Whether a host without usable ones may not be used.
    let isRequired: Bool

    func demand(_ target: Target) throws(SMTPClient.Failure) -> SessionPolicy? {
        switch target.associations {
        case .unknown(let reason): throw .policy(.unknownRecords, "TLSA records can't be looked up: \(reason)")
        case .records(_, let names):
            let usable = target.associations.usable
            if !usable.isEmpty {
                return SessionPolicy(
                    source: .dane,
                    demand: .verified(.dane(records: usable, names: names)),
                    serverName: names.first
                )
            }
            if isRequired { throw .policy(.noRecords, "none of the host's TLSA records can be used") }
            // That there are any says that the host does TLS (RFC 7672 §2.2).
            return SessionPolicy(source: .dane, demand: .encrypted, serverName: names.first)
        case .nothing:
            if isRequired { throw .policy(.noRecords, "the host has no TLSA records that DNSSEC vouches for") }
            return nil
        }
    }
}
