import DNS

/// That a zone has changed, as a primary tells its secondaries (RFC 1996).
package struct Notification: Hashable, Sendable {
    /// The zone.
    package let zone: DomainName
    /// Its new version, where the message says it. Nobody vouches for it: the primary has to be asked.
    package let serial: SerialNumber?

    /// What a message says; nil for one that is no notification of a change (RFC 1996 §3.7: of type SOA).
    package init?(_ message: DNSMessage) {
        guard !message.flags.isResponse, message.flags.opcode == .notify, message.questions.count == 1,
            let question = message.questions.first, question.type == .soa, question.class == .internet
        else { return nil }
        zone = question.name
        let start = message.answers.first { $0.type == .soa && $0.name == question.name }
        serial = start.flatMap { StartOfAuthority($0) }.map { SerialNumber($0.serial) }
    }

    /// The message that says that a zone has a new version.
    ///
    /// - Parameter start: the zone's SOA record.
    package static func message(id: UInt16, start: ResourceRecord) -> DNSMessage {
        var flags = MessageFlags(rawValue: 0)
        flags.opcode = .notify
        flags.isAuthoritative = true
        return DNSMessage(
            id: id,
            flags: flags,
            questions: [Question(name: start.name, type: .soa)],
            answers: [start]
        )
    }

    /// How long each attempt waits for the answer: twice as long as the one before, and no more than the minute of
    /// RFC 1996 §3.6. Seconds.
    package static let patience: [Int64] = [2, 4, 8, 16, 32, 60]
}
