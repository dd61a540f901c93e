import NIOCore
import SMTP
import Testing

@testable import Spool

@Suite struct QueueFileTests {
    private var envelope: MessageEnvelope { get throws { try Self.makeEnvelope() } }

    private static func makeEnvelope() throws -> MessageEnvelope {
        var envelope = MessageEnvelope(
            id: MessageID(time: 1_795_447_200_000_000, random: 0x0123_4567_89ab_cdef),
            arrived: 1_795_447_200,
            sender: try EnvelopeSender(parsing: "<alice@example.test> BODY=8BITMIME".utf8),
            recipients: try ["<bob@example.test>", "<carol@example.net> NOTIFY=NEVER"].map { text in
                try EnvelopeRecipient(parsing: text.utf8)
            }
        )
        envelope.client = "192.0.2.7"
        envelope.helo = "100%\r\nevil: 1"
        envelope.protocolName = "ESMTPSA"
        envelope.user = "alice@example.test"
        envelope.uid = 1000
        envelope.origin = "key"
        envelope.isExpanded = true
        envelope.givenSubmitter = .system
        return envelope
    }

    /// When it should be delivered is in the file; files of older versions say nothing, and lines of newer ones are passed
    /// over.
    @Test func termsComeBackAndMayBeMissing() throws {
        var envelope = try envelope
        let (old, _) = QueueFile.encode(envelope, message: ByteBuffer())
        #expect(try QueueFile.parseHead(old)?.envelope.terms == DeliveryTerms())
        envelope.terms.deadline = DeliveryTerms.Deadline(time: 1_795_450_000, mode: .notify, isTraced: true)
        envelope.terms.holdUntil = 1_795_449_000
        envelope.terms.priority = 4
        envelope.sender.parameters.requiresTLS = true
        envelope.sender.parameters.isUTF8 = true
        let (file, _) = QueueFile.encode(envelope, message: ByteBuffer())
        #expect(try QueueFile.parseHead(file)?.envelope == envelope)
        let newer = String(buffer: file).replacing("priority: 4\n", with: "priority: 4\nunheard-of: x\n")
        #expect(try QueueFile.parseHead(ByteBuffer(string: newer))?.envelope == envelope)
        let rotten = String(buffer: file).replacing("priority: 4\n", with: "priority: 44\n")
        #expect(try QueueFile.parseHead(ByteBuffer(string: rotten))?.envelope.terms.priority == 0)
    }

    @Test func headComesBackAsItWas() throws {
        let message = ByteBuffer(string: "Subject: x\r\n\r\nHello\r\n")
        let (file, made) = QueueFile.encode(try envelope, message: message)
        let head = try #require(try QueueFile.parseHead(file))
        #expect(try head.envelope == envelope)
        #expect(head.offset == made.offset)
        #expect(made.octets == 21)
        #expect(head.octets == 21)
        #expect(file.getString(at: head.offset, length: 21) == "Subject: x\r\n\r\nHello\r\n")
    }

