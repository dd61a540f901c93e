import MIME
import NIOCore
import Testing

private func text(_ octets: (some Collection<UInt8>)?) -> String? { octets.map { String(decoding: $0, as: UTF8.self) } }

@Suite struct HeaderTests {
    @Test(arguments: ["\r\n", "\n"]) func fieldsAreUnfolded(end: String) {
        let lines = ["Subject: one", " two", "X-Empty:", "no colon", "To : a@b", "", "Body: no"]
        let block = HeaderBlock(Array(lines.joined(separator: end).utf8))
        #expect(text(block.first("subject")) == "one two")
        #expect(text(block.first("x-empty")) == "")
        #expect(text(block.first("to")) == "a@b")
        #expect(block.first("body") == nil)
        #expect(block.fields.count == 3)
    }

    @Test(arguments: [
        ("Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706), ("21 Nov 97 09:55:06 GMT", 880_106_106),
        ("Thu, 13 Feb 1969 23:32 -0330", -27_723_480), ("Mon, 7 Feb 1994 21:52:25 -0800 (PST)", 760_686_745),
    ]) func datesAreRead(field: String, seconds: Int) {
        #expect(DateTime(field: field.utf8)?.secondsSince1970 == seconds)
    }

    @Test(arguments: [
        "", "yesterday", "32 Jan 2000 00:00:00 +0000", "30 Feb 2001 00:00 +0000", "1 Jan 99999999999999999999 00:00",
    ])
    func nonsenseIsNoDate(field: String) {
        #expect(DateTime(field: field.utf8) == nil)
    }

    @Test(arguments: [0, 951_782_400, 1_795_447_200, -62_135_510_400, 253_402_214_400]) func datesRoundTrip(
        seconds: Int
    ) {
        for offset in [0, 330, -480] {
            let date = DateTime(secondsSince1970: seconds, offset: offset)
            var octets: [UInt8] = []
            date.write(to: &octets)
            #expect(date.secondsSince1970 == seconds)
            #expect(DateTime(field: octets) == date)
        }
    }

    @Test(arguments: [
        (0, 0, "Thu, 1 Jan 1970 00:00:00 +0000"), (951_782_400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (1_795_448_435, 0, "Mon, 23 Nov 2026 15:40:35 +0000"),
        (1_795_448_435, 60, "Mon, 23 Nov 2026 16:40:35 +0100"),
        (1_795_448_435, -210, "Mon, 23 Nov 2026 12:10:35 -0330"),
        (1_798_761_599, 0, "Thu, 31 Dec 2026 23:59:59 +0000"),
        (1_798_761_599, 345, "Fri, 1 Jan 2027 05:44:59 +0545"),
        (4_107_542_400, 0, "Mon, 1 Mar 2100 00:00:00 +0000"), (-1, 0, "Wed, 31 Dec 1969 23:59:59 +0000"),
        (Int.max, 1440, "Fri, 31 Dec 9999 23:59:00 +2359"), (Int.min, -1440, "Mon, 1 Jan 0001 00:01:00 -2359"),
    ])
    func datesAreWritten(seconds: Int, offset: Int, text: String) {
        #expect(DateTime(secondsSince1970: seconds, offset: offset).description == text)
    }

    @Test func addresses() {
        let list = AddressListParser.parse(
            Array(
                "Pete(A nice \\) chap) <pete(his account)@silly.test>, \"Joe Q.\" <@a,@b:joe@x.test>, bare@y.test (Bare), A Group:Ed <ed@z.test>;, Undisclosed:;"
                    .utf8
            )
        )
        #expect(list.map { text($0.name) } == ["Pete", "Joe Q.", "Bare", nil, "Ed", nil, nil, nil])
        #expect(
            list.map { text($0.mailbox) } == ["pete", "joe", "bare", "A Group", "ed", nil, "Undisclosed", nil]
        )
        #expect(list.map { text($0.host) } == ["silly.test", "x.test", "y.test", nil, "z.test", nil, nil, nil])
        #expect(text(list[1].route) == "@a,@b")
    }

    @Test(arguments: ["((((((((", "<<<<>>>>", "\"", "a@", "@@@@", ";;::,,", "\\", "<@"]) func hostileAddresses(
        field: String
    ) {
        _ = AddressListParser.parse(Array(field.utf8))
        let open = AddressListParser.parse(Array(repeating: UInt8(ascii: "("), count: 100_000))
        #expect(open.allSatisfy { $0.host == [] })
    }

    @Test func parametersAreJoined() {
        let value = ParameterizedValue(
            field: Array(
                "message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.test/x\"; title*0*=us-ascii'en'This%20; title*1=\"is\""
                    .utf8
            )
        )
        #expect(text(value["URL"]) == "ftp://cs.test/x")
        #expect(text(value["title*"]) == "us-ascii'en'This%20is")
        #expect(
            text(ParameterizedValue(field: Array("attachment; filename=\"a \\\"b\\\".png\"".utf8))["filename"])
                == "a \"b\".png"
        )
    }

    @Test(arguments: [
        ("=?UTF-8?B?w6Q=?= =?ISO-8859-1?Q?=F6_x?=", "äö x"), ("a =?x-unknown?Q?b?= c", "a =?x-unknown?Q?b?= c"),
        ("=?utf-8?q?broken", "=?utf-8?q?broken"), ("=?=?=?", "=?=?=?"),
    ]) func encodedWords(field: String, meaning: String) {
        #expect(text(EncodedWords.decode(Array(field.utf8))) == meaning)
    }

    @Test(arguments: [1, 2, 3, 100]) func transferEncodingsInPieces(size: Int) {
        for (encoding, encoded, meaning) in [
            (TransferDecoder.Encoding.base64, "aGVs\r\nbG8gd29ybGQ=\r\n", "hello world"),
            (.quotedPrintable, "caf=C3=A9 =\r\nau lait=ZZ", "café au lait=ZZ"), (.identity, "a=b", "a=b"),
        ] {
            var decoder = TransferDecoder(encoding)
            var out: [UInt8] = []
            let octets = Array(encoded.utf8)
            for start in stride(from: 0, to: octets.count, by: size) {
                decoder.decode(octets[start..<min(start + size, octets.count)], into: &out)
            }
            decoder.finish(into: &out)
            #expect(text(out) == meaning)
        }
    }
}
