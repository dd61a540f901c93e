import Deliverer
import NIOCore
import SMTP
import Testing

@testable import RemoteRelay

#if canImport(Glibc)
import Glibc
#endif

/// What remote-relay makes of extensions that other hosts have or lack.
extension DeliveryTests {
    private func host(_ extensions: String...) -> ScriptedServer.Script {
        let lines = (["sink"] + extensions).enumerated().map { index, line in
            "250\(index == extensions.count ? " " : "-")\(line)\r\n"
        }
        return script(["EHLO": [lines.joined()], "BDAT": ["250 2.0.0 taken\r\n"]])
    }

    private static let binary =
        "MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\u{1}\n\r\u{0}\r\n.\r\n"

    @Test func binaryMailGoesInAChunk() async throws {
        let (results, servers) = try await deliver(
            [host("PIPELINING", "CHUNKING", "BINARYMIME", "SIZE", "8BITMIME")],
            sender: "<a@example.test> BODY=BINARYMIME",
            message: Self.binary
        )
        #expect(results.map(\.action) == [.relayed])
        let octets = Self.binary.utf8.count
        #expect(servers[0].commands.contains("MAIL FROM:<a@example.test> SIZE=\(octets) BODY=BINARYMIME"))
        #expect(servers[0].commands.contains("BDAT \(octets) LAST"))
        #expect(servers[0].messages == [Self.binary])
    }