    @Test func addedBlockIsBehindTheMessage() throws {
        let added = ByteBuffer(string: "Received: x\r\n")
        let (file, made) = QueueFile.encode(try envelope, message: ByteBuffer(string: "Hello\r\n"), added: added)
        let head = try #require(try QueueFile.parseHead(file))
        #expect(head.octets == 7 && head.added == 13)
        #expect(made.added == 13)
        #expect(file.getString(at: head.offset, length: 20) == "Hello\r\nReceived: x\r\n")
        #expect(file.readableBytes == head.offset + 20)
        var checksum = Checksum()
        checksum.add("Hello\r\n")
        checksum.add(added)
        checksum.add(try #require(file.getSlice(at: 0, length: head.coveredHead)))
        #expect(checksum.value == head.checksum)
    }

    /// As files were before there was an added block.
    @Test func fileWithoutAddedBlockIsRead() throws {
        let text = """
            id: 6kz1v8q0r5m7h2c9x4w3t1bd
            arrived: 1
            sender: <>
            recipient: <a@b.example>
            octets: 5
            checksum: 0

            hello
            """
        let head = try #require(try QueueFile.parseHead(ByteBuffer(string: text)))
        #expect(head.octets == 5 && head.added == 0)
    }

    @Test func headIsIncompleteUntilItsEnd() throws {
        let (file, made) = QueueFile.encode(try envelope, message: ByteBuffer(string: "x"))
        let offset = made.offset
        for length in 0..<offset {
            #expect(try QueueFile.parseHead(try #require(file.getSlice(at: 0, length: length))) == nil)
        }
        #expect(try QueueFile.parseHead(try #require(file.getSlice(at: 0, length: offset))) != nil)
    }

    @Test(arguments: [
        "\n", "id\n\n", "id: x\narrived: 1\nsender: <>\nrecipient: <a@b>\noctets: 1\nchecksum: 0\n\n",
        "sender: %4\n\n", "checksum: 0\nchecksum: 0\n\n", "added: -1\n\n", "sender: alice\n\n", "recipient: <>\n\n",
    ])
    func whatIsNoHeadIsCorrupt(text: String) {
        #expect(throws: SpoolError.self) { try QueueFile.parseHead(ByteBuffer(string: text)) }
    }

    /// Sizes and times of a rotten file are not calculated with.
    @Test(arguments: [
        ("octets", "999999999999", true), ("octets", "1000000000000", false), ("octets", "9223372036854775807", false),
        ("octets", "-1", false), ("added", "9999999", true), ("added", "10000000", false),
        ("added", "9223372036854775807", false), ("arrived", "1099511627776", true),
        ("arrived", "1099511627777", false),
        ("arrived", "9223372036854775807", false), ("arrived", "-1", false),
    ])
    func numbersBeyondReasonAreCorrupt(name: String, value: String, isRead: Bool) throws {
        var lines = ["arrived": "1", "octets": "5", "added": "0"]
        lines[name] = value
        let text =
            lines.map { "\($0.key): \($0.value)\n" }.joined() + "id: 6kz1v8q0r5m7h2c9x4w3t1bd\nsender: <>\n"
            + "recipient: <a@b.example>\nchecksum: 0\n\nhello"
        let head = try? QueueFile.parseHead(ByteBuffer(string: text))
        #expect((head != nil) == isRead)
    }

    @Test func idsSortByTimeAndComeBack() throws {
        for random in [0, 1, 1023, UInt64.max, 0xdead_beef_0000_0001] {
            for time in [0, 1, 1_795_447_200_000_000, (1 << 56) - 1] as [UInt64] {
                let id = MessageID(time: time, random: random)
                #expect(id.description.utf8.count == MessageID.length)
                #expect(MessageID(id.description) == id)
                #expect(id.path == "\(MessageID.directory(id.shard))/\(id)")
            }
        }
        let early = MessageID(time: 1_795_447_200_000_000, random: .max)
        let late = MessageID(time: 1_795_447_200_000_001, random: 0)
        #expect(early < late)
        #expect(early.description < late.description)
        #expect(MessageID("6kz1v8q0r5m7h2c9x4w3t1bd") != nil)
        for text in [
            "", "6kz1v8q0r5m7h2c9x4w3t1b", "6kz1v8q0r5m7h2c9x4w3t1bdd", "6KZ1V8Q0R5M7H2C9X4W3T1BD",
            "../../../etc/passwd/aaaa",
        ] {
            #expect(MessageID(text) == nil)
        }
    }

    @Test func checksumIsCastagnoli() {
        // RFC 3720 appendix B.4
        var checksum = Checksum()
        checksum.add(ByteBuffer(repeating: 0, count: 32))
        #expect(checksum.value == 0x8a91_36aa)
        checksum = Checksum()
        checksum.add(ByteBuffer(bytes: 0..<32))
        #expect(checksum.value == 0x46dd_794e)
        checksum = Checksum()
        checksum.add("1234")
        checksum.add("56789")
        #expect(checksum.value == 0xe306_9283)
    }
}

@Suite struct DeliveryStateTests {
    static let entries = [
        StateEntry(
            time: 1,
            recipient: 1,
            event: .final(.delivered, EnhancedStatusCode(2, 0, 0)),
            text: "mx.example.net"
        ),
        StateEntry(time: 1, recipient: 1, event: .final(.relayed, EnhancedStatusCode(2, 0, 0)), text: "a  b "),
        StateEntry(time: 1, recipient: 1, event: .final(.expanded, EnhancedStatusCode(2, 1, 5))),
        StateEntry(time: 2, recipient: 20, event: .final(.failed, EnhancedStatusCode(5, 1, 1)), text: ""),
        StateEntry(
            time: 3,
            recipient: 3,
            event: .deferred(attempts: 2, next: 99, status: EnhancedStatusCode(4, 4, 1)),
            text: "no answer yet"
        ),
        StateEntry(time: 4, recipient: 0, event: .warned),
        StateEntry(time: 5, recipient: 0, event: .requeued),
        StateEntry(time: 6, recipient: 21, event: .added, text: "<al@example.net> NOTIFY=FAILURE"),
    ]

