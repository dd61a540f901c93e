import MIME
import Testing

private func text(_ octets: some Collection<UInt8>) -> String { String(decoding: octets, as: UTF8.self) }

@Suite struct CharsetTests {
    static let samples: [(String, [UInt8], String)] = [
        ("utf-8", Array("naïve €".utf8), "naïve €"), ("us-ascii", Array("plain".utf8), "plain"),
        ("ISO-8859-1", [0x6E, 0xEF, 0x76, 0x80, 0x92], "nïv€’"), ("windows-1252", [0x93, 0xFC, 0x94], "“ü”"),
        ("iso-8859-15", [0xA4, 0xBD, 0xE9], "€œé"), ("KOI8-R", [0xD0, 0xD2, 0xC9, 0xD7, 0xC5, 0xD4], "привет"),
        ("windows-1251", [0xCF, 0xF0], "Пр"), ("iso-8859-2", [0xB3, 0xF3, 0xBC], "łóź"),
        ("gb2312", [0xC4, 0xE3, 0xBA, 0xC3], "你好"), ("Big5", [0xA7, 0x41, 0xA6, 0x6E], "你好"),
        ("iso-2022-jp", [0x1B, 0x24, 0x42, 0x46, 0x7C, 0x4B, 0x5C, 0x1B, 0x28, 0x42, 0x21], "日本!"),
        ("Shift_JIS", [0x93, 0xFA, 0x96, 0x7B], "日本"), ("euc-jp", [0xC6, 0xFC, 0xCB, 0xDC], "日本"),
        ("ks_c_5601-1987", [0xC7, 0xD1, 0xB1, 0xDB], "한글"), ("EUC-KR", [0xC7, 0xD1, 0xB1, 0xDB], "한글"),
        ("unicode-1-1-utf-7", Array("Hi Mom -+Jjo--+ACE-".utf8), "Hi Mom -☺-!"),
        ("utf-16be", [0x00, 0x41, 0xD8, 0x3D, 0xDE, 0x00], "A😀"), ("utf-16le", [0x41, 0x00, 0xAC, 0x20], "A€"),
        ("tis-620", [0xCA, 0xC7], "สว"), ("cp437", [0x81], "ü"), ("x-mac-roman", [0x8A], "ä"),
        ("iso-2022-kr", [0x1B, 0x24, 0x29, 0x43, 0x0E, 0x47, 0x51, 0x0F, 0x61], "한a"),
    ]

