import MIME
import Testing

/// `name|local|host`, with `-` for what is nil.
private func shown(_ field: String) -> [String] {
    AddressListParser.parse(Array(field.utf8)).map { entry in
        [entry.name, entry.mailbox, entry.host].map { $0.map { String(decoding: $0, as: UTF8.self) } ?? "-" }
            .joined(separator: "|")
    }
}

@Suite struct AddressRecoveryTests {
    @Test(
        arguments: [
            // An angle address wins over what stands before it.
            ("shop@shop.example <shop@shop.example>", ["shop@shop.example|shop|shop.example"]),
            ("ann@one.example <bob@two.example>", ["ann@one.example|bob|two.example"]),
            ("Ann ann@one.example work <bob@two.example>", ["Ann ann@one.example work|bob|two.example"]),
            ("ann@one.example <>", ["-|ann|one.example"]), ("ann@one.example <ann>", ["-|ann|one.example"]),
            ("a.b@c.example <a.b@c.example>, x@y.example", ["a.b@c.example|a.b|c.example", "-|x|y.example"]),
            ("<ann@one.example> Ann Miller", ["Ann Miller|ann|one.example"]),
            ("<ann@one.example> (Ann)", ["Ann|ann|one.example"]),
            // Encoded words.
            ("=?utf-8?q?Roe=2C_Jane?= <j@x.example>", ["=?utf-8?q?Roe=2C_Jane?=|j|x.example"]),
            ("=?utf-8?q?Roe, Jane?= <j@x.example>", ["=?utf-8?q?Roe, Jane?=|j|x.example"]),
            ("=?utf-8?Q?a<b>@c;(\"?= <j@x.example>", ["=?utf-8?Q?a<b>@c;(\"?=|j|x.example"]),
            ("=?x-unknown?b?PGE+?= <j@x.example>", ["=?x-unknown?b?PGE+?=|j|x.example"]),
            ("(=?utf-8?q?a)b?=) j@x.example", ["=?utf-8?q?a)b?=|j|x.example"]),
            (
                "=?utf-8?q?open <a@x.example>, =?utf-8?q?b?= <b@x.example>",
                [
                    "=?utf-8?q?open|a|x.example", "=?utf-8?q?b?=|b|x.example",
                ]
            ),
            // Words are joined around dots and @ only.
            ("Mail Delivery System", ["Mail Delivery System||"]),
            ("Mail Delivery System <>", ["Mail Delivery System||"]), ("root", ["-|root|"]), ("a.b", ["-|a.b|"]),
            ("Jan Kok jan@x.example", ["Jan Kok|jan|x.example"]), ("jan@x.example Jan Kok", ["Jan Kok|jan|x.example"]),
            ("jan . k @ x . example", ["-|jan.k|x.example"]), ("J. R. Kok <j@x.example>", ["J. R. Kok|j|x.example"]),
            ("<Jan Kok jan@x.example>", ["-|Jan Kok jan|x.example"]),
            ("a@x.example b@y.example", ["-|a|x.example", "-|b|y.example"]),
            // What isn't closed.
            ("Kim (Team Bern <kim@x.example>", ["Kim (Team Bern|kim|x.example"]),
            ("\"Kim <kim@x.example>", ["Kim|kim|x.example"]), ("Kim\" <kim@x.example>", ["Kim|kim|x.example"]),
            ("[Kim <kim@x.example>", ["[Kim|kim|x.example"]), ("Kim <kim@x.example", ["Kim|kim|x.example"]),
            ("Kim < <kim@x.example>", ["Kim|kim|x.example"]),
            (
                "Kim <kim@x.example <kim@x.example>>",
                [
                    "Kim|kim|x.example"
                ]
            ),
            ("\"Kim <kim@x.example>, \"Lee\" <lee@x.example>", ["Kim|kim|x.example", "Lee|lee|x.example"]),
            ("Kim (a <kim@x.example>, Lee (b) <lee@x.example>", ["Kim (a|kim|x.example", "Lee|lee|x.example"]),
            ("Kim <kim@x.example, Lee <lee@x.example>", ["Kim|kim|x.example", "Lee|lee|x.example"]),
            ("<kim@x.example, lee@x.example>", ["-|kim|x.example", "-|lee|x.example"]),
            ("Kim) <kim@x.example>", ["Kim)|kim|x.example"]), ("Kim> <kim@x.example>", ["Kim|kim|x.example"]),
            ("\"Kim\\\" <kim@x.example>", ["Kim\\|kim|x.example"]),
            ("a@[192.0.2.1 <b@x.example>", ["a@[192.0.2.1|b|x.example"]),
            ("\"<a@b.example>, x\" <kim@x.example>", ["<a@b.example>, x|kim|x.example"]),
            // Commas in names.
            ("Roe, Jane <j@x.example>", ["Roe, Jane|j|x.example"]),
            (
                "a@x.example, Roe, Jane, MD <j@x.example>, b@y.example",
                [
                    "-|a|x.example", "Roe, Jane, MD|j|x.example", "-|b|y.example",
                ]
            ),
            ("root, a@x.example", ["-|root|", "-|a|x.example"]), ("Roe, Jane", ["-|Roe|", "-|Jane|"]),
            ("[EXT, Roe] <j@x.example>", ["[EXT, Roe]|j|x.example"]),
            // Groups and odd separators.
            ("a@x.example; b@x.example", ["-|a|x.example", "-|b|x.example"]),
            (
                "Team: Roe, Jane <j@x.example>;, b@x.example",
                [
                    "-|Team|-", "Roe, Jane|j|x.example", "-|-|-", "-|b|x.example",
                ]
            ),
            ("<mailto:a@x.example>", ["-|a|x.example"]), ("mailto:a@x.example", ["-|a|x.example"]),
            ("Ann [mailto:a@x.example]", ["Ann|a|x.example"]), ("Ann [a.b@x.example]", ["Ann|a.b|x.example"]),
            ("[mailto:a@x.example] <a@x.example>", ["[mailto:a@x.example]|a|x.example"]),
            ("MAILTO:a@x.example, b@x.example", ["-|a|x.example", "-|b|x.example"]),
            ("\"mailto\": a@x.example;", ["-|mailto|-", "-|a|x.example", "-|-|-"]),
            ("G: mailto:a@x.example;", ["-|G|-", "-|a|x.example", "-|-|-"]),
            ("a@x.example]", ["-|a|x.example]"]), ("[a@x.example", ["-|[a|x.example"]),
            ("[a@[192.0.2.1]", ["-|[a|[192.0.2.1]"]), ("@x.example", ["-|-|x.example"]), ("a@", ["-|a|"]),
            ("\"\"@x.example", ["-||x.example"]), ("\"\" <a@x.example>", ["-|a|x.example"]),
            ("a@b@c", ["-|a|b@c"]), ("<a@b c>", ["-|a|b c"]), ("", []), (", ,", []),
        ] as [(String, [String])]
    )
    func recovery(field: String, entries: [String]) {
        #expect(shown(field) == entries)
    }

