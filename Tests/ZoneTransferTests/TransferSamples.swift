import DNS
import Testing

@testable import ZoneTransfer

/// The zone of the tests.
let zoneName = "transfer.test"

/// Records from master file lines, names relative to the zone.
func records(_ lines: String...) throws -> [ResourceRecord] {
    let text = (["$TTL 3600"] + lines).joined(separator: "\n")
    let parsed = try MasterFile.parse(Array(text.utf8), file: "test", origin: try DomainName(zoneName)) { _ in
        .failure(MasterFileIncludeError(reason: ""))
    }
    return parsed.map(\.record)
}

/// One record from a master file line.
func record(_ line: String) throws -> ResourceRecord { try #require(try records(line).first) }

/// The zone's SOA record in a version.
func start(_ serial: UInt32) throws -> ResourceRecord { try record("@ SOA ns root \(serial) 3600 600 86400 300") }

/// A reader of the answers to a request for the zone.
func reader(since serial: UInt32? = nil, limits: TransferLimits = TransferLimits()) throws -> TransferReader {
    let request = try serial.map { TransferRequest.incremental(since: try start($0)) } ?? .full
    return TransferReader(zone: try DomainName(zoneName), request: request, id: 7, limits: limits)
}

/// A message of the answer to a request.
func message(_ records: [ResourceRecord], _ type: RecordType = .axfr, asks: Bool = true) throws -> DNSMessage {
    var flags = MessageFlags(rawValue: 0)
    flags.isResponse = true
    flags.isAuthoritative = true
    let question = Question(name: try DomainName(zoneName), type: type)
    return DNSMessage(id: 7, flags: flags, questions: asks ? [question] : [], answers: records)
}

extension TransferReader {
    /// Gives it records, so many a message.
    mutating func readAll(_ records: [ResourceRecord], _ type: RecordType = .axfr, each count: Int) throws {
        for index in stride(from: 0, to: records.count, by: count) {
            let part = Array(records[index..<min(index + count, records.count)])
            try read(try message(part, type, asks: index == 0))
        }
    }
}
