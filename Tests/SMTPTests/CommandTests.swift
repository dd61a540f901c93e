import Testing

@testable import SMTP

@Suite struct CommandTests {
    @Test(
        arguments: [
            ("HELO mail.example.test", Command.helo("mail.example.test")),
            ("ehlo [192.0.2.1] ", .ehlo("[192.0.2.1]")),
            ("DATA", .data),
            ("data  ", .data),
            ("RSET", .rset),
            ("NOOP", .noop),
            ("NOOP with words", .noop),
            ("HELP MAIL", .help("MAIL")),
            ("QUIT", .quit),
            ("StartTLS", .startTLS),
            ("VRFY alice smith", .vrfy("alice smith", isUTF8: false)),
            ("EXPN list", .expn("list", isUTF8: false)),
            ("EXPN list smtputf8", .expn("list", isUTF8: true)),
            ("LHLO client.example", .lhlo("client.example")),
            ("BDAT 12", .bdat(octets: 12, isLast: false)),
            ("bdat 0 last ", .bdat(octets: 0, isLast: true)),
            ("BDAT 99999999999999999999", .bdat(octets: .max, isLast: false)),
            ("AUTH plain", .auth(mechanism: "PLAIN", initialResponse: nil)),
            ("AUTH PLAIN =", .auth(mechanism: "PLAIN", initialResponse: Array("=".utf8))),
            ("AUTH PLAIN AGEAYg==", .auth(mechanism: "PLAIN", initialResponse: Array("AGEAYg==".utf8))),
            ("MAIL FROM:<>", .mail(.null, MailParameters())),
            ("MAIL FROM: <>", .mail(.null, MailParameters())),
            ("RCPT TO:<postmaster>", .rcpt(.postmaster, RecipientParameters())),
        ]
    )
    func reads(line: String, command: Command) throws {
        #expect(try Command(parsing: line.utf8) == command)
    }

    @Test func mailAndRecipientWithParameters() throws {
        guard case .mail(let path, let parameters) = try Command(parsing: "mail from:<a@x> SIZE=5 BODY=7BIT".utf8)
        else {
            Issue.record("not MAIL")
            return
        }
        #expect(path.description == "<a@x>")
        #expect(parameters.size == 5)
        #expect(parameters.body == .sevenBit)
        guard case .rcpt(.mailbox(let address), let more) = try Command(parsing: "RCPT TO:<b@x> NOTIFY=NEVER".utf8)
        else {
            Issue.record("not RCPT")
            return
        }
        #expect(address.description == "b@x")
        #expect(more.notify == .never)
    }

    @Test(
        arguments: [
            ("", CommandError.unknown),
            (" DATA", .unknown),
            ("DAT", .unknown),
            ("DATAX", .unknown),
            ("STARTTLSXX", .unknown),
            ("DATA\tx", .unknown),
            ("MAIL\0", .unknown),
            ("GET / HTTP/1.1", .unknown),
            ("\u{16}\u{3}\u{1}", .unknown),
            ("DATA now", .malformedArgument),
            ("QUIT x", .malformedArgument),
            ("HELO", .malformedArgument),
            ("EHLO   ", .malformedArgument),
            ("LHLO", .malformedArgument),
            ("VRFY", .malformedArgument),
            ("BDAT", .malformedChunk),
            ("BDAT 5 FIRST", .malformedChunk),
            ("BDAT 5LAST", .malformedChunk),
            ("BDAT +5", .malformedChunk),
            ("BDAT é", .malformedChunk),
            ("XCLIENT", .malformedArgument),
            ("XCLIENT ADDR", .malformedArgument),
            ("XCLIENT ADDR=a ADDR=b", .malformedArgument),
            ("XCLIENT PORTS=1", .malformedArgument),
            ("VRFY é", .illegalOctet),
            ("MAIL", .malformedArgument),
            ("MAIL TO:<a@x>", .malformedArgument),
            ("MAIL FROM:a@x", .sender(.malformedAddress)),
            ("MAIL FROM:<a@x> FOO", .sender(.unknownParameter("FOO"))),
            ("MAIL FROM:<a@x\r\n>", .illegalOctet),
            ("RCPT FROM:<a@x>", .malformedArgument),
            ("RCPT TO:<>", .recipient(.malformedAddress)),
            ("RCPT TO:<a@x> SIZE=1", .recipient(.unknownParameter("SIZE"))),
            ("AUTH", .malformedArgument),
            ("AUTH PLAIN a b", .malformedArgument),
            ("AUTH AVERYLONGMECHANISMNAME", .malformedArgument),
        ]
    )
    func refuses(line: String, error: CommandError) {
        #expect(throws: error) { try Command(parsing: line.utf8) }
    }

    @Test func everyOctetInEveryPlaceIsSurvived() {
        let lines = [
            "MAIL FROM:<a@x> SIZE=1", "RCPT TO:<\"b\"@[1.2.3.4]> ORCPT=rfc822;a+20b", "AUTH PLAIN AAAA", "EHLO a",
        ]
        for line in lines.map({ Array($0.utf8) }) {
            for index in line.indices {
                for octet in UInt8.min...UInt8.max {
                    var changed = line
                    changed[index] = octet
                    _ = try? Command(parsing: changed, options: .utf8)
                    _ = try? Command(parsing: changed[..<index])
                }
            }
        }
    }

    /// Odd names are nobody's fault but a program's.
    @Test func namesAreTakenAsTheyCome() throws {
        #expect(try Command(parsing: "EHLO  my laptop ".utf8) == .ehlo("my laptop"))
        #expect(try Command(parsing: Array("HELO b".utf8) + [0xFC, 0x72, 0x6F]) == .helo("b?ro"))
        #expect(try Command(parsing: Array("HELO b".utf8) + [0xFC, 0x72, 0x6F], options: .utf8) == .helo("b?ro"))
        #expect(try Command(parsing: "EHLO b\u{FC}ro".utf8, options: .utf8) == .ehlo("b\u{FC}ro"))
        #expect(try Command(parsing: "EHLO b\u{FC}ro".utf8) == .ehlo("b??ro"))
        #expect(try Command(parsing: "LHLO a\u{7}\tb".utf8, options: .utf8) == .lhlo("a??b"))
        let name = String(repeating: "a", count: 300)
        #expect(try Command(parsing: "EHLO \(name)".utf8) == .ehlo(String(name.prefix(255))))
    }
}
