import NIOCore
import Testing

@testable import SMTP

@Suite struct ExtensionTests {
    private func mail(_ text: String) throws -> MailParameters {
        guard case .mail(_, let parameters) = try Command(parsing: "MAIL FROM:<a@b.example> \(text)".utf8) else {
            throw CommandError.unknown
        }
        return parameters
    }

    private func recipient(_ text: String) throws -> RecipientParameters {
        let command = try Command(parsing: "RCPT TO:<a@b.example> \(text)".utf8, options: .utf8)
        guard case .rcpt(_, let parameters) = command else { throw CommandError.unknown }
        return parameters
    }

    /// Every parameter that is taken belongs to an extension, and is written as it's read.
    @Test(
        arguments: [
            ("SIZE=5", ServiceExtension.size), ("BODY=8BITMIME", .eightBitMIME), ("BODY=BINARYMIME", .binaryMIME),
            ("AUTH=<>", .auth), ("RET=HDRS", .dsn), ("ENVID=QQ314159", .dsn), ("SMTPUTF8", .utf8),
            ("REQUIRETLS", .requireTLS), ("BY=120;R", .deliverBy), ("BY=-1;NT", .deliverBy),
            ("HOLDFOR=3600", .futureRelease), ("HOLDUNTIL=2027-05-01T08:30:00Z", .futureRelease),
            ("MT-PRIORITY=-9", .priority),
        ]
    )
    func parametersBelongToExtensions(text: String, expected: ServiceExtension) throws {
        let parameters = try mail(text)
        #expect(parameters.used.map(\.serviceExtension) == [expected])
        #expect(EnvelopeSender(.null, parameters: parameters).description == "<> \(text)")
    }

