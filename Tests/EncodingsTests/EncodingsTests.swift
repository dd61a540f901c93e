import Encodings
import NIOCore
import Testing

@Suite struct Base64Tests {
    /// RFC 4648 §10.
    @Test(
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func examples(plain: String, text: String) {
        #expect(Base64.text(plain.utf8) == text)
        #expect(Base64.decode(text.utf8) == Array(plain.utf8))
    }

    @Test func everyOctetRoundTrips() {
        for count in 0...300 {
            let octets = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            #expect(Base64.decode(Base64.encode(octets)) == octets)
        }
    }

    @Test(
        arguments: [
            "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "====", "Zg==Zg==", "Zm9v=", "Zm9v====", "Z g=", "Zm9v\n",
            "Zm-v", "=Zg=", "Z===", "Zm9vZg=g", "Zm9v\r\nZm9v\r\n", "Zm9v\n\n\n\n", "Zm9vZm9vZm9vZm9v\r\n\r\n",
            "Zm9vZm9vZm9vZm9vZm9v*m9v",
        ]
    )
    func refuses(text: String) {
        #expect(Base64.decode(text.utf8) == nil)
    }

    /// Where the octets lie makes no difference.
    @Test func takesWhatIsNotContiguous() {
        let text = Array("Zm9vYmFyZm9vYmFyZm9vYmFyZg==".utf8)
        #expect(Base64.decode(text[...]) == Array("foobarfoobarfoobarf".utf8))
        #expect(Base64.decode(text.lazy.map { $0 }) == Array("foobarfoobarfoobarf".utf8))
    }
}

@Suite struct PercentCodingTests {
    @Test(
        arguments: [
            ("", ""), ("plain: text", "plain: text"), ("a%b", "a%25b"), ("a\r\nb\0", "a%0D%0Ab%00"), ("ä", "ä"),
        ]
    )
    func roundTrip(value: String, coded: String) {
        var buffer = ByteBuffer()
        buffer.writePercentCoded(value)
        #expect(String(buffer: buffer) == coded)
        #expect(PercentCoding.isNeeded(value) == (value != coded))
        #expect(PercentCoding.decode(coded.utf8) == Array(value.utf8))
    }

    @Test func anyOctetMayBeCoded() {
        #expect(PercentCoding.decode("%41%6a%6A".utf8) == Array("Ajj".utf8))
    }

    @Test(arguments: ["%", "%4", "abc%", "%%41", "%G0", "%0g"])
    func refuses(text: String) {
        #expect(PercentCoding.decode(text.utf8) == nil)
    }
}
