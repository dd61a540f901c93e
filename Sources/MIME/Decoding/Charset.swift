/// A character set that mail names (RFC 2046 §4.1.2, RFC 2978), from which text can be turned into UTF-8.
///
/// Only the sets of a fixed list are handed to iconv: some of its rarer converters have had faults that a message could
/// reach. Labels mean what mail readers take them for, as the Encoding Standard lists them: Latin-1 is read as
/// windows-1252, GB 2312 as GB 18030, KS C 5601 as its superset, Shift_JIS, EUC-JP and ISO-2022-JP as Microsoft's.
package struct Charset: Sendable, Equatable {
    enum Converter: Equatable, Sendable {
        case utf8
        /// One octet a character; the characters of 0x80 to 0xFF.
        case table([UInt16])
        case system
    }

    /// The set's name, as iconv knows it.
    package let name: String
    let converter: Converter

    package static let utf8 = Charset(name: "UTF-8", converter: .utf8)
    /// EUC-JP as Microsoft extends it.
    static let japanese = "EUC-JP-MS"
    /// Which iconv reads without what others put into it: see `ISO2022JP`.
    static let shiftedJapanese = "ISO-2022-JP"
    /// Latin-1 with Microsoft's characters in the place of controls.
    package static let latin1 = Charset(name: "WINDOWS-1252", converter: .table(windows1252))
    private static let latin9 = Charset(name: "ISO-8859-15", converter: .table(iso885915))

    private init(name: String, converter: Converter) {
        self.name = name
        self.converter = converter
    }

    /// By its label in any case; nil for one that isn't known.
    package init?(_ label: some Collection<UInt8>) {
        guard (1...40).contains(label.count) else { return nil }
        let letters = label.map { ASCII.lower($0) }.filter { !ASCII.isWhitespace($0) && $0 != UInt8(ascii: "\"") }
        let key = letters.filter { ASCII.isLetter($0) || ASCII.isDigit($0) }
        guard let name = CharsetLabels.names[String(decoding: key, as: UTF8.self)] else { return nil }
        switch name {
        case "UTF-8": self = .utf8
        case "WINDOWS-1252": self = .latin1
        case "ISO-8859-15": self = .latin9
        default: self.init(name: name, converter: .system)
        }
    }

    /// Whether the label is one of ASCII, which text in any set is sent with.
    static func isASCII(_ label: some Collection<UInt8>) -> Bool {
        Charset(label) == .utf8 && label.map(ASCII.lower).firstRange(of: Array("utf".utf8)) == nil
    }

    /// The text in UTF-8, with U+FFFD for what means nothing.
    package func utf8(_ text: [UInt8]) -> [UInt8] {
        var decoder = CharsetDecoder(self)
        var result: [UInt8] = []
        decoder.decode(text, into: &result)
        decoder.finish(into: &result)
        return result
    }

    /// Text that names no character set: UTF-8 if it is that, else Latin-1.
    package static func guess(_ text: [UInt8]) -> [UInt8] {
        String(validating: text, as: UTF8.self) != nil ? text : latin1.utf8(text)
    }

    private static let windows1252: [UInt16] = {
        var table = (0x80...0xFF).map { UInt16($0) }
        let differences: [UInt16] = [
            0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,
            0x017D, 0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A,
            0x0153, 0x9D, 0x017E, 0x0178,
        ]
        table.replaceSubrange(0..<differences.count, with: differences)
        return table
    }()

    private static let iso885915: [UInt16] = {
        var table = (0x80...0xFF).map { UInt16($0) }
        let differences: [(Int, UInt16)] = [
            (0xA4, 0x20AC), (0xA6, 0x0160), (0xA8, 0x0161), (0xB4, 0x017D), (0xB8, 0x017E), (0xBC, 0x0152),
            (0xBD, 0x0153), (0xBE, 0x0178),
        ]
        for (octet, character) in differences { table[octet - 0x80] = character }
        return table
    }()
}