    @Test(arguments: ["mailto", "x mailto", "[mailto"]) func groupsOfThatNameAreWritten(name: String) throws {
        let group = [
            ListedAddress(name: nil, mailbox: Array(name.utf8), host: nil),
            ListedAddress(name: nil, mailbox: [0x61], host: Array("b.test".utf8)),
            ListedAddress(name: nil, mailbox: nil, host: nil),
        ]
        var header = HeaderBuilder()
        try header.add("To", addresses: group)
        #expect(AddressListParser.parse(HeaderBlock(header.octets).first("to") ?? []) == group)
    }

    @Test func whatIsShownIsGuessed() {
        let addresses = AddressListParser.parse([0x4A, 0xFC, 0x20, 0x3C, 0x6A, 0xFC, 0x40, 0x78, 0x2E, 0x79, 0x3E])
        #expect(addresses.map(\.shown) == ["Jü <jü@x.y>"])
    }

    /// What nothing closes is looked at a bounded number of times.
    @Test(arguments: [
        "(", "\"\\", "<@", "@[", "=?a?q?", ":", "<", "(=?a?q?", "a@b:", "\"(", "(<\"", "x,", "[", "a@b <x> ",
    ])
    func hostileFieldsTakeLinearTime(piece: String) {
        let clock = ContinuousClock()
        func time(_ count: Int) -> Duration {
            let field = Array(String(repeating: piece, count: count).utf8)
            return (0..<3).map { _ in
                clock.measure {
                    _ = AddressListParser.parse(field)
                    _ = AddressSyntax.isList(field)
                }
            }.min() ?? .zero
        }
        // Quadratic time would be minutes.
        #expect(time(100_000) < .seconds(10))
    }

    @Test(
        arguments: [
            "a@b.example", "\"\"@b.example", "\"a b\"@b.example", "\"a\\ b\"@b.example", "\"a\".b@c.example",
            "a@[192.0.2.300]", "a@[RFC 5322 text]", "a@[x\\]y]", "a@[x\\\u{7}y]", "\"\u{7}\"@b.example",
            "\"\\\u{7F}\"@b.example", "\"\\\0\"@b.example", "(\u{7})a@b.example", " a @ b . example ",
            "a . b@c.example",
            "(c)a@(d)b.example(e (f))", "A. Roe <a@b.example>", "\"Roe, J\" <a@b.example>", "<a@b.example>",
            "<@x.example,@y.example:a@b.example>", "G: a@b.example, B <b@b.example>;", "G:;",
            "a@b.example, , c@d.example",
            "=?utf-8?q?Roe=2C?= <a@b.example>", "jürgen@grün.example", "a@b--c.example", "a@b/c.example",
            "a@x_y.example",
        ]
    ) func goodAddressesAreFine(field: String) {
        #expect(AddressSyntax.isList(Array(field.utf8)))
    }

    @Test(
        arguments: [
            "", "a", "a@", "@b.example", ".a@b.example", "a.@b.example", "a..b@c.example", "a@-b.example",
            "a@b-.example",
            "a@b.example-", "a@b.example.", "a@.b.example", "a@b..example", "\"a\"b@c.example", "a\"b\"@c.example",
            "\"a\"\"b\"@c.example", "a(c)b@d.example", "a@b.example(c\\)", "a@b.example(c\\", "(a@b.example",
            "a@[192.0.2.1",
            "a@[x[y]", "a@[x]y]", "a@b[192.0.2.1]", "\"a@b.example", "a\"@b.example", "\"\0\"@b.example",
            "\"\\ü\"@b.example",
            "\u{7F}@b.example", "a b@c.example", "a@b.example c@d.example", "Roe, J <a@b.example>",
            "a@b.example <a@b.example>",
            "Ann <a@b.example", "<>", "Ann", "G: a@b.example", "a@b@c.example", "A: B: c@d.example;;",
        ]
    ) func badAddressesAreReported(field: String) {
        #expect(!AddressSyntax.isList(Array(field.utf8)))
    }
}
