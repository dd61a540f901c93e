import DNS

/// What of a zone is asked for.
package enum TransferRequest: Hashable, Sendable {
    /// The zone (RFC 5936).
    case full
    /// What came after the version that the client has (RFC 1995).
    case incremental(since: ResourceRecord)

    /// The request in a query; nil for a query that asks for something else, or for no version (RFC 1995 §3).
    package init?(_ query: DNSMessage) {
        guard query.questions.count == 1, let question = query.questions.first else { return nil }
        switch question.type {
        case .axfr: self = .full
        case .ixfr:
            guard let start = query.authorities.first(where: { $0.type == .soa && $0.name == question.name }),
                StartOfAuthority(start) != nil
            else { return nil }
            self = .incremental(since: start)
        default: return nil
        }
    }

    /// The query for a zone.
    package func query(id: UInt16, zone: DomainName) -> DNSMessage {
        switch self {
        case .full: return DNSMessage(id: id, questions: [Question(name: zone, type: .axfr)])
        case .incremental(let start):
            return DNSMessage(id: id, questions: [Question(name: zone, type: .ixfr)], authorities: [start])
        }
    }

    /// The version that the client has.
    package var serial: SerialNumber? {
        guard case .incremental(let start) = self else { return nil }
        return StartOfAuthority(start).map { SerialNumber($0.serial) }
    }
}
