import MIME
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

@Suite struct PartsTests {
    struct Header: Equatable {
        var hops = 0
        var fields = ""
        var lacks = false
        var isComplete = true
    }

    private func scan(_ text: String, step: Int) -> Header {
        var scanner = HeaderScanner()
        var input = ByteBuffer(string: text)
        while let part = input.readSlice(length: min(step, input.readableBytes)), part.readableBytes > 0 {
            scanner.scan(part)
        }
        let fields = (scanner.hasDate ? "d" : "") + (scanner.hasFrom ? "f" : "") + (scanner.hasMessageID ? "m" : "")
        return Header(hops: scanner.hops, fields: fields, lacks: scanner.lacksHeader, isComplete: scanner.isComplete)
    }

    @Test(arguments: [
        ("Message-ID: <a@b>\r\n\r\n", "<a@b>"),
        ("Subject: x\r\nmessage-id:\r\n <c@d> (one)\r\nX: <y>\r\n\r\n", "<c@d>"),
        ("Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\n", "<a@b>"),
        ("Message-ID: none\r\n\r\nMessage-ID: <a@b>\r\n", nil),
        ("Subject: <x>\r\n\r\n", nil), ("Message-ID: <" + String(repeating: "x", count: 1000) + ">\r\n\r\n", "<xxx"),
    ]) func messageIDIsTaken(text: String, expected: String?) {
        for step in [1, 7, 10_000] {
            var scanner = HeaderScanner()
            var input = ByteBuffer(string: text)
            while let part = input.readSlice(length: min(step, input.readableBytes)), part.readableBytes > 0 {
                scanner.scan(part)
            }
            let found = scanner.messageID
            #expect(found.map { String($0.prefix(expected?.count ?? 0)) } == expected)
            #expect(found?.utf8.count ?? 0 <= 250)
        }
    }

    @Test(
        arguments: [
            ("\r\nDate: x\r\n", Header()),
            ("Date: x\r\nfrom: a\r\nMESSAGE-ID: <a>\r\n\r\nReceived: x\r\n", Header(fields: "dfm")),
            ("Received: a\r\n\tReceived: b\r\nreceived : c\r\n\r\n", Header(hops: 2)),
            ("Dates: x\r\nX-From: y\r\nMessage-IDs: z\r\n\r\n", Header()),
            ("Subject: x\r\n", Header(isComplete: false)),
            ("Subject: x\r\nno field\r\nDate: x\r\n\r\n", Header()),
            ("just text\r\n", Header(lacks: true)),
            (" folded first\r\nDate: x\r\n\r\n", Header(lacks: true)),
            ("", Header(isComplete: false)),
            (String(repeating: "x", count: 5000) + ": y\r\nDate: x\r\n\r\n", Header(fields: "d")),
        ]
    )
    func headers(text: String, expected: Header) {
        for step in [1, 3, 1000, 10_000] {
            #expect(scan(text, step: step) == expected)
        }
    }

    @Test func traceFieldHoldsNothingOfTheClientsOwnMaking() throws {
        var buffer = ByteBuffer()
        TraceField(
            helo: "evil) by (x;\"\\",
            client: "2001:db8::1",
            hostname: "mail.example.test",
            protocolName: "ESMTPS",
            tls: "TLSv1.3 with cipher X",
            id: "id1",
            recipient: try MailAddress(parsing: "bob@example.test".utf8)
        ).write(date: DateTime(secondsSince1970: 0), to: &buffer)
        #expect(
            String(buffer: buffer) == """
                Received: from evil??by??x??? ([IPv6:2001:db8::1])\r
                \t(using TLSv1.3 with cipher X)\r
                \tby mail.example.test with ESMTPS id id1\r
                \tfor <bob@example.test>;\r
                \tThu, 1 Jan 1970 00:00:00 +0000\r

                """
        )
    }

    @Test(
        arguments: [
            ("192.0.2.0/24", "192.0.2.77", true), ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.128/25", "192.0.2.127", false), ("192.0.2.128/25", "192.0.2.129", true),
            ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false), ("0.0.0.0/0", "203.0.113.9", true),
            ("2001:db8::/32", "2001:db8:1::1", true), ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true), ("0.0.0.0/0", "::1", false), ("127.0.0.0/8", "::ffff:127.0.0.1", true),
        ]
    )
    func addressBlocks(block: String, address: String, isInside: Bool) throws {
        let octets = try #require(try SocketAddress(ipAddress: address, port: 0).addressOctets)
        #expect(try #require(AddressRange(block)).contains(octets) == isInside)
    }

    @Test(arguments: ["", "x", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/", "192.0.2.1/24", "::/129", "1.2.3.4/8/8"])
    func notAddressRanges(text: String) {
        #expect(AddressRange(text) == nil)
    }

    @Test func envelopeFitsOneFrame() throws {
        var limits = SessionLimits()
        limits.recipients = 20_000
        var transaction = Transaction(sender: EnvelopeSender(.null))
        let domain = [String](repeating: String(repeating: "d", count: 46), count: 4).joined(separator: ".")
        while transaction.hasRoom(limits) {
            let localPart = "\(transaction.recipients.count)" + String(repeating: "x", count: 50)
            transaction.add(EnvelopeRecipient(try MailAddress(localPart: localPart, domain: domain)))
        }
        #expect(transaction.recipients.count > 3000)
        let size = transaction.recipients.reduce(0) { $0 + "recipient: \($1)\n".utf8.count }
        #expect(size < 1024 * 1024 - 4096)
    }
}
