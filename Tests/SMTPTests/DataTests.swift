import NIOCore
import Testing

@testable import SMTP

@Suite struct DataTests {
    struct Decoded: Equatable {
        var message = ""
        var hasEnded = false
        var isBare = false
        var rest = ""
    }

    private func decode(_ pieces: [ArraySlice<UInt8>]) -> Decoded {
        var decoder = DataDecoder()
        var result = Decoded()
        var message = ByteBuffer()
        var input = ByteBuffer()
        for piece in pieces {
            input.writeBytes(piece)
            while !result.hasEnded, let event = decoder.next(&input) {
                switch event {
                case .octets(var octets): message.writeBuffer(&octets)
                case .end: result.hasEnded = true
                }
            }
        }
        result.message = String(buffer: message)
        result.isBare = decoder.hasBareLineEnd
        result.rest = String(buffer: input)
        return result
    }

    private func check(_ text: String, _ expected: Decoded) {
        let bytes = Array(text.utf8)
        var expected = expected
        if expected.isBare { expected.message = "" }
        func same(_ result: Decoded) -> Bool {
            var result = result
            // What was given before the fault was found depends on the pieces; the message is refused anyway.
            if result.isBare { result.message = "" }
            return result == expected
        }
        #expect(same(decode([bytes[...]])), "whole: \(text.debugDescription)")
        #expect(same(decode(bytes.indices.map { bytes[$0...$0] })), "octet by octet: \(text.debugDescription)")
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let result = decode([bytes[..<first], bytes[first..<second], bytes[second...]])
                guard same(result) else {
                    Issue.record("split at \(first), \(second): \(text.debugDescription) gave \(result)")
                    return
                }
            }
        }
    }

    @Test(
        arguments: [
            (".\r\n", ""),
            ("a\r\n.\r\n", "a\r\n"),
            ("\r\n.\r\n", "\r\n"),
            ("..\r\n.\r\n", ".\r\n"),
            ("...\r\n.\r\n", "..\r\n"),
            ("..a\r\n..b\r\n.\r\n", ".a\r\n.b\r\n"),
            (".a\r\n.\r\n", "a\r\n"),
            ("a.b\r\n.\r\n", "a.b\r\n"),
            ("a.\r\n.\r\n", "a.\r\n"),
            (
                "Subject: a longer line than eight octets\r\n\r\n.. and body\r\n.\r\n",
                "Subject: a longer line than eight octets\r\n\r\n. and body\r\n"
            ),
        ]
    )
    func messages(text: String, message: String) {
        check(text, Decoded(message: message, hasEnded: true))
        check(text + "QUIT\r\n", Decoded(message: message, hasEnded: true, rest: "QUIT\r\n"))
    }

    /// None of these may end the message before its true end.
    @Test(
        arguments: [
            "a\n.\n", "a\n.\r\n", "a\r\n.\n", "a\r.\r", "a\r.\r\n", "a\r\n.\r", "a\r\r\n.\r\r\n", "\n", "\r", ".\n",
            ".\r\r\n",
            "a\r\n.\r.\r\n", "a\n\r.\n\r", "a\r\n.\rb\r\n", "a\rb", "a\nb", ".\rb", "..\n", "\r\r", "12345678\n",
            "1234567\r8",
        ]
    )
    func smuggling(fault: String) {
        let evil = "MAIL FROM:<evil@x>\r\n"
        check("x\r\n" + fault + evil + ".\r\nQUIT\r\n", Decoded(hasEnded: true, isBare: true, rest: "QUIT\r\n"))
        check(fault + evil, Decoded(hasEnded: false, isBare: true))
    }

    @Test func notEndedYet() {
        for text in ["", "a", "a\r\n", "a\r\n.", ".", "a\r\n..\r\n", ".a"] {
            #expect(!decode([Array(text.utf8)[...]]).hasEnded)
        }
        #expect(!decode([Array("a\r\n.\r".utf8)[...]]).isBare)
    }

    @Test func longestLineIsMeasuredAcrossPieces() {
        var decoder = DataDecoder()
        for piece in ["12345", "678\r\n12", "3\r\n", ".\r\n"] {
            var input = ByteBuffer(string: piece)
            while decoder.next(&input) != nil {}
        }
        #expect(decoder.longestLine == 8)
    }

    @Test func largeMessageComesInOneSlice() {
        var decoder = DataDecoder()
        let line = String(repeating: "x", count: 70) + "\r\n"
        let text = String(repeating: line, count: 900)
        var input = ByteBuffer(string: text + ".\r\n")
        #expect(decoder.next(&input) == .octets(ByteBuffer(string: text)))
        #expect(decoder.next(&input) == .end)
        #expect(decoder.next(&input) == nil)
    }

    private func encode(_ pieces: [ArraySlice<UInt8>]) -> String {
        var encoder = DataEncoder()
        var output = ByteBuffer()
        for piece in pieces {
            var input = ByteBuffer(bytes: piece)
            encoder.encode(&input, into: &output)
        }
        encoder.finish(into: &output)
        return String(buffer: output)
    }

    @Test(
        arguments: [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n.\r\n"),
            ("a.b\r\n", "a.b\r\n.\r\n"),
            ("a\n.\nb\r\n", "a . b\r\n.\r\n"),
            ("a\r.\rb\r\n", "a . b\r\n.\r\n"),
            ("a\r\n.\r", "a\r\n..\r\n.\r\n"),
            ("a\r\r\nb", "a \r\nb\r\n.\r\n"),
        ]
    )
    func encodes(message: String, data: String) {
        let bytes = Array(message.utf8)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                #expect(encode([bytes[..<first], bytes[first..<second], bytes[second...]]) == data)
            }
        }
    }

    @Test func whatIsEncodedIsDecoded() {
        let message = "Subject: x\r\n\r\n.\r\n..\r\n...\r\n.a\r\n\r\n.\r\n"
        let data = encode([Array(message.utf8)[...]])
        #expect(decode([Array(data.utf8)[...]]) == Decoded(message: message, hasEnded: true))
    }
}