    @Test func theSystemHasAllSets() { #expect(Charset.preload() == []) }

    @Test(arguments: samples) func setsAreConvertedInAnyPieces(label: String, octets: [UInt8], meaning: String) throws {
        let charset = try #require(Charset(label.utf8))
        #expect(text(charset.utf8(octets)) == meaning)
        #expect(Charset(" \"\(label.uppercased())\" ".utf8) == charset)
        for size in 1...octets.count {
            var decoder = CharsetDecoder(charset)
            var result: [UInt8] = []
            for piece in pieces(octets, size) { decoder.decode(piece, into: &result) }
            decoder.finish(into: &result)
            #expect(text(result) == meaning)
            #expect(!decoder.hasReplaced && !decoder.isUnavailable)
        }
    }

    @Test(arguments: samples.map(\.0)) func rubbishBecomesUTF8(label: String) throws {
        let charset = try #require(Charset(label.utf8))
        for seed in 1...4 {
            let octets = noise(3000, seed: UInt64(seed))
            let whole = charset.utf8(octets)
            #expect(String(validating: whole, as: UTF8.self) != nil)
            for size in [1, 7, 500] {
                var decoder = CharsetDecoder(charset)
                var result: [UInt8] = []
                for piece in pieces(octets, size) { decoder.decode(piece, into: &result) }
                decoder.finish(into: &result)
                #expect(result == whole)
            }
        }
    }

    @Test(arguments: ["", "x-nonsense", "utf-9", "../../etc/passwd", "UTF-8//TRANSLIT", "iso-2022-cn-ext", "ibm1364"])
    func otherSetsAreUnknown(label: String) {
        #expect(Charset(label.utf8) == nil)
    }

    @Test func whatMeansNothingIsReplaced() throws {
        var decoder = CharsetDecoder(.utf8)
        var result: [UInt8] = []
        decoder.decode([0x61, 0xFF, 0x62, 0xC3], into: &result)
        decoder.finish(into: &result)
        #expect(text(result) == "a\u{FFFD}b\u{FFFD}")
        #expect(decoder.hasReplaced)
        let japanese = try #require(Charset("euc-jp".utf8))
        #expect(text(japanese.utf8([0x61, 0xFF, 0x62, 0xC6])) == "a\u{FFFD}b\u{FFFD}")
        #expect(text(Charset.guess([0x66, 0xFC, 0x72])) == "für")
    }
}

@Suite struct EncodedWordTests {
    @Test(arguments: [
        // RFC 2047 §8.
        ("(=?ISO-8859-1?Q?a?=)", "(a)"), ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
        ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"), ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
        ("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
        (
            "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
            "If you can read this you understand the example."
        ),
        // RFC 2231 §5.
        ("=?US-ASCII*EN?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        // Cut inside a character.
        ("=?utf-8?Q?na=C3?=  =?utf-8?Q?=AFve?=", "naïve"), ("=?utf-8?B?w6TDtg==?= =?UTF-8?B?w7w=?=", "äöü"),
        ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"), ("=?utf-8?q?a b?=", "a b"), ("=?utf-8?q??= x", " x"),
        ("a =?utf-8?q?b?= c =?utf-8?q?d?=", "a b c d"), ("=?utf-8?q?=zz=4?=", "=zz=4"),
        ("=?x-unknown-set?q?a?=", "=?x-unknown-set?q?a?="), ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?open", "=?utf-8?q?open"), ("=?=?utf-8?q?a?=", "=?a"), ("=??=", "=??="), ("grüße", "grüße"),
    ]) func wordsAreDecoded(field: String, meaning: String) {
        #expect(text(EncodedWords.decode(Array(field.utf8))) == meaning)
    }

    @Test(arguments: [
        "", "a", "ü", "Grüße aus Köln", "日本語のとても長い件名です、何度も折り返さなければなりません。本当に長い。", "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
        "a = b? (c) \"d\" <e> _f_ é", String(repeating: "lang ö ", count: 60), "\u{0}\r\n\u{FFFD}",
    ]) func textRoundTrips(original: String) {
        for first in [10, 40, 75] {
            let words = EncodedWords.encode(original, first: first)
            #expect(words.allSatisfy { $0.count <= 75 && $0.allSatisfy { $0 > 0x20 && $0 < 0x7F } })
            #expect(text(EncodedWords.decode(Array(words.joined(separator: [0x20])))) == original)
            for word in words {
                #expect(!text(EncodedWords.decode(word)).contains("\u{FFFD}") || original.contains("\u{FFFD}"))
            }
        }
    }

    @Test func rawOctetsAreGuessed() {
        #expect(EncodedWords.text([0x66, 0xFC, 0x72]) == "für")
        #expect(EncodedWords.text(Array("für =?utf-8?q?=C3=A4?=".utf8)) == "für ä")
    }

    /// ISO-2022-JP and EUC-JP with what the standards don't have and mail does; the same word in all sets.
    @Test(arguments: [1, 2, 3, 100]) func japaneseAsItIsSent(size: Int) throws {
        let words: [(String, [UInt8], String, Bool)] = [
            (
                "iso-2022-jp", [0x1B, 0x24, 0x42, 0x2D, 0x21, 0x2D, 0x6A, 0x21, 0x41, 0x1B, 0x28, 0x42, 0x61], "①㈱～a",
                false
            ),
            ("euc-jp", [0xAD, 0xA1, 0xAD, 0xEA, 0xA1, 0xC1, 0x61], "①㈱～a", false),
            ("shift_jis", [0x87, 0x40, 0x87, 0x8A, 0x81, 0x60, 0x61], "①㈱～a", false),
            ("iso-2022-jp", [0x1B, 0x28, 0x49, 0x31, 0x32, 0x0A, 0x1B, 0x28, 0x4A, 0x41], "ｱｲ\nA", false),
            ("iso-2022-jp-ms", [0x1B, 0x24, 0x40, 0x46, 0x7C, 0x0D, 0x0A, 0x4B, 0x5C], "日\r\n本", false),
            ("iso-2022-jp", [0x1B, 0x24, 0x28, 0x44, 0x30, 0x21], "丂", false),
            ("iso-2022-jp", [0x61, 0x1B, 0x24, 0x62, 0xE4, 0x63], "a\u{FFFD}$b\u{FFFD}c", true),
            ("iso-2022-jp", [0x1B, 0x24, 0x42, 0x46, 0x0A, 0x46, 0x7C, 0x46], "\u{FFFD}\n日\u{FFFD}", true),
            ("iso-2022-jp", [0x61, 0x1B, 0x28], "a\u{FFFD}", true),
        ]
        for (label, octets, wanted, isReplaced) in words {
            var decoder = CharsetDecoder(try #require(Charset(label.utf8)))
            var result: [UInt8] = []
            for piece in pieces(octets, size) { decoder.decode(piece, into: &result) }
            decoder.finish(into: &result)
            #expect(text(result) == wanted && decoder.hasReplaced == isReplaced && !decoder.isUnavailable)
        }
    }

    /// What no encoded word holds is guessed apart from what they hold.
    @Test func rawOctetsBesideEncodedWordsAreGuessed() {
        let word = Array("=?utf-8?q?=C3=A4=E2=82=AC?=".utf8)
        #expect(EncodedWords.text([0xFC, 0x20] + word + [0x20, 0xE9]) == "ü ä€ é")
        #expect(EncodedWords.text(Array("€ ".utf8) + word + [0x20, 0x78, 0xE9]) == "€ ä€ xé")
        #expect(EncodedWords.text(word + [0x20] + word + [0xFF, 0x20] + word) == "ä€ä€ÿ ä€")
        #expect(EncodedWords.text([0xFC] + Array("=?x-none?q?=C3?=?".utf8)) == "ü=?x-none?q?=C3?=?")
        #expect(text(EncodedWords.decode([0xFC])) == "ü")
        // What is labelled as ASCII and has more is guessed, as in bodies.
        #expect(EncodedWords.text(Array("=?us-ascii?q?=FC?= x =?ASCII*en?q?=C3?= =?us-ascii?q?=A4?=".utf8)) == "ü x ä")
        #expect(EncodedWords.text(Array("=?utf-8?q?=FC?=".utf8)) == "\u{FFFD}")
    }

    @Test func manyStartsTakeLinearTime() {
        for start in ["=?", "=?a?q?", "=?utf-8?q?x", "=?utf-8?q?x ?"] {
            let field = Array(String(repeating: start, count: 50_000 / start.utf8.count).utf8)
            #expect(EncodedWords.decode(field).count <= field.count)
        }
    }
}

@Suite struct ExtendedParameterTests {
    @Test(arguments: [
        // RFC 2231 §4.1, §3.
        (
            "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
            "This is even more ***fun*** isn't it!"
        ),
        ("a/b; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "This is ***fun***"),
        ("a/b; title*=iso-8859-1''na%EFve", "naïve"), ("a/b; title*=''gr%C3%BCn", "grün"), ("a/b; title*=x%zz", "x%zz"),
        ("a/b; title=\"=?utf-8?q?gr=C3=BCn?=\"", "grün"), ("a/b; title=plain; title*=utf-8''best", "best"),
        ("a/b; title=\"grün\"", "grün"), ("a/b; title*=nonsense'x'%FC", "ü"),
    ]) func parametersAreDecoded(field: String, meaning: String) {
        #expect(ParameterizedValue(field: Array(field.utf8)).text("title") == meaning)
    }

    @Test(arguments: [
        "", "a.txt", "with blank.txt", "quote\"back\\slash.txt", "Übergröße.pdf", "日本語.txt", "semi;colon=x.txt",
        "a'b%c*.txt",
        String(repeating: "long name ", count: 30) + ".txt", String(repeating: "ü", count: 100), "😀.png", "tab\there",
    ]) func namesRoundTrip(name: String) {
        let parts = ExtendedParameter.encode("filename", name)
        #expect(parts.allSatisfy { $0.utf8.count <= 76 && $0.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } })
        let field = (["attachment"] + parts).joined(separator: "; ")
        #expect(ParameterizedValue(field: Array(field.utf8)).text("filename") == name)
    }
}
