import SMTP
import Testing

@Suite struct VariableSenderTests {
    @Test(arguments: [
        ("<news@lists.example>", "ann@example.net", "<news+ann=example.net@lists.example>"),
        ("<news@lists.example>", "\"a b\"@example.net", "<\"news+a b=example.net\"@lists.example>"),
        ("<>", "ann@example.net", "<>"), ("<news@lists.example>", "ann@[192.0.2.1]", "<news@lists.example>"),
    ])
    func paths(sender: String, recipient: String, expected: String) throws {
        let path = try ReversePath(parsing: sender.utf8)
        let address = try MailAddress(parsing: recipient.utf8)
        #expect(VariableSender.standard.path(path, for: address).description == expected)
    }

    @Test(arguments: [
        ("<a@b.c> XVERP", "<a@b.c> XVERP=+="), ("<a@b.c> xverp=-+ BODY=7BIT", "<a@b.c> BODY=7BIT XVERP=-+"),
    ])
    func parameters(text: String, expected: String) throws {
        #expect(try EnvelopeSender(parsing: text.utf8).description == expected)
    }

    @Test(arguments: ["XVERP=", "XVERP=+", "XVERP=+=-", "XVERP=ab", "XVERP XVERP"])
    func malformed(text: String) {
        #expect(throws: EnvelopeError.self) { _ = try EnvelopeSender(parsing: "<a@b.c> \(text)".utf8) }
    }
}
