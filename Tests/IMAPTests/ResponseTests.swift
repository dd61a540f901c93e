import IMAP
import MIME
import NIOCore
import Testing

private func written(_ write: (inout ResponseWriter) -> Void) -> String {
    var writer = ResponseWriter()
    write(&writer)
    return String(buffer: writer.buffer)
}

@Suite struct ResponseTests {
    /// RFC 7162, RFC 8474.
    @Test func whatHasChanged() {
        #expect(written { $0.vanished("405,407,410:411") } == "* VANISHED 405,407,410:411\r\n")
        #expect(written { $0.vanished("41", isEarlier: true) } == "* VANISHED (EARLIER) 41\r\n")
        #expect(written { $0.modSequence(624_140_003) } == "MODSEQ (624140003)")
        for (code, text) in [
            (.highestModSequence(715_194_045_007), "HIGHESTMODSEQ 715194045007"), (.noModSequence, "NOMODSEQ"),
            (.modified("7,9"), "MODIFIED 7,9"), (.mailboxID("F1"), "MAILBOXID (F1)"),
        ] as [(ResponseCode, String)] { #expect(code.text == text) }
        #expect(SequenceSet.text([3...5, 7...7]) == "3:5,7")
    }

    /// RFC 3501 §8.
    @Test func theSampleSession() {
        let fields = EnvelopeFields(
            HeaderBlock(
                Array(
                    """
                    Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
                    From: Terry Gray <gray@cac.washington.edu>
                    Subject: IMAP4rev1 WG mtg summary and minutes
                    To: imap@cac.washington.edu
                    cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
                    Message-Id: <B27397-0100000@cac.washington.edu>

                    """.utf8
                )
            )
        )
        let gray = "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))"
        #expect(
            written { $0.envelope(fields) }
                == "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \(gray) \(gray) \(gray) "
                + "((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")"
                + "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")"
        )
        #expect(written { $0.number(18, "EXISTS") } == "* 18 EXISTS\r\n")
        #expect(
            written { $0.status(.ok, code: .unseen(17), "Message 17 is the first unseen message") }
                == "* OK [UNSEEN 17] Message 17 is the first unseen message\r\n"
        )
        #expect(
            written { $0.dateTime(DateTime(secondsSince1970: 837_596_665, offset: -420)) }
                == "\"17-Jul-1996 02:44:25 -0700\""
        )
    }

    @Test(arguments: [
        ("plain", "\"plain\""), ("a\"b\\", "\"a\\\"b\\\\\""), ("", "\"\""), ("a\r\nb", "{4}\r\na\r\nb"),
        ("ä", "{2}\r\nä"),
    ]) func stringsRoundTrip(text: String, expected: String) {
        #expect(written { $0.string(Array(text.utf8)) } == expected)
    }

    @Test func structures() {
        let message =
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\nyou\r\n--b\r\n"
            + "Content-Type: image/png; name=\"a.png\"\r\nContent-Transfer-Encoding: base64\r\n"
            + "Content-Disposition: attachment; filename=\"a.png\"\r\n\r\nAAEC\r\n--b--\r\n"
        var parser = StructureParser()
        parser.feed(ByteBuffer(string: message))
        let part = parser.finish()
        let plain = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 1"
        let image = "(\"image\" \"png\" (\"name\" \"a.png\") NIL NIL \"base64\" 4"
        #expect(written { $0.structure(part, isExtended: false) } == "(\(plain))\(image)) \"mixed\")")
        #expect(
            written { $0.structure(part, isExtended: true) }
                == "(\(plain) NIL NIL NIL NIL)\(image) NIL (\"attachment\" (\"filename\" \"a.png\")) NIL NIL) \"mixed\" "
                + "(\"boundary\" \"b\") NIL NIL NIL)"
        )
    }

    /// The form of a message with its envelope is message/rfc822's alone (RFC 3501 §9, media-message).
    @Test func structuresOfAttachedMessages() {
        func structure(_ type: String, _ encoding: String, isExtended: Bool) -> String {
            var parser = StructureParser()
            let fields = "Content-Type: \(type)\r\nContent-Transfer-Encoding: \(encoding)\r\n\r\n"
            parser.feed(ByteBuffer(string: "\(fields)Subject: x\r\n\r\nhello\r\n"))
            let part = parser.finish()
            return written { $0.structure(part, isExtended: isExtended) }
        }
        let inner = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 7 1)"
        let envelope = "(NIL \"x\" \(String(repeating: "NIL ", count: 7))NIL)"
        #expect(
            structure("message/rfc822", "8bit", isExtended: false)
                == "(\"message\" \"rfc822\" NIL NIL NIL \"8bit\" 21 \(envelope) \(inner) 3)"
        )
        for encoding in ["8bit", "base64"] {
            let start = "(\"message\" \"global\" NIL NIL NIL \"\(encoding)\" 21"
            #expect(structure("message/global", encoding, isExtended: false) == "\(start))")
            #expect(structure("message/global", encoding, isExtended: true) == "\(start) NIL NIL NIL NIL)")
        }
        #expect(
            structure("message/partial", "7bit", isExtended: false)
                == "(\"message\" \"partial\" NIL NIL NIL \"7bit\" 21)"
        )
    }

    /// A sequence set in parts is what it is in one.
    @Test(arguments: [1, 2, 100]) func setsInParts(maximum: Int) {
        let numbers: [UInt32] = [9, 4, 5, 6, 2, 8, 7, 3, 4, .max - 1, .max, 1]
        func text(_ places: Range<Int>) -> String {
            written { writer in
                var next = places.lowerBound
                while next < places.upperBound { next = writer.setPart(numbers, places, from: next, maximum: maximum) }
            }
        }
        #expect(text(numbers.indices) == "9,4:6,2,8,7,3:4,4294967294:4294967295,1")
        #expect(text(2..<5) == "5:6,2")
        #expect(text(3..<3).isEmpty)
        #expect(written { $0.numbers([0, 10, .max]) } == " 0 10 4294967295")
    }

    /// RFC 3501 §9: literals have no NUL.
    @Test func noNULInLiterals() {
        var writer = ResponseWriter()
        writer.string([0x61, 0, 0x62])
        #expect(Array(writer.buffer.readableBytesView) == Array("{3}\r\na".utf8) + [0x80, 0x62])
        #expect(ResponseWriter.withoutNUL(ByteBuffer(bytes: [0, 1, 0])) == ByteBuffer(bytes: [0x80, 1, 0x80]))
        #expect(ResponseWriter.withoutNUL(ByteBuffer(bytes: [1, 2])) == ByteBuffer(bytes: [1, 2]))
    }
}
