import NIOCore
import POP3
import Testing

@Suite struct CommandTests {
    private func parse(_ line: String) throws(CommandError) -> Command {
        try Command(parsing: ByteBuffer(string: line))
    }

    @Test(arguments: [
        ("USER mrose", Command.user("mrose")),
        ("user mrose@example.test", .user("mrose@example.test")),
        ("PASS a secret with  spaces ", .pass("a secret with  spaces ")),
        ("STAT", .stat), ("stat ", .stat), ("LIST", .list(nil)), ("LIST 2", .list(2)), ("UIDL 3", .uidl(3)),
        ("RETR 1", .retr(1)), ("TOP 1 10", .top(1, lines: 10)), ("TOP 10 0", .top(10, lines: 0)),
        ("DELE 4294967296", .dele(4_294_967_296)), ("RSET", .rset), ("NOOP", .noop), ("QUIT", .quit),
        ("CAPA", .capa), ("STLS", .stls),
        ("AUTH plain", .auth(mechanism: "PLAIN", initialResponse: nil)),
        ("AUTH PLAIN =", .auth(mechanism: "PLAIN", initialResponse: [UInt8(ascii: "=")])),
    ])
    func commandsAreRead(line: String, command: Command) throws {
        #expect(try parse(line) == command)
    }

    @Test(arguments: ["", " ", "XYZZY", "STATS", "RETRIEVE 1", "GET / HTTP/1.1", "\u{0}\u{1}"])
    func othersAreUnknown(line: String) {
        #expect(throws: CommandError.unknown) { try parse(line) }
    }

    @Test(arguments: [
        "USER", "USER ", "PASS", "STAT 1", "RETR", "RETR x", "RETR -1", "RETR 1 2", "TOP 1", "TOP 1 -1", "LIST 1 2",
        "DELE 99999999999999999999", "AUTH", "AUTH PLAIN a b", "QUIT now", "USER a\u{0}b",
    ])
    func argumentsAreChecked(line: String) {
        #expect(throws: CommandError.malformedArguments) { try parse(line) }
    }

    @Test func passwordsMustBeUTF8() {
        #expect(throws: CommandError.malformedArguments) {
            try Command(parsing: ByteBuffer(bytes: Array("PASS ".utf8) + [0xff]))
        }
    }

    @Test func noiseNeverTraps() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...40, using: &generator)
            let noise = (0..<count).map { _ in UInt8.random(in: 0 ... .max, using: &generator) }
            _ = try? Command(parsing: ByteBuffer(bytes: noise))
            _ = try? Command(parsing: ByteBuffer(bytes: Array("TOP ".utf8) + noise))
        }
    }
}

@Suite struct ResponseTests {
    @Test func linesAreWritten() {
        var output = ByteBuffer()
        output.writeOK("2 320")
        output.writeError(.inUse, "another session")
        output.writeError(nil, "no such message")
        output.writeChallenge("")
        output.writeListingEnd()
        #expect(
            String(buffer: output)
                == "+OK 2 320\r\n-ERR [IN-USE] another session\r\n-ERR no such message\r\n+ \r\n.\r\n"
        )
    }

    @Test func textCannotEndTheLine() {
        var output = ByteBuffer()
        output.writeOK("a\r\nb" + String(repeating: "x", count: 1000))
        #expect(output.readableBytes <= 512)
        #expect(String(buffer: output).hasPrefix("+OK a  bx"))
    }

    @Test func passwordsAreNotOfferedInTheClear() {
        #expect(
            !Capabilities(startTLS: true, login: false, mechanisms: []).lines.contains {
                $0 == "USER" || $0.hasPrefix("SASL")
            }
        )
        #expect(Capabilities(startTLS: true, login: false, mechanisms: ["PLAIN"]).lines.contains("STLS"))
        #expect(Capabilities(startTLS: false, login: true, mechanisms: ["PLAIN"]).lines.contains("USER"))
    }
}