    /// Of those who take no binary mail each recipient is told what became of it all the same.
    @Test(arguments: [["8BITMIME", "CHUNKING"], ["8BITMIME"], []])
    func binaryMailBecomesLines(extensions: [String]) async throws {
        let lines = (["sink"] + extensions).enumerated().map { "250\($0 == extensions.count ? " " : "-")\($1)\r\n" }
        let (results, servers) = try await deliver(
            [script(["EHLO": [lines.joined()]])],
            sender: "<a@example.test> BODY=BINARYMIME",
            message: Self.binary
        )
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].commands.contains { $0.hasPrefix("MAIL FROM:<a@example.test>") && !$0.contains("BINARY") })
        let message = try #require(servers[0].messages.first)
        #expect(message.contains("Content-Transfer-Encoding: base64\n"))
        #expect(!message.contains("Content-Transfer-Encoding: binary"))
        #expect(message.hasSuffix("\n\nAQoNAA0KLg0K"))
    }

    // MARK: Eight bits

    private static let eightBit =
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{e9}t\u{e9}=\r\n"

    /// A host without 8BITMIME may cut the eighth bit off (RFC 6152 §3).
    @Test(arguments: [false, true]) func hostOfSevenBitsGetsSeven(inPieces: Bool) async throws {
        let (results, servers) = try await deliver(
            [host("SIZE")],
            sender: "<a@example.test> BODY=8BITMIME",
            message: Self.eightBit,
            inPieces: inPieces
        )
        #expect(results.map(\.action) == [.relayed])
        // How large it becomes, only sending shows.
        #expect(servers[0].commands.contains("MAIL FROM:<a@example.test>"))
        let sent = try #require(servers[0].messages.first)
        #expect(sent.contains("\nContent-Transfer-Encoding: quoted-printable\n"))
        #expect(sent.contains("\nX-MIME-Autoconverted: from 8bit to quoted-printable by mail.example.test\n"))
        #expect(sent.hasSuffix("\n\n=C3=A9t=C3=A9=3D"))
        // Who takes it gets it as it is, and who needs nothing, too.
        let (_, others) = try await deliver([host("8BITMIME")], message: Self.eightBit, inPieces: inPieces)
        #expect(others[0].messages.first?.hasSuffix("\n\n\u{e9}t\u{e9}=") == true)
        let plain = Self.eightBit.filter(\.isASCII)
        let (_, old) = try await deliver([host()], message: plain, inPieces: inPieces)
        #expect(old[0].messages.first?.contains("\nContent-Transfer-Encoding: 8bit\n") == true)
    }

    @Test func partsOfEightBitsAreEncodedEachForItself() async throws {
        let message = """
            Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r
            \r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{e9}\r
            --b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{e9}\r\n--b--\r\n
            """
        let (results, servers) = try await deliver([host()], message: message)
        #expect(results.map(\.action) == [.relayed])
        let sent = try #require(servers[0].messages.first)
        #expect(
            sent.hasPrefix(
                "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n"
            )
        )
        #expect(sent.contains("\n--b\n\nplain\n--b\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n"))
        #expect(sent.contains("\n\nw6k=\n") && sent.contains("\n\n=C3=A9\n--b--"))
        #expect(sent.utf8.allSatisfy { $0 < 0x80 })
    }

    /// What is signed may not be changed by anybody (RFC 1847 §2.1); a signature of DKIM is broken, as others do.
    @Test func signedPartsOfEightBitsComeBack() async throws {
        let signed = """
            Content-Type: multipart/signed; boundary=b; protocol="application/pgp-signature"\r\nMIME-Version: 1.0\r
            \r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{e9}\r\n--b\r
            Content-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n
            """
        let (results, servers) = try await deliver([host()], message: signed)
        #expect(results.map(\.action) == [.failed])
        #expect(results.map(\.status) == [.conversionNotSupported])
        #expect(servers[0].messages.isEmpty)
        let (taken, _) = try await deliver([host("8BITMIME")], message: signed)
        #expect(taken.map(\.action) == [.relayed])
        let (broken, others) = try await deliver([host()], message: "DKIM-Signature: v=1\r\n" + Self.eightBit)
        #expect(broken.map(\.action) == [.relayed])
        #expect(others[0].messages.first?.utf8.allSatisfy { $0 < 0x80 } == true)
        let encoding = Self.eightBit.replacing("8bit", with: "x-own")
        let (unknown, _) = try await deliver([host()], message: encoding)
        #expect(unknown.map(\.status) == [.conversionNotSupported])
    }

    /// Eight bits in the header are the sender's mistake: nothing says what they mean.
    @Test func headersOfEightBitsStay() async throws {
        let (results, servers) = try await deliver([host("SIZE")], message: "Subject: \u{e9}\r\n\r\nx\r\n")
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].messages == ["Subject: \u{e9}\n\nx"])
    }

    /// A multipart is binary, too, where a part of it is; its other parts stay as they are.
    @Test func partsBecomeLinesEachForItself() async throws {
        let message = """
            Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\nMIME-Version: 1.0\r
            \r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\u{0}\u{1}\u{2}\r
            --b--\r\n
            """
        let (results, servers) = try await deliver(
            [host("8BITMIME")],
            sender: "<a@example.test> BODY=BINARYMIME",
            message: message
        )
        #expect(results.map(\.action) == [.relayed])
        let sent = try #require(servers[0].messages.first)
        #expect(sent.contains("\nContent-Transfer-Encoding: 8bit\n"))
        #expect(sent.contains("\n--b\n\nplain\n--b\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n"))
        #expect(sent.contains("\n\nAAEC\n"))
        #expect(sent.hasSuffix("\n--b--"))
    }

    /// A part may end with its last field: the delimiter's line end is that field's.
    @Test func partsWithoutBodiesStay() async throws {
        let message = """
            Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\n\r\n--b\r
            Content-Transfer-Encoding: binary\r\n--b\r\n\r\nx\r\n--b--\r\n
            """
        let (results, servers) = try await deliver(
            [host("8BITMIME")],
            sender: "<a@example.test> BODY=BINARYMIME",
            message: message
        )
        #expect(results.map(\.action) == [.relayed])
        #expect(
            servers[0].messages == [
                message.split(separator: "\r\n", omittingEmptySubsequences: false).dropLast().joined(separator: "\n")
            ]
        )
    }

    @Test func signedBinaryMailComesBack() async throws {
        let message = """
            Content-Type: multipart/signed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r
            Content-Transfer-Encoding: binary\r\n\r\n\u{0}\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r
            --b--\r\n
            """
        let (results, servers) = try await deliver(
            [host("8BITMIME")],
            sender: "<a@example.test> BODY=BINARYMIME",
            message: message
        )
        #expect(results.map(\.status.description) == ["5.6.3"])
        #expect(servers[0].messages.isEmpty)
    }

    @Test func addressesBeyondASCIINeedTheHostsWord() async throws {
        let recipients = ["<b@b\u{FC}cher.example>", "<j\u{F6}rg@example.net>"]
        let (results, servers) = try await deliver(
            [host("8BITMIME")],
            sender: "<a@example.test> SMTPUTF8",
            recipients: recipients
        )
        #expect(results.map(\.status.description) == ["2.0.0", "5.6.7"])
        #expect(servers[0].commands.contains("MAIL FROM:<a@example.test>"))
        #expect(servers[0].commands.contains("RCPT TO:<b@xn--bcher-kva.example>"))

        let (all, others) = try await deliver(
            [host("8BITMIME", "SMTPUTF8")],
            sender: "<a@example.test> SMTPUTF8",
            recipients: recipients
        )
        #expect(all.map(\.status.description) == ["2.0.0", "2.0.0"])
        #expect(others[0].commands.contains("MAIL FROM:<a@example.test> SMTPUTF8"))
        #expect(others[0].commands.contains("RCPT TO:<j\u{F6}rg@example.net>"))
    }

    @Test(arguments: [false, true]) func headersBeyondASCIINeedTheHostsWord(inPieces: Bool) async throws {
        let message =
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: gr\u{FC}n\r\n\r\nx\r\n--b--\r\n"
        let (results, servers) = try await deliver(
            [host("8BITMIME")],
            sender: "<a@example.test> SMTPUTF8",
            message: message,
            inPieces: inPieces
        )
        #expect(results.map(\.status.description) == ["5.6.7"])
        #expect(servers[0].messages.isEmpty)
        let (other, _) = try await deliver(
            [host("8BITMIME")],
            sender: "<a@example.test> SMTPUTF8",
            message: "Subject: x\r\n\r\ngr\u{FC}n\r\n",
            inPieces: inPieces
        )
        #expect(other.map(\.status.description) == ["2.0.0"])
    }

    @Test func wishesForReportsGoOn() async throws {
        let recipient = "<b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B@example.net"
        let sender = "<a@example.test> RET=HDRS ENVID=a+2Bb"
        let (results, servers) = try await deliver([host("DSN")], sender: sender, recipients: [recipient])
        #expect(results.map(\.isReportedElsewhere) == [true])
        #expect(servers[0].commands.contains("MAIL FROM:\(sender)"))
        #expect(servers[0].commands.contains("RCPT TO:\(recipient)"))
        let (others, plain) = try await deliver([host("8BITMIME")], sender: sender, recipients: [recipient])
        #expect(others.map(\.isReportedElsewhere) == [false])
        #expect(plain[0].commands.contains("RCPT TO:<b@example.net>"))
    }

    @Test func deadlinesGoOnOrComeBack() async throws {
        var terms = DeliveryTerms()
        terms.deadline = DeliveryTerms.Deadline(time: Int64(time(nil)) + 600, mode: .return)
        let (results, servers) = try await deliver([host("DELIVERBY 60")], terms: terms)
        #expect(results.map(\.action) == [.relayed])
        #expect(servers[0].commands.contains { $0.hasPrefix("MAIL FROM:<a@example.test> BY=") && $0.hasSuffix(";R") })
        #expect(try await deliver([host("DELIVERBY 700")], terms: terms).results.map(\.status.description) == ["5.4.7"])
        #expect(try await deliver([host("DSN")], terms: terms).results.map(\.status.description) == ["5.3.3"])
        terms.deadline?.mode = .notify
        terms.deadline?.isTraced = true
        terms.deadline?.time = Int64(time(nil)) - 30
        let (late, hosts) = try await deliver([host("DELIVERBY 700")], terms: terms)
        #expect(late.map(\.isUntimed) == [false])
        #expect(hosts[0].commands.contains { $0.hasPrefix("MAIL FROM:<a@example.test> BY=-3") && $0.hasSuffix(";NT") })
        #expect(try await deliver([host("DSN")], terms: terms).results.map(\.isUntimed) == [true])
    }

    @Test func prioritiesGoOn() async throws {
        var terms = DeliveryTerms()
        terms.priority = -3
        let (_, servers) = try await deliver([host("MT-PRIORITY")], terms: terms)
        #expect(servers[0].commands.contains("MAIL FROM:<a@example.test> MT-PRIORITY=-3"))
        let (_, others) = try await deliver([host("DSN")], terms: terms)
        #expect(others[0].commands.contains("MAIL FROM:<a@example.test>"))
    }

    @Test func limitsOfHostsAreKept() async throws {
        let recipients = (1...5).map { "<b\($0)@example.net>" }
        let (results, servers) = try await deliver(
            [host("PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=100")],
            recipients: recipients
        )
        #expect(results.map(\.action) == Array(repeating: .relayed, count: 5))
        #expect(servers[0].messages.count == 3)
        #expect(servers[0].connections == 1)
        let (_, others) = try await deliver([host("LIMITS MAILMAX=1")], times: 2)
        #expect(others[0].connections == 2)
        // The parts of one message go over several sessions, too.
        let (all, third) = try await deliver(
            [host("PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=1")],
            recipients: recipients
        )
        #expect(all.map(\.action) == Array(repeating: .relayed, count: 5))
        #expect(third[0].messages.count == 3)
        #expect(third[0].connections == 3)
    }

    /// After a refused chunk the session is good for others.
    @Test func refusedChunkIsReset() async throws {
        var refusing = host("CHUNKING", "BINARYMIME", "8BITMIME")
        refusing.replies["BDAT"] = ["554 5.7.1 no\r\n"]
        let (results, servers) = try await deliver(
            [refusing],
            sender: "<a@example.test> BODY=BINARYMIME",
            message: Self.binary,
            times: 2
        )
        #expect(results.map(\.action) == [.failed])
        #expect(servers[0].connections == 1)
        #expect(servers[0].commands.filter { $0 == "RSET" }.count == 2)
    }

    /// Neither over a session that isn't verified, nor to a host that doesn't say that it sees to it.
    @Test func requiredTLSIsNeverGoneWithout() async throws {
        let (results, servers) = try await deliver(
            [host("STARTTLS", "REQUIRETLS"), host("REQUIRETLS")],
            sender: "<a@example.test> REQUIRETLS"
        )
        #expect(results.map(\.status.description) == ["5.7.30"])
        #expect(servers.allSatisfy { $0.messages.isEmpty })
        // A report is not lost for it.
        let (reports, hosts) = try await deliver([host("DSN")], sender: "<> REQUIRETLS")
        #expect(reports.map(\.action) == [.relayed])
        #expect(hosts[0].commands.contains("MAIL FROM:<>"))
    }
}