    @Test(
        arguments: [
            "BY=0;R", "BY=-1;R", "BY=1", "BY=1;", "BY=1;Q", "BY=1;RX", "BY=1;RTT", "BY=;R", "BY=1234567890;N", "BY",
            "HOLDFOR=0", "HOLDFOR=-1", "HOLDFOR=1234567890", "HOLDFOR", "HOLDFOR=1 HOLDUNTIL=2027-05-01T08:30:00Z",
            "HOLDUNTIL=2027-02-29T08:30:00Z", "HOLDUNTIL=2027-05-01T08:30:00", "HOLDUNTIL=2027-05-01 08:30:00Z",
            "HOLDUNTIL=2027-13-01T08:30:00Z", "HOLDUNTIL=tomorrow", "MT-PRIORITY=10", "MT-PRIORITY=", "MT-PRIORITY=--1",
            "MT-PRIORITY=+1", "REQUIRETLS=YES", "SMTPUTF8=1", "ENVID=a+b", "ENVID=+C3+B6", "ENVID=+0D", "RET=ALL",
            "RET=FULL RET=FULL",
        ]
    )
    func malformedParameters(text: String) {
        #expect {
            try mail(text)
        } throws: { error in
            guard case .sender(.malformedParameter)? = error as? CommandError else { return false }
            return true
        }
    }

    @Test func timesAreReadAndWritten() {
        #expect(InternetTimestamp.seconds("1970-01-01T00:00:00Z".utf8) == 0)
        #expect(InternetTimestamp.seconds("2000-02-29T23:59:60.5Z".utf8) == 951_868_800)
        #expect(InternetTimestamp.seconds("1990-12-31T15:59:60-08:00".utf8) == 662_688_000)
        #expect(InternetTimestamp.seconds("1937-01-01T12:00:27.87+00:20".utf8) == -1_041_337_173)
        for seconds in stride(from: -60_000_000_000 as Int64, to: 200_000_000_000, by: 987_654_321) {
            #expect(InternetTimestamp.seconds(InternetTimestamp.text(seconds).utf8) == seconds)
        }
    }

    @Test(
        arguments: [
            ("NOTIFY=NEVER", "NOTIFY=NEVER"), ("notify=delay,Success", "NOTIFY=SUCCESS,DELAY"),
            ("ORCPT=rfc822;Bob@Example.com", "ORCPT=rfc822;Bob@Example.com"),
            ("ORCPT=rfc822;Carol+2BTag@Ivory.EDU", "ORCPT=rfc822;Carol+2BTag@Ivory.EDU"),
            ("ORCPT=utf-8;j\\x{F6}rg@b\\x{FC}cher.example", "ORCPT=utf-8;j\\x{F6}rg@b\\x{FC}cher.example"),
            ("ORCPT=utf-8;j\u{F6}rg@example.net", "ORCPT=utf-8;j\\x{F6}rg@example.net"),
            ("ORCPT=UTF-8;+C3+B6@example.net", "ORCPT=UTF-8;\\x{F6}@example.net"),
            ("ORCPT=utf-8;\\x{1F600}+2B\\x{5C}@example.net", "ORCPT=utf-8;\\x{1F600}\\x{2B}\\x{5C}@example.net"),
        ]
    )
    func recipientParameters(text: String, written: String) throws {
        let parameters = try recipient(text)
        #expect(parameters.used.allSatisfy { $0.serviceExtension == .dsn })
        let address = try MailAddress(parsing: "a@b.example".utf8)
        #expect(EnvelopeRecipient(address, parameters: parameters).description == "<a@b.example> \(written)")
        #expect(try recipient(written) == parameters)
    }

    @Test(
        arguments: [
            "NOTIFY=", "NOTIFY=NEVER,DELAY", "NOTIFY=SOMETIMES", "NOTIFY=SUCCESS,", "ORCPT=bob@example.com", "ORCPT=;b",
            "ORCPT=rfc822;", "ORCPT=rfc822;a+b", "ORCPT=rfc822;\u{F6}", "ORCPT=utf-8;\\x{}", "ORCPT=utf-8;\\x{D800}",
            "ORCPT=utf-8;\\x{A}", "ORCPT=utf-8;\\x{110000}", "ORCPT=utf-8;\\y", "ORCPT=utf-8;\\x{41",
            "NOTIFY=NEVER NOTIFY=NEVER",
        ]
    )
    func malformedRecipientParameters(text: String) {
        #expect(throws: CommandError.self) { try recipient(text) }
    }

    @Test func whatIsBuiltOnAnExtensionGoesWithIt() {
        let offered = ServiceExtension.all(without: [.chunking, .eightBitMIME])
        #expect(!offered.contains(.binaryMIME))
        #expect(!offered.contains(.utf8))
        #expect(offered.contains(.dsn))
        #expect(ServiceExtension(keyword: "mt-priority") == .priority)
        #expect(ServiceExtension(keyword: "ETRN") == nil)
    }

    @Test func termsAreFieldsAndBack() {
        var terms = DeliveryTerms()
        terms.deadline = DeliveryTerms.Deadline(time: 1_795_451_599, mode: .notify, isTraced: true)
        terms.holdUntil = 1_795_451_000
        terms.priority = -4
        let fields = Dictionary(uniqueKeysWithValues: terms.fields.map { ("\($0.name)", $0.value) })
        #expect(fields == ["deliver-by": "1795451599 NT", "hold-until": "1795451000", "priority": "-4"])
        let back = DeliveryTerms(
            deliverBy: fields["deliver-by"],
            holdUntil: fields["hold-until"],
            priority: fields["priority"]
        )
        #expect(back == terms)
        #expect(DeliveryTerms(deliverBy: "x R", holdUntil: "-1", priority: "10") == DeliveryTerms())
        #expect(DeliveryTerms(deliverBy: "1 Q", holdUntil: "9999999999999999", priority: "") == DeliveryTerms())
    }

    @Test func attributesOfClients() throws {
        let line = "NAME=spike.porcupine.org ADDR=IPv6:2001:db8::1 PORT=[UNAVAILABLE] HELO=a+20b LOGIN=[TEMPUNAVAIL]"
        let attributes = try #require(ClientAttributes(parsing: line.utf8))
        #expect(attributes[.name] == "spike.porcupine.org")
        #expect(attributes.ipAddress(.address) == "2001:db8::1")
        #expect(attributes[.port] == nil)
        #expect(attributes[.helo] == "a b")
        #expect(attributes[.login] == nil)
        #expect(attributes.named == [.name, .address, .port, .helo, .login])
    }

    /// Any split into pieces gives the same.
    @Test(
        arguments: [
            ("a\r\nbc\r\n", false, 2), ("a\nb", true, 1), ("a\rb", true, 2), ("abc\r", true, 3), ("\r\r\n", true, 0),
            ("", false, 0), ("abcdefghijk\r\nx", false, 11),
        ]
    )
    func linesOfChunks(text: String, isBare: Bool, longest: Int) {
        for size in 1...max(1, text.utf8.count) {
            var scanner = ChunkScanner()
            var rest = ByteBuffer(string: text)
            while let piece = rest.readSlice(length: min(size, rest.readableBytes)), piece.readableBytes > 0 {
                scanner.scan(piece)
            }
            scanner.finish()
            #expect(scanner.hasBareLineEnd == isBare)
            #expect(scanner.longestLine == longest)
        }
    }
}
