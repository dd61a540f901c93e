import MailIndex
import Testing

@testable import IMAPServer
@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// What is kept of messages is answered as from the messages themselves.
@Suite struct IndexTests {
    private static let message = """
        Received: from a.example.test\r
        From: "A B" <a-b (x)@ (y) c.test>\r
        Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and more\r
        Date: Mon, 7 Feb 1994 21:52:25 -0800\r
        References: <1@x.test>\r
        X-Other: not kept\r
        Content-Type: multipart/mixed; boundary=b\r
        \r
        --b\r
        Content-Type: text/plain; charset=iso-8859-1\r
        Content-Transfer-Encoding: quoted-printable\r
        \r
        Die Stra=DFe ist lang.\r
        --b\r
        Content-Type: application/pdf; name="invoice.pdf"\r
        Content-Transfer-Encoding: base64\r
        \r
        QUJD\r
        --b--\r

        """

    private static let questions = [
        "FETCH 1:* (UID ENVELOPE)", "FETCH 1:* BODYSTRUCTURE", "FETCH 1:* BODY",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT From DATE)]",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (X-Other Subject)]",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (References)]<0.10>", "FETCH 2 (ENVELOPE BODY.PEEK[1] BODYSTRUCTURE)",
        "SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE FROM) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL",
        "SEARCH SUBJECT more", "SEARCH FROM a-b@c.test", "SEARCH HEADER X-Other kept", "SEARCH SENTBEFORE 1-Jan-2000",
        "SEARCH TEXT \"ist lang\"", "SEARCH BODY invoice", "SEARCH BODY more", "SEARCH NOT TEXT lang", "SEARCH TEXT ab",
        "SEARCH OR SUBJECT nothing TEXT multipart",
    ]

    private static func fill(_ client: TestClient) async throws {
        try await client.append(Array(message.utf8))
        try await client.append(Array("Subject: other\r\nFrom: z@x.test\r\n\r\nmore ab text\r\n".utf8))
        try await client.append(Array("no header at all\r\n".utf8))
    }

    private static func answers(_ client: TestClient) async throws -> [[String]] {
        var answers: [[String]] = []
        for question in questions { answers.append(try await client.untagged(question)) }
        return answers
    }

    private static func indexFile(_ system: TestSystem) -> String { "\(system.directory)/mail/alice/martlet-index" }

    @Test func answersAreTheSameWithAndWithoutIt() async throws {
        try await TestSystem.run(indexesText: true) { system in
            let client = try await system.client()
            try await Self.fill(client)
            _ = try await client.command("SELECT INBOX")
            let first = try await Self.answers(client)
            #expect(access(Self.indexFile(system), F_OK) == 0)
            #expect(try await Self.answers(client) == first)
            // Until all texts are in it.
            let index = MessageIndex(path: Self.indexFile(system)) { Issue.record("\($0)") }
            let validity = try #require(
                try await client.command("STATUS INBOX (UIDVALIDITY)").first?.split(separator: " ").last
            )
            let folder = try #require(index.folder("INBOX", validity: UInt32(validity.dropLast()) ?? 0))
            while folder.textStates().count < 3 { try await Task.sleep(for: .milliseconds(10)) }
            let later = try await system.client()
            _ = try await later.command("SELECT INBOX")
            #expect(try await Self.answers(later) == first)
            // And without any.
            for end in ["", "-wal", "-shm"] { unlink(Self.indexFile(system) + end) }
            let last = try await system.client()
            _ = try await last.command("EXAMINE INBOX")
            #expect(try await Self.answers(last) == first)
        }
    }

    /// Also of what comes while the folder is selected.
    @Test func textsOfArrivalsAreIndexed() async throws {
        try await TestSystem.run(indexesText: true) { system in
            let client = try await system.client()
            try await Self.fill(client)
            _ = try await client.command("SELECT INBOX")
            let validity = try #require(
                try await client.command("STATUS INBOX (UIDVALIDITY)").first?.split(separator: " ").last
            )
            let index = MessageIndex(path: Self.indexFile(system)) { Issue.record("\($0)") }
            let folder = try #require(index.folder("INBOX", validity: UInt32(validity.dropLast()) ?? 0))
            while folder.textStates().count < 3 { try await Task.sleep(for: .milliseconds(10)) }
            try await client.append(Array("Subject: late\r\n\r\nzephyrine\r\n".utf8))
            _ = try await client.command("NOOP")
            while folder.textStates().count < 4 { try await Task.sleep(for: .milliseconds(10)) }
            #expect(folder.lookUp([(Array("zephyrine".utf8), false)]).candidates == [[4]])
            #expect(try await client.untagged("SEARCH TEXT zephyrine") == ["* SEARCH 4"])
        }
    }

    @Test func whatIsKeptOfAnotherMessageIsNotTakenForIt() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await Self.fill(client)
            _ = try await client.command("SELECT INBOX")
            let right = try await client.untagged("FETCH 2 ENVELOPE")
            let validity = try #require(
                try await client.command("STATUS INBOX (UIDVALIDITY)").first?.split(separator: " ").last
            )
            let index = MessageIndex(path: Self.indexFile(system)) { Issue.record("\($0)") }
            let folder = try #require(index.folder("INBOX", validity: UInt32(validity.dropLast()) ?? 0))
            let wrong = IndexedMessage(uid: 2, identity: 1)
            folder.keep([(wrong, .envelope, Array("(wrong)".utf8))])
            folder.keep([FolderIndex.Text(message: IndexedMessage(uid: 3, identity: 1), header: [], body: [])])
            #expect(try await client.untagged("FETCH 2 ENVELOPE") == right)
            #expect(try await client.command("SEARCH TEXT \"at all\"").first == "* SEARCH 3")
        }
    }

    @Test func damageCostsTimeAlone() async throws {
        try await TestSystem.run(indexesText: true) { system in
            let client = try await system.client()
            try await Self.fill(client)
            _ = try await client.command("SELECT INBOX")
            let first = try await Self.answers(client)
            _ = try await client.command("LOGOUT")
            for end in ["-wal", "-shm"] { unlink(Self.indexFile(system) + end) }
            let noise = [UInt8](repeating: 0xA5, count: 20_000)
            let file = open(Self.indexFile(system), O_WRONLY)
            #expect(write(file, noise, noise.count) == noise.count)
            close(file)
            let later = try await system.client()
            _ = try await later.command("SELECT INBOX")
            #expect(try await Self.answers(later) == first)
            #expect(try await Self.answers(later) == first)
        }
    }
}

extension TestClient {
    /// The untagged lines of an answer that is OK.
    fileprivate func untagged(_ command: String) async throws -> [String] {
        var lines = try await self.command(command)
        #expect(lines.popLast()?.contains(" OK ") == true)
        return lines
    }
}
