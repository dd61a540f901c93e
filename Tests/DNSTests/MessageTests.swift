import NIOCore
import Testing

@testable import DNS

private func record(_ owner: String, _ type: RecordType, _ data: [UInt8]) throws -> ResourceRecord {
    try ResourceRecord(name: DomainName(owner), type: type, timeToLive: 300, wireData: data)
}

struct MessageTests {
    private func sample() throws -> DNSMessage {
        let question = Question(name: try DomainName("example.test"), type: .mx)
        var message = DNSMessage.query(id: 0xBEEF, question: question, dnssecOK: true).response()
        message.answers = try [
            record("example.test", .mx, [0, 10] + DomainName("Mail.example.test").wire),
            record("example.test", .mx, [0, 20] + DomainName("mail.example.net").wire),
        ]
        message.authorities = try [
            record(
                "example.test",
                .soa,
                DomainName("ns.example.test").wire + DomainName("root.example.test").wire
                    + [UInt8](repeating: 1, count: 20)
            )
        ]
        message.additionals = try [
            record("mail.example.test", .a, [192, 0, 2, 1]),
            record("mail.example.test", .aaaa, [UInt8](repeating: 7, count: 16)),
            record("x.example.test", RecordType(rawValue: 4711), [1, 2, 3]),
        ]
        message.edns?.options = [ExtendedError(code: 14, text: "not yet").option]
        return message
    }

    @Test func roundTrip() throws {
        let message = try sample()
        let octets = message.encode()
        #expect(try DNSMessage(decoding: octets) == message)
        #expect(try DNSMessage(decoding: ByteBuffer(bytes: octets)) == message)
        let flat = message.answers.reduce(0) { $0 + $1.name.wire.count + 10 + $1.data.count }
        #expect(octets.count < 12 + flat + 150, "names are compressed")
        let decoded = try DNSMessage(decoding: octets)
        #expect(decoded.answers[0].data == message.answers[0].data)
        #expect(try MailExchange(decoded.answers[0])?.exchange == DomainName("mail.example.test"))
        #expect(decoded.edns?.options.compactMap(ExtendedError.init).first?.text == "not yet")
    }

    @Test func everyPrefixAndEveryFlippedOctetIsHandled() throws {
        let octets = try sample().encode()
        for count in 0..<octets.count {
            #expect(throws: MessageError.self) { try DNSMessage(decoding: Array(octets[..<count])) }
        }
        #expect(throws: MessageError.trailingOctets) { try DNSMessage(decoding: octets + [0]) }
        for index in octets.indices {
            for value: UInt8 in [0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF, octets[index] &+ 1] {
                var damaged = octets
                damaged[index] = value
                if let message = try? DNSMessage(decoding: damaged) {
                    // Names compare without case, so what is decoded again is equal though its octets may differ.
                    #expect(try DNSMessage(decoding: message.encode()).answers == message.answers)
                }
            }
        }
    }

