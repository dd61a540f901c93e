import DNS

/// A dynamic update (RFC 2136 §2): what must be so, and what is to be changed then.
struct UpdateRequest: Sendable {
    /// The zone's top.
    let zone: DomainName
    let prerequisites: [ResourceRecord]
    let updates: [ResourceRecord]

    /// A name's set of a type is to be these records.
    init(zone: DomainName, _ name: DomainName, _ type: RecordType, _ records: [ResourceRecord]) {
        self.zone = zone
        prerequisites = []
        updates = [.empty(name, type, .any)] + records
    }

    /// - Throws: the response code where the zone section is wrong (RFC 2136 §3.1.1).
    init(_ message: DNSMessage) throws(UpdateFault) {
        guard message.questions.count == 1, let zone = message.questions.first, zone.type == .soa else {
            throw UpdateFault(.formatError, "one zone is needed")
        }
        guard zone.class == .internet else { throw UpdateFault(.notAuthoritative, "only class IN is served") }
        self.zone = zone.name
        prerequisites = message.answers
        updates = message.authorities
    }
}

/// Why an update isn't made.
package struct UpdateFault: Error, Equatable, Sendable {
    let code: ResponseCode
    /// For people.
    package let reason: String

    init(_ code: ResponseCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }
}
