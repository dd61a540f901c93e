import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct NULTests {
    /// No literal may hold it; what a stranger has sent is shown all the same, with its length.
    @Test func nulsOfMessagesAreSentAsAnotherOctet() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.command("SELECT INBOX")
            let message = Array("Subject: a\0b\r\n\r\nc\0d\r\n".utf8)
            let file = open("\(system.directory)/mail/alice/new/1.Q1.host", O_WRONLY | O_CREAT | O_EXCL, 0o600)
            #expect(file >= 0 && write(file, message, message.count) == message.count)
            close(file)
            #expect(try await client.command("NOOP").contains("* 1 EXISTS"))
            for item in [
                "BODY.PEEK[]", "RFC822", "BODY.PEEK[TEXT]", "BODY.PEEK[1]", "BODY.PEEK[HEADER]",
                "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "BODY.PEEK[HEADER.FIELDS.NOT (FROM)]", "ENVELOPE",
                "BODY.PEEK[]<0.12>",
            ] {
                let answer = try await client.command("FETCH 1 \(item)").joined(separator: "\n")
                #expect(!answer.contains("\0") && answer.contains("\u{FFFD}") && answer.contains(" OK "), "\(item)")
            }
            #expect(try await client.command("FETCH 1 BODY.PEEK[]")[0].hasSuffix("{\(message.count)}"))
        }
    }

    @Test func nulsAreNotTaken() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            for text in ["Subject: a\0b\r\n\r\nc\r\n", "\0", String(repeating: "x", count: 100_000) + "\0y"] {
                let answer = try await client.command("APPEND INBOX {\(text.utf8.count)+}\r\n\(text)")
                #expect(answer.count == 1 && answer[0].contains(" NO "))
            }
            #expect(try await client.command("SUBSCRIBE {3+}\r\na\0b").last?.contains(" BAD ") == true)
            #expect(try await client.command("STATUS INBOX (MESSAGES)")[0] == "* STATUS INBOX (MESSAGES 0)")
        }
    }
}
