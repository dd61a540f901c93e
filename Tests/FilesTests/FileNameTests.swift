import Files
import Testing

@Suite struct FileNameTests {
    @Test(
        arguments: [
            Array("plain-1.host,S=2:2,S".utf8), Array("é \u{1F426} 漢".utf8), [0xFC], [0xC3], [0xC3, 0x28],
            [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF0, 0x9F, 0x90], Array("a\u{10FF00}b".utf8),
            Array("\u{10FFFF}".utf8) + [0xFF], Array("\u{10FEFF}".utf8), Array("e\u{301}".utf8) + [0x80],
            Array("\u{FFFD}".utf8), [],
        ] as [[UInt8]]
    )
    func anyOctetsComeBack(_ octets: [UInt8]) {
        let text = FileName.text(octets)
        #expect(FileName.octets(of: text) ?? Array(text.utf8) == octets)
    }

    @Test func namesAreDifferentWhereOctetsAre() {
        let names: [[UInt8]] = [[0xFC], Array("\u{10FFFC}".utf8), Array("ü".utf8), Array("\u{FFFD}".utf8)]
        #expect(Set(names.map { FileName.text($0) }).count == names.count)
        #expect(FileName.octets(of: "plain") == nil)
        // Neither a `/` nor a NUL comes of what looks like one.
        #expect(FileName.octets(of: "a\u{10FF2F}b\u{10FF00}") == nil)
    }
}
