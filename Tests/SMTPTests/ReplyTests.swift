import NIOCore
import Testing

@testable import SMTP

@Suite struct ReplyTests {
    private func written(_ reply: Reply) -> String {
        var buffer = ByteBuffer()
        reply.write(to: &buffer)
        return String(buffer: buffer)
    }

    @Test func writes() {
        #expect(written(Reply(.ok, .recipientValid, "ok")) == "250 2.1.5 ok\r\n")
        #expect(written(Reply(.ready, nil, "mail.example.test")) == "220 mail.example.test\r\n")
        #expect(
            written(Reply(.ok, nil, lines: ["mail.example.test", "PIPELINING", "SIZE 10"]))
                == "250-mail.example.test\r\n250-PIPELINING\r\n250 SIZE 10\r\n"
        )
        #expect(written(Reply(.ok, nil, "a\r\n250 b")) == "250 a  250 b\r\n")
        #expect(written(Reply(.ok, EnhancedStatusCode(5, 10, 125), "x")) == "250 5.10.125 x\r\n")
    }

    @Test(
        arguments: [
            ("250 ok\r\n", [Reply(.ok, nil, "ok")]),
            ("250\r\n", [Reply(.ok, nil, "")]),
            ("250 \n", [Reply(.ok, nil, "")]),
            ("250 2.1.5 fine\r\n", [Reply(.ok, .recipientValid, "fine")]),
            ("250 5.1.5 odd\r\n", [Reply(.ok, nil, "5.1.5 odd")]),
            (
                "550-5.1.1 no\r\n550 5.1.1 such\r\n",
                [Reply(.mailboxUnavailable, .noSuchMailbox, lines: ["no", "such"])]
            ),
            (
                "250-a\r\n250-\r\n250 c\r\n354 go\r\n",
                [Reply(.ok, nil, lines: ["a", "", "c"]), Reply(.startMailInput, nil, "go")]
            ),
            ("550 a\u{1}b\r\n", [Reply(.mailboxUnavailable, nil, "a?b")]),
            ("550 5.1.1\r\n", [Reply(.mailboxUnavailable, .noSuchMailbox, "")]),
        ]
    )
    func readsWholeAndDrop(text: String, expected: [Reply]) throws {
        for step in [1, 2, text.utf8.count] {
            var parser = ReplyParser()
            var input = ByteBuffer()
            var replies: [Reply] = []
            for byte in text.utf8.enumerated() {
                input.writeInteger(byte.element)
                guard (byte.offset + 1) % step == 0 || byte.offset + 1 == text.utf8.count else { continue }
                while let reply = try parser.next(&input) { replies.append(reply) }
            }
            #expect(replies == expected)
            #expect(input.readableBytes == 0)
        }
    }

    @Test(arguments: [
        "hello\r\n", "\r\n", "25\r\n", "250x\r\n", "199 a\r\n", "600 a\r\n", "250-a\r\n251 b\r\n", "\0\0\0\0\n",
    ])
    func refuses(text: String) {
        var parser = ReplyParser()
        var input = ByteBuffer(string: text)
        #expect(throws: ReplyError.malformed) {
            while try parser.next(&input) != nil {}
        }
    }

    @Test func limits() {
        var parser = ReplyParser()
        var long = ByteBuffer(repeating: UInt8(ascii: "2"), count: 5000)
        #expect(throws: ReplyError.tooLong) { try parser.next(&long) }
        var many = ByteBuffer()
        for _ in 0..<2000 { many.writeString("250-x\r\n") }
        parser = ReplyParser()
        #expect(throws: ReplyError.tooLong) { try parser.next(&many) }
    }

    @Test(arguments: ["2.0.0", "5.1.1", "4.999.999"])
    func statusCodes(text: String) {
        #expect(EnhancedStatusCode(parsing: text.utf8)?.description == text)
    }

    @Test(arguments: ["", "5", "5.1", "5.1.", "3.1.1", "5.1.1.1", "5.1234.1", "5..1", "a.b.c", "5.1.1 "])
    func notStatusCodes(text: String) {
        #expect(EnhancedStatusCode(parsing: text.utf8) == nil)
    }
}
