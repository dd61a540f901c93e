import DNS
import Testing

@testable import ZoneTransfer

struct TransferWriterTests {
    private func query(_ type: RecordType = .axfr) throws -> DNSMessage {
        DNSMessage.query(id: 7, question: Question(name: try DomainName(zoneName), type: type))
    }

    @Test func aZoneThereAndBack() throws {
        var zone = [try start(9)]
        for number in 0..<3000 { zone.append(try record("host\(number) A 192.0.2.\(number % 250)")) }
        zone += try records("big TXT \"\(String(repeating: "x", count: 250))\"")
        var writer = TransferWriter(answering: try query(), with: (zone + [zone[0]]).makeIterator(), reserve: 200)
        var reader = try reader()
        var messages = 0
        while let octets = try writer.next() {
            #expect(octets.count <= 17 * 1024)
            let message = try DNSMessage(decoding: octets)
            #expect(message.flags.isAuthoritative)
            #expect(message.questions.isEmpty == (messages > 0))
            #expect((message.edns == nil) == (messages > 0))
            try reader.read(message)
            messages += 1
        }
        #expect(reader.outcome == .zone(zone))
        #expect(messages > 3)
        #expect(messages < 12)
    }

    @Test func longRecords() throws {
        let string = "\"" + String(repeating: "y", count: 254) + "\" "
        let zone = try [start(1), record("a TXT \(String(repeating: string, count: 250))"), record("b A 192.0.2.1")]
        var writer = TransferWriter(answering: try query(), with: (zone + [zone[0]]).makeIterator(), reserve: 300)
        var counts: [Int] = []
        while let octets = try writer.next() { counts.append(try DNSMessage(decoding: octets).answers.count) }
        #expect(counts == [1, 1, 2])
    }

    @Test func aRecordThatFitsNowhere() throws {
        let string = "\"" + String(repeating: "y", count: 254) + "\" "
        let zone = try [start(1), record("a TXT \(String(repeating: string, count: 256))")]
        var writer = TransferWriter(answering: try query(), with: zone.makeIterator(), reserve: 300)
        _ = try writer.next()
        #expect(throws: TransferError.recordTooLong(try DomainName("a.transfer.test"))) { try writer.next() }
    }

    @Test func requests() throws {
        #expect(TransferRequest(try query()) == .full)
        #expect(TransferRequest(try query(.soa)) == nil)
        #expect(TransferRequest(try query(.ixfr)) == nil)
        let name = try DomainName(zoneName)
        let incremental = TransferRequest.incremental(since: try start(4)).query(id: 9, zone: name)
        #expect(TransferRequest(try DNSMessage(decoding: incremental.encode())) == .incremental(since: try start(4)))
        #expect(TransferRequest(incremental)?.serial == SerialNumber(4))
        #expect(TransferRequest.full.query(id: 9, zone: name).questions == [Question(name: name, type: .axfr)])
        var other = incremental
        other.questions[0].name = try DomainName("other.test")
        #expect(TransferRequest(other) == nil)
    }

    @Test func notifications() throws {
        let message = Notification.message(id: 3, start: try start(8))
        let read = try #require(Notification(try DNSMessage(decoding: message.encode())))
        #expect(read.zone == (try DomainName(zoneName)))
        #expect(read.serial == SerialNumber(8))
        #expect(message.flags.isAuthoritative)
        var bare = message
        bare.answers = []
        #expect(Notification(bare)?.serial == nil)
        #expect(Notification(bare) != nil)
        var response = message
        response.flags.isResponse = true
        #expect(Notification(response) == nil)
        #expect(Notification(try query(.soa)) == nil)
    }
}
