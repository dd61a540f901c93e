import DNS
import ZoneTransfer

/// What a primary sends: the first octet says what was asked for, then come messages behind their lengths. What a reader
/// takes is within its limits, and a zone that came can be sent on and comes again.
let zoneTransferTarget = FuzzTarget("zone-transfer", maximum: 16384) { input in
    guard let zone = try? DomainName("a"), let kind = input.first else { return }
    let start = try? ResourceRecord(
        name: zone,
        type: .soa,
        timeToLive: 0,
        wireData: [0, 0] + [0, 0, 0, kind >> 1] + [UInt8](repeating: 0, count: 16)
    )
    let request = kind & 1 == 0 ? TransferRequest.full : start.map { .incremental(since: $0) } ?? .full
    var reader = TransferReader(
        zone: zone,
        request: request,
        id: 0,
        limits: TransferLimits(records: 500, octets: 64 * 1024)
    )
    var rest = input.dropFirst()
    while rest.count >= 2, reader.outcome == nil {
        let length = Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1])
        let octets = Array(rest.dropFirst(2).prefix(length))
        rest = rest.dropFirst(2 + length)
        guard let message = try? DNSMessage(decoding: octets), (try? reader.read(message)) != nil else { return }
    }
    guard let outcome = reader.outcome else { return }
    switch outcome {
    case .current(let record): demand(record.type == .soa && record.name == zone, "current is no SOA record")
    case .zone(let records):
        demand(records.count <= 500, "more records than the limit")
        demand(records.allSatisfy { $0.name.isSubdomain(of: zone) }, "a record of another zone")
        demand(records.filter { $0.type == .soa }.count == 1, "not one SOA record")
        sendAgain(records, zone)
    case .differences(let differences):
        demand(!differences.isEmpty, "no difference")
        for difference in differences {
            demand(!(difference.removed + difference.added).contains { $0.type == .soa }, "an SOA record as a change")
        }
    }
}

private func sendAgain(_ records: [ResourceRecord], _ zone: DomainName) {
    var writer = TransferWriter(
        answering: TransferRequest.full.query(id: 3, zone: zone),
        with: (records + records.prefix(1)).makeIterator()
    )
    var reader = TransferReader(zone: zone, request: .full, id: 3)
    while let octets = try? writer.next() {
        guard let message = try? DNSMessage(decoding: octets) else { fatalError("what was written can't be read") }
        do {
            try reader.read(message)
        } catch {
            fatalError("what was written isn't a transfer: \(error)")
        }
    }
    guard case .zone(let again) = reader.outcome else { fatalError("no zone after a round trip") }
    // Compression may change the case of names (RFC 4343 §4.1), and nothing else.
    demand(again.map(RecordIdentity.init) == records.map(RecordIdentity.init), "another zone after a round trip")
}