    /// Recipients that came later have the next numbers, whatever else is there; a long wish of the sender leaves room for the address.
    @Test func addedRecipientsAreInOrder() throws {
        let long = "<al@example.net> ORCPT=rfc822;" + String(repeating: "x", count: 480)
        let recipients = try ["<bob@example.net> NOTIFY=NEVER", long].map { try EnvelopeRecipient(parsing: $0.utf8) }
        var lines = StateEntry(time: 1, recipient: 1, event: .requeued).line
        for (number, recipient) in recipients.enumerated() {
            lines += StateEntry(time: 1, added: recipient, number: 3 + number).line
        }
        let entries = StateEntry.parse(ByteBuffer(string: lines))
        let added = StateEntry.added(entries, after: 2).map(\.description)
        #expect(added == ["<bob@example.net> NOTIFY=NEVER", "<al@example.net>"])
        // Written again after a failure, they are there once.
        #expect(StateEntry.added(entries + entries, after: 2).count == 2)
        #expect(StateEntry.added(entries, after: 1).isEmpty)
    }

    @Test(arguments: entries) func lineComesBackAsItWas(entry: StateEntry) {
        #expect(StateEntry.parse(ByteBuffer(string: entry.line)) == [entry])
    }

    @Test func tornAtEveryOctetTheWholeLinesStay() {
        let lines = Self.entries.map(\.line)
        let text = Array(lines.joined().utf8)
        for length in 0...text.count {
            var whole = 0
            var octets = 0
            for line in lines {
                octets += line.utf8.count
                // Also where only its LF is missing: the journal has it still.
                if octets <= length { whole += 1 }
            }
            #expect(StateEntry.parse(ByteBuffer(bytes: text[..<length])) == Array(Self.entries[..<whole]), "\(length)")
        }
    }

    /// An attempt that is still to be made is no end.
    @Test func delayedIsNotFinal() {
        let entry = StateEntry(time: 1, recipient: 1, event: .final(.delayed, EnhancedStatusCode(4, 0, 0)))
        #expect(StateEntry.parse(ByteBuffer(string: entry.line)) == [])
    }

    /// Attempts are counted on.
    @Test(arguments: [(Int(Int32.max), true), (Int(Int32.max) + 1, false), (.max, false), (-1, false)])
    func attemptsBeyondReasonAreNoLine(attempts: Int, isRead: Bool) {
        let event = StateEntry.Event.deferred(attempts: attempts, next: 1, status: EnhancedStatusCode(4, 2, 0))
        let entry = StateEntry(time: 1, recipient: 1, event: event)
        #expect(StateEntry.parse(ByteBuffer(string: entry.line)) == (isRead ? [entry] : []))
    }

    @Test func textCannotStartALine() {
        let entry = StateEntry(
            time: 1,
            recipient: 1,
            event: .final(.failed, EnhancedStatusCode(5, 0, 0)),
            text: "a\r\nb\u{0}c" + String(repeating: "x", count: 600)
        )
        #expect(entry.line.utf8.filter { $0 == 10 }.count == 1)
        let read = StateEntry.parse(ByteBuffer(string: entry.line))
        #expect(read.count == 1)
        #expect(read.first?.text.hasPrefix("a  b c") == true)
        #expect(read.first?.text.utf8.count == 500)
    }
}