/// Which character set each label means.
enum CharsetLabels {
    /// By the letters and digits of the label, in lower case.
    static let names: [String: String] = {
        var names: [String: String] = [:]
        for line in lists {
            let words = line.split(separator: " ")
            guard let name = words.first else { continue }
            for word in words {
                names[word.lowercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber) }] = String(name)
            }
        }
        return names
    }()

    /// The sets that iconv converts.
    static var systemNames: [String] {
        lists.compactMap { $0.split(separator: " ").first.map { String($0) } }
            .filter { !["UTF-8", "WINDOWS-1252", "ISO-8859-15", Charset.shiftedJapanese].contains($0) }
    }

    /// The name for iconv, then what else it's called.
    private static let lists = [
        "UTF-8 utf8 unicode-1-1-utf-8 unicode20utf8 x-unicode20utf8 us-ascii ascii ansi_x3.4-1968 ansi_x3.4-1986 iso646-us 646",
        "WINDOWS-1252 cp1252 x-cp1252 iso-8859-1 iso8859-1 iso-8859-1-windows-3.1-latin-1 iso-ir-100 latin1 l1 cp819 ibm819 "
            + "windows-latin1 ansi x-ansi 8bit iso-8859-8859-1 unknown-8bit",
        "ISO-8859-2 latin2 l2 iso-ir-101", "ISO-8859-3 latin3 l3 iso-ir-109", "ISO-8859-4 latin4 l4 iso-ir-110",
        "ISO-8859-5 cyrillic iso-ir-144", "ISO-8859-6 arabic iso-8859-6-e iso-8859-6-i ecma-114 asmo-708 iso-ir-127",
        "ISO-8859-7 greek greek8 ecma-118 elot_928 sun_eu_greek iso-ir-126",
        "ISO-8859-8 hebrew iso-8859-8-i iso-8859-8-e visual logical iso-ir-138",
        "WINDOWS-1254 cp1254 x-cp1254 iso-8859-9 latin5 l5 iso-ir-148", "ISO-8859-10 latin6 l6 iso-ir-157",
        "ISO-8859-13 latin7", "ISO-8859-14 latin8", "ISO-8859-15 latin9 l9 latin-9 csisolatin9", "ISO-8859-16 latin10",
        "WINDOWS-1250 cp1250 x-cp1250", "WINDOWS-1251 cp1251 x-cp1251", "WINDOWS-1253 cp1253 x-cp1253",
        "WINDOWS-1255 cp1255 x-cp1255", "WINDOWS-1256 cp1256 x-cp1256", "WINDOWS-1257 cp1257 x-cp1257",
        "WINDOWS-1258 cp1258 x-cp1258", "CP874 windows-874 dos-874 tis-620 tis620 iso-8859-11 iso8859-11",
        "KOI8-R koi koi8 cskoi8r", "KOI8-U koi8-ru", "MACINTOSH mac x-mac-roman x-macroman",
        "MAC-CYRILLIC x-mac-cyrillic x-mac-ukrainian", "CP437 ibm437", "CP850 ibm850", "CP852 ibm852",
        "CP866 ibm866 csibm866",
        "GB18030 gb2312 gb_2312-80 gbk x-gbk cp936 windows-936 chinese euc-cn gb_2312 iso-ir-58 x-euc-cn",
        "BIG5-HKSCS big5 big5hkscs cn-big5 x-x-big5 big5-eten cp950 windows-950",
        "EUC-JP-MS euc-jp x-euc-jp eucjp x-eucjp",
        "ISO-2022-JP csiso2022jp iso-2022-jp-ms cp50220 cp50221", "ISO-2022-JP-2 iso-2022-jp-1",
        "CP932 shift_jis shift-jis sjis x-sjis ms_kanji ms932 windows-31j cswindows31j",
        "UHC euc-kr ks_c_5601 ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 korean cp949 windows-949 iso-ir-149 x-windows-949",
        "ISO-2022-KR csiso2022kr", "UTF-7 unicode-1-1-utf-7 x-unicode-1-1-utf-7", "UTF-16 utf16 unicode",
        "UTF-16LE unicodelittle", "UTF-16BE unicodebig unicodefffe", "UTF-32 utf32 ucs-4 iso-10646-ucs-4", "UTF-32LE",
        "UTF-32BE", "VISCII", "ARMSCII-8", "TCVN tcvn5712-1",
    ]
}