    @Test func randomOctets() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var octets = (0..<Int.random(in: 0...120, using: &generator)).map { _ -> UInt8 in
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: 0
                case 1: UInt8.random(in: 0...12, using: &generator)
                case 2: 0xC0
                default: UInt8.random(in: .min ... .max, using: &generator)
                }
            }
            if octets.count > 12 { octets.replaceSubrange(4..<12, with: [0, 1, 0, 1, 0, 0, 0, 0]) }
            if let message = try? DNSMessage(decoding: octets) {
                _ = message.encode()
                for record in message.answers { _ = record.texts }
            }
        }
    }

    @Test(arguments: [
        // A pointer to itself, one forward, one into the header, two that lead to each other.
        ([0xC0, 12], MessageError.badPointer),
        ([0xC0, 14, 0], .badPointer),
        ([0xC0, 4], .badPointer),
        ([1, 0x61, 0xC0, 12], .badPointer),
        ([0x41, 0], .badLabel),
        ([0x80, 0], .badLabel),
        ([0xC0], .truncated),
        ([5, 0x61], .truncated),
    ])
    func hostileNames(_ name: [UInt8], _ error: MessageError) {
        var reader = MessageReader([UInt8](repeating: 0, count: 12) + name, position: 12)
        #expect(throws: error) { try reader.readName() }
    }

    @Test func aNameThatGrowsTooLongThroughPointersIsRefused() {
        var octets = [UInt8](repeating: 0, count: 12)
        var previous: Int?
        for _ in 0..<5 {
            let start = octets.count
            octets += [63] + [UInt8](repeating: 0x61, count: 63)
            octets += previous.map { [0xC0, UInt8($0)] } ?? [0]
            previous = start
        }
        var reader = MessageReader(octets, position: previous ?? 0)
        #expect(throws: MessageError.nameTooLong) { try reader.readName() }
    }

    @Test func truncationKeepsSetsWholeAndSetsTC() throws {
        var message = try sample()
        message.answers = try (0..<60).map { try record("www.example.test", .a, [10, 0, 0, UInt8($0)]) }
        message.answers.insert(try record("example.test", .cname, DomainName("www.example.test").wire), at: 0)
        let octets = message.encode(maximum: 512)
        #expect(octets.count <= 512)
        let decoded = try DNSMessage(decoding: octets)
        #expect(decoded.flags.isTruncated)
        #expect(decoded.answers.count == 1)
        #expect(decoded.additionals.isEmpty)
        #expect(decoded.edns != nil)
    }

    @Test func additionalsAreLeftOutWithoutTC() throws {
        var message = try sample()
        message.additionals = try (0..<60).map { try record("a\($0).example.test", .a, [10, 0, 0, UInt8($0)]) }
        let decoded = try DNSMessage(decoding: message.encode(maximum: 600))
        #expect(!decoded.flags.isTruncated)
        #expect(decoded.answers == message.answers)
        #expect((1..<60).contains(decoded.additionals.count))
    }

    @Test func manyNamesCompressAndDecompress() throws {
        var message = DNSMessage(id: 1)
        for number in 0..<900 {
            message.answers.append(try record("h\(number).sub\(number % 7).Example.test", .a, [10, 0, 0, 1]))
            message.answers.append(
                try record("h\(number).sub\(number % 7).example.test", .cname, DomainName("é\(number).test").wire)
            )
        }
        #expect(try DNSMessage(decoding: message.encode(maximum: 65535)).answers == message.answers)
    }

    @Test func duplicateOrMisplacedOPT() throws {
        let base: [UInt8] = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let opt: [UInt8] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
        var two = base + opt + opt
        two[11] = 2
        #expect(throws: MessageError.badOPT) { try DNSMessage(decoding: two) }
        var misplaced = base + opt
        misplaced[7] = 1
        #expect(throws: MessageError.badOPT) { try DNSMessage(decoding: misplaced) }
        var good = base + opt
        good[11] = 1
        #expect(try DNSMessage(decoding: good).edns?.payloadSize == 1232)
    }

    @Test func extendedResponseCode() throws {
        var message = DNSMessage.query(id: 5, question: Question(name: .root, type: .ns)).response(.badVersion)
        message.edns?.version = 0
        #expect(try DNSMessage(decoding: message.encode()).responseCode == .badVersion)
    }

    @Test(arguments: [
        (RecordType.a, [1, 2, 3] as [UInt8]), (.a, [1, 2, 3, 4, 5]), (.aaaa, [0]), (.mx, [0]), (.mx, [0, 1]),
        (.mx, [0, 1, 1, 0x61]), (.mx, [0, 1, 0xC0, 0]), (.txt, []), (.txt, [5, 0x61]), (.soa, [0, 0, 1]),
        (.ns, [0, 0]), (.nsec, [0, 0, 0]), (.nsec, [0, 0, 33] + [UInt8](repeating: 0, count: 33)), (.caa, [0]),
        (.nsec3param, [1, 0, 0, 0, 9]),
    ])
    func malformedRecordData(_ type: RecordType, _ data: [UInt8]) {
        #expect(throws: MessageError.self) {
            try ResourceRecord(name: .root, type: type, timeToLive: 0, wireData: data)
        }
    }
}

/// What stays in a cache for long takes no more memory than it must.
struct DecodedSizeTests {
    @Test func decodedOctetsHaveNoRoomToSpare() throws {
        let name = try DomainName("a-name-of-some-length.example.test")
        let message = try DNSMessage(
            id: 1,
            questions: [Question(name: name, type: .mx)],
            answers: [
                record("a-name-of-some-length.example.test", .mx, [0, 10] + DomainName("mail.example.test").wire),
                record("x.example.test", .a, [192, 0, 2, 1]),
            ]
        )
        for record in try DNSMessage(decoding: message.encode()).answers {
            // malloc rounds up to 16 octets, and leaves no rest of 16 alone.
            #expect(record.name.wire.capacity < record.name.wire.count + 32)
            #expect(record.data.capacity < record.data.count + 32)
        }
    }
}
