import MIME
import MailAuth
import Testing

struct AuthenticationResultsTests {
    private func parse(_ text: String) throws -> AuthenticationResults {
        try AuthenticationResults(field: crlf(text)[...])
    }

    /// RFC 8601 appendix B.
    @Test func examples() throws {
        let none = try parse(" example.org 1; none")
        #expect(text(none.authservID) == "example.org")
        #expect(none.version == 1)
        #expect(none.entries.isEmpty)

        let spf = try parse(" example.com;\n          spf=pass smtp.mailfrom=example.net")
        #expect(spf.entries.count == 1)
        #expect(spf.entries[0].properties == [.init("smtp", "mailfrom", Array("example.net".utf8))])

        let several = try parse(
            """
             example.com;
                      auth=pass (cram-md5) smtp.auth=sender@example.net;
                      spf=fail smtp.mailfrom=example.net
            """
        )
        #expect(several.entries.map { text($0.method) } == ["auth", "spf"])
        #expect(several.entries.map { text($0.result) } == ["pass", "fail"])
        #expect(text(several.entries[0].comment) == "cram-md5")

        let commented = try parse(
            """
             foo.example.net (foobar) 1 (baz);
                dkim (Because I like it) / 1 (One yay) = (wait for it) fail
                  policy (A dot can go here) . (like that) expired
                  (this surprised me) = (as I wasn't expecting it) 1362471462
            """
        )
        #expect(commented.version == 1)
        #expect(commented.entries[0].properties == [.init("policy", "expired", Array("1362471462".utf8))])
        #expect(text(commented.entries[0].result) == "fail")
        #expect(text(commented.entries[0].comment)?.contains("this surprised me") == true)
    }

    @Test func details() throws {
        let parsed = try parse(
            #" "a b" ; dkim=fail reason="bad \"thing\"" header.i=@d.example header.b=ab/c= ; x=y smtp.mailfrom="q r"@e.f;"#
        )
        #expect(text(parsed.authservID) == "a b")
        #expect(text(parsed.entries[0].reason) == #"bad "thing""#)
        #expect(parsed.entries[0].properties.map { text($0.value) } == ["@d.example", "ab/c="])
        #expect(text(parsed.entries[1].properties[0].value) == "q r@e.f")
        for bad in [
            "", "  ", "a b c", "a; spf", "a; spf=", "a; spf=pass reason", "a; spf=pass smtp.x", "a; =pass", "(a",
        ] {
            #expect(throws: AuthenticationResults.ParseError.malformed, "\(bad)") { try parse(bad) }
        }
    }

    @Test func whatIsWrittenReadsBack() throws {
        var results = AuthenticationResults(
            authservID: Array("mx.example.org".utf8),
            entries: [
                .init(
                    method: "dkim",
                    result: "fail",
                    reason: Array(#"a "b" \ c; d"#.utf8),
                    comment: Array("1024-bit (key)".utf8),
                    properties: [
                        .init("header", "d", Array("example.org".utf8)), .init("header", "b", Array("a/b=".utf8)),
                        .init("smtp", "mailfrom", Array("x y@b".utf8)),
                    ]
                ),
                .init(method: "spf", result: "none"),
            ]
        )
        results.entries[1].version = 2
        results.version = 1
        let header = HeaderBlock(results.field)
        #expect(header.fields.count == 1)
        #expect(try AuthenticationResults(field: header.octets[header.fields[0].value]) == results)
        let empty = AuthenticationResults(authservID: Array("a".utf8), entries: [])
        #expect(text(empty.field) == "Authentication-Results: a; none\r\n")
    }

    @Test func nothingBreaksOut() throws {
        let evil = Array("a\r\nX-Evil: yes\r\n\r\n\"; dkim=pass".utf8)
        let results = AuthenticationResults(
            authservID: evil,
            entries: [
                .init(
                    method: "spf\r\nX: y",
                    result: "a;b",
                    reason: evil,
                    comment: evil,
                    properties: [.init("a", "b", evil)]
                )
            ]
        )
        let header = HeaderBlock(results.field)
        #expect(header.fields.count == 1)
        #expect(header.fields[0].whole.upperBound == header.octets.count)
        #expect(try AuthenticationResults(field: header.octets[header.fields[0].value]).entries.count == 1)
    }

    /// What is no domain isn't told: readers would take it for one.
    @Test(
        arguments: [
            ("mx.e.test", "mx.e.test"), ("a.test(b", nil), ("[192.0.2.1]", nil), ("a b", nil), ("", nil), ("a;b", nil),
            ("a.test\"", nil), ("a_b.test", "a_b.test"), ("-a.test", nil),
        ] as [(String, String?)]
    )
    func onlyDomainsAreTold(_ name: String, _ wanted: String?) async throws {
        let outcome = await SPFCheck.run(
            SPFQuery(address: [192, 0, 2, 1], helo: Array("x.test".utf8)),
            lookup: try zone("")
        )
        let helo = SPFQuery(address: [192, 0, 2, 1], helo: Array(name.utf8))
        #expect(
            AuthenticationResults.Entry(outcome, of: helo).properties.map { text($0.value) }
                == (wanted.map { [$0] } ?? [])
        )
        let sender = SPFQuery(address: [192, 0, 2, 1], mailFrom: Array("u@\(name)".utf8), helo: Array("x".utf8))
        let told = AuthenticationResults.Entry(outcome, of: sender).properties.map { text($0.value) }
        #expect(told == (wanted.map { ["u@\($0)"] } ?? []))
    }

    @Test func forgedOnesGo() throws {
        let header = HeaderBlock(
            crlf(
                """
                Authentication-Results: mx.example.org; spf=pass
                Subject: x
                authentication-results: (c) MX.Example.ORG. 1; none
                Authentication-Results: other.example;
                 spf=pass
                Authentication-Results: "mx.example.org"; dkim=pass
                Authentication-Results: mx.example.org; not to be read
                Authentication-Results: ;;;
                X-Authentication-Results: mx.example.org; none

                """
            )
        )
        let places = AuthenticationResults.forged(in: header, authservID: Array("mx.example.org".utf8))
        #expect(places == [0, 2, 4, 5, 6])
        let rest = String(decoding: AuthenticationResults.removing(places, from: header), as: UTF8.self)
        #expect(
            rest == "Subject: x\r\nAuthentication-Results: other.example;\r\n spf=pass\r\n"
                + "X-Authentication-Results: mx.example.org; none\r\n"
        )
    }

    @Test func randomChangesNeverTrap() {
        var generator = FixedGenerator(8601)
        let octets = Array(#" mx (a (b)) 1; dkim/1=pass (x) reason="y\z" header.d="a b" smtp.m="q"@b; none"#.utf8)
        for _ in 0..<5000 {
            let changed = mutated(octets, &generator)
            guard let parsed = try? AuthenticationResults(field: changed[...]) else { continue }
            let header = HeaderBlock(parsed.field)
            #expect(header.fields.count == 1)
            #expect((try? AuthenticationResults(field: header.octets[header.fields[0].value])) != nil)
        }
    }
}
