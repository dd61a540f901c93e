import MIME
import NIOCore
import SMTP
import Testing

@testable import RemoteRelay
@testable import Rewriting

/// What remote-relay makes of lines that SMTP doesn't carry (RFC 5321 §4.5.3.1.6).
@Suite struct LongLineTests {
    private static let long = String(repeating: "0123456789", count: 500)

    private func survey(_ message: String) -> LongLineSurvey {
        var survey = LongLineSurvey(hostname: "mail.example.test")
        survey.feed(ByteBuffer(string: message))
        survey.finish()
        return survey
    }

    /// The message in shorter lines; in pieces of any size it becomes the same.
    private func rewritten(_ message: String) throws -> String {
        let survey = survey(message)
        #expect(survey.obstacle == nil)
        let octets = Array(message.utf8)
        var results: Set<[UInt8]> = []
        for size in [1, 7, 64, octets.count] {
            var rewriter = LongLineRewriter(survey.edits)
            var result: [UInt8] = []
            for start in stride(from: 0, to: octets.count, by: size) {
                octets[start..<min(start + size, octets.count)].withUnsafeBytes { rewriter.feed($0, into: &result) }
            }
            results.insert(result)
        }
        #expect(results.count == 1)
        let result = try #require(results.first)
        let lines = String(decoding: result, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.allSatisfy { $0.utf8.count <= 998 })
        #expect(!lines.contains { !$0.isEmpty && $0.allSatisfy { $0 == " " || $0 == "\t" } })
        #expect(!LineLengths.areTooLong(ByteBuffer(bytes: result).readableBytesView))
        return String(decoding: result, as: UTF8.self)
    }

    /// The bodies of the parts that have no parts, decoded.
    private func contents(_ message: String) -> [String] {
        var parser = MessageParser()
        var bodies: [String] = []
        var stack: [(encoding: TransferDecoder.Encoding, octets: [UInt8])] = []
        func receive(_ event: MessageEvent) {
            switch event {
            case .partBegin: stack.append((.identity, []))
            case .headerEnd(_, _, let content): stack[stack.count - 1].encoding = content.encoding
            case .body(_, let octets): stack[stack.count - 1].octets += octets
            case .partEnd:
                let (encoding, octets) = stack.removeLast()
                if !octets.isEmpty {
                    bodies.append(String(decoding: TransferDecoder.decode(octets, encoding), as: UTF8.self))
                }
            case .field, .outside: break
            }
        }
        Array(message.utf8).withUnsafeBytes { parser.feed($0) { receive($0) } }
        parser.finish { receive($0) }
        return bodies
    }

    private func header(_ message: String) -> HeaderBlock { HeaderBlock(Array(message.utf8)) }

    private func unfolded(_ message: String, _ name: StaticString) -> String? {
        header(message).first(name).map { String(decoding: $0, as: UTF8.self) }
    }

    // MARK: Bodies

    @Test func textBecomesQuotedPrintable() throws {
        for (fields, former) in [
            ("", "7bit"), ("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n", "8bit"),
            (
                "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7BIT\r\n",
                "7bit"
            ),
        ] {
            let message = "Subject: x\r\n\(fields)\r\n.a=é \r\n\(Self.long) ü\r\nFrom b\r\n"
            let result = try rewritten(message)
            #expect(contents(result) == contents(message))
            #expect(unfolded(result, "content-transfer-encoding") == "quoted-printable")
            #expect(unfolded(result, "mime-version") == "1.0")
            #expect(
                unfolded(result, "x-mime-autoconverted") == "from \(former) to quoted-printable by mail.example.test"
            )
            #expect(header(result).all("content-transfer-encoding".utf8).count == 1)
            #expect(header(result).all("mime-version".utf8).count == 1)
            #expect(unfolded(result, "content-type") == unfolded(message, "content-type"))
        }
    }

    @Test func quotedPrintableGetsSoftBreaks() throws {
        let line = String(repeating: "=C3=A4b", count: 500)
        let message = "Content-Transfer-Encoding: quoted-printable\r\n\r\na=20\r\n\(line)\r\nend=\r\n"
        let result = try rewritten(message)
        #expect(contents(result) == contents(message))
        #expect(unfolded(result, "x-mime-autoconverted") == nil)
    }

    @Test func base64IsWrappedAnew() throws {
        let line = String(repeating: "QUJD", count: 1000)
        for body in ["\(line)\r\nQQ==\r\n", line, "\(line)\r\n"] {
            let message = "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n\(body)"
            let result = try rewritten(message)
            #expect(contents(result) == contents(message))
            let lines = result.split(separator: "\r\n", omittingEmptySubsequences: false).dropFirst(3)
            #expect(lines.allSatisfy { $0.utf8.count <= 76 })
        }
    }

    @Test func onlyThePartsThatNeedIt() throws {
        let message = """
            Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\n\r\nshort\r\n\
            --b\r\nContent-Type: application/json\r\n\r\n\(Self.long)\r\n\
            --b\r\n\r\n\(Self.long)\r\n\
            --b\r\n\(Self.long)\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\n\(Self.long)\r\n\
            --b--\r\n\(Self.long)\r\n
            """
        let result = try rewritten(message)
        #expect(contents(result) == contents(message))
        #expect(contents(result).count == 5)
        #expect(
            result.hasPrefix("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
        )
        #expect(result.contains("--b\r\nContent-Type: text/plain\r\n\r\nshort\r\n--b\r\n"))
        #expect(result.contains("\r\n\r\nSubject: y\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted"))
    }

    @Test func whatMayNotBeEncodedIsBroken() throws {
        let words = String(repeating: "word ", count: 500)
        let message =
            "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\nX-A: \(words)\r\nX-B: \(Self.long)\r\n"
        let result = try rewritten(message)
        #expect(result.replacing("\r\n ", with: " ").contains("X-A: \(words)\r\n"))
        #expect(!result.contains("quoted-printable"))
    }

    @Test func boundariesOfSize() {
        for (count, isLong) in [(998, false), (999, true)] {
            let line = String(repeating: "x", count: count)
            for text in [line, "\(line)\r\n", "a\r\n\(line)\r\nb\r\n", "a\r\n\(line)\r"] {
                #expect(LineLengths.areTooLong(ByteBuffer(string: text).readableBytesView) == isLong, "\(count)")
                var encoder = DataEncoder()
                var input = ByteBuffer(string: ".\r\n\(text)")
                var output = ByteBuffer()
                encoder.encode(&input, into: &output)
                #expect((encoder.longestLine > DataEncoder.lineLimit) == isLong, "\(count)")
            }
            #expect(survey("Subject: x\r\n\r\n\(line)\r\n").edits.isEmpty != isLong)
            let folded = String(repeating: " ", count: 1) + String(repeating: "y", count: count - 1)
            #expect(survey("X-A: x\r\n\(folded)\r\n\r\n").edits.isEmpty != isLong)
        }
        // What isn't CR LF ends no line (RFC 5321 §2.3.8).
        let bare = String(repeating: "x\ny\r", count: 300)
        #expect(LineLengths.areTooLong(ByteBuffer(string: bare).readableBytesView))
        #expect(!survey("Subject: x\r\n\r\n\(bare)\r\n").edits.isEmpty)
    }

    // MARK: What is signed

    @Test func signedPartsAreNotTouched() throws {
        func message(_ part: String, _ signature: String) -> String {
            """
            MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b; protocol="application/pgp-signature"\r\n\r\n\
            --b\r\n\(part)\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\n\(signature)\r\n--b--\r\n
            """
        }
        for part in [
            "\r\n\(Self.long)", "X-A: \(Self.long)\r\n\r\nshort",
            "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n\(Self.long)\r\n--c--",
            "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nshort\r\n--c--\r\n\(Self.long)",
            "Content-Transfer-Encoding: base64\r\n\r\n\(Self.long)",
        ] {
            guard case .signed = survey(message(part, "s")).obstacle else {
                Issue.record("changed: \(part.prefix(60))")
                continue
            }
        }
        // The signature isn't signed.
        let result = try rewritten(message("\r\nshort", Self.long))
        #expect(result.contains("--b\r\n\r\nshort\r\n--b\r\n"))
    }

    @Test func brokenSealsAreNoticed() {
        let seal = "DKIM-Signature: v=1; b=x\r\n"
        let words = String(repeating: "word ", count: 500)
        for (text, isSealed, isBroken) in [
            ("Subject: x\r\n\r\n\(Self.long)\r\n", false, true),
            ("\(seal)Subject: x\r\n\r\n\(Self.long)\r\n", true, true),
            // A fold at white space changes nothing for the relaxed form (RFC 6376 §3.4.2).
            ("\(seal)Subject: \(words)\r\n\r\nshort\r\n", true, false),
            ("\(seal)X-A: \(Self.long)\r\n\r\nshort\r\n", true, true),
        ] {
            let survey = survey(text)
            #expect(survey.isSealed == isSealed)
            #expect(survey.breaksSeal == isBroken)
        }
    }

    @Test func unknownEncodingsAreNotTouched() {
        for encoding in ["x-uuencode", "x-secret"] {
            let message = "Content-Transfer-Encoding: \(encoding)\r\n\r\n\(Self.long)\r\n"
            guard case .encoding(encoding) = survey(message).obstacle else {
                Issue.record("\(encoding)")
                continue
            }
        }
    }

    // MARK: Fields

    @Test func fieldsAreFoldedAtWhiteSpace() throws {
        let words = (0..<600).map { "word\($0)" }.joined(separator: " ")
        for name in ["Subject", "X-Words", "To", "References", "DKIM-Signature", "Received"] {
            let message = "A: b\r\n\(name): \(words)\r\nC: d\r\n\r\n\(name): x\r\n"
            let result = try rewritten(message)
            // Only line ends were put in.
            #expect(result.replacing("\r\n ", with: " ") == message)
            #expect(result.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 78 })
        }
    }

    @Test func addressesAreFoldedBehindCommas() throws {
        let addresses = (0..<300).map { "\"a,b\\\",\($0)\"<a\($0),b@example.net>,(c,d)c\($0)@example.net" }
        let result = try rewritten("To: \(addresses.joined(separator: ","))\r\n\r\n")
        let parsed = try #require(unfolded(result, "to"))
        #expect(parsed.replacing(", ", with: ",") == addresses.joined(separator: ","))
        for address in addresses { #expect(parsed.contains(address.prefix { $0 != "<" })) }
    }

    @Test func identifiersAreFoldedBetweenThem() throws {
        let identifiers = (0..<200).map { "<\($0).\"a><b\"@example.net>" }.joined()
        let result = try rewritten("References: \(identifiers)\r\n\r\n")
        let text = try #require(unfolded(result, "references"))
        #expect(text.replacing("> <", with: "><") == identifiers)
        #expect(text.contains("\"a><b\""))
    }

    @Test func longWordsOfTextAreEncoded() throws {
        let result = try rewritten("Subject: Re: \(Self.long)é\r\nTo: a@b\r\n\r\n")
        let subject = try #require(header(result).first("subject"))
        #expect(EncodedWords.text(subject) == "Re: \(Self.long)é")
        #expect(unfolded(result, "to") == "a@b")
    }

    @Test func unknownFieldsAreBrokenAnywhere() throws {
        let text = String(repeating: "é", count: 2500)
        let result = try rewritten("X-Token: a\(text)\r\n\r\n")
        #expect(String(validating: Array(result.utf8), as: UTF8.self) != nil)
        #expect(result.replacing("\r\n ", with: "") == "X-Token: a\(text)\r\n\r\n")
    }

    @Test func wordsThatMeanSomethingOnlyAsAWholeAreNotBroken() {
        for field in ["Message-ID: <\(Self.long)@example.net>", "To: \"\(Self.long)\" <a@b>", "Date: \(Self.long)"] {
            guard case .field(let name) = survey("\(field)\r\n\r\n").obstacle else {
                Issue.record("\(field.prefix(20))")
                continue
            }
            #expect(field.hasPrefix("\(name): "))
        }
    }

    @Test func muchWhiteSpace() throws {
        let blanks = String(repeating: " ", count: 3000)
        for value in ["1\(blanks)2", "1 2\(blanks)", "\(blanks)1", "1\r\n\(blanks)2", "1,\(blanks)2"] {
            for name in ["Subject", "To", "X-A"] {
                let result = try rewritten("\(name): \(value)\r\nD: e\r\n\r\nbody\r\n")
                #expect(result.hasSuffix("\r\nD: e\r\n\r\nbody\r\n"))
                #expect(result.filter(\.isNumber) == value.filter(\.isNumber))
            }
        }
    }

    /// A line of nothing but white space continues a field; an empty one would end the header.
    @Test func blankLinesDontEndTheHeader() throws {
        let blanks = String(repeating: " ", count: 1200)
        for after in ["", "\r\n x"] {
            let result = try rewritten("A: b\r\n\(blanks)\(after)\r\nTo: c\r\n\r\nbody\r\n")
            #expect(unfolded(result, "to") == "c")
            #expect(contents(result) == ["body\r\n"])
        }
    }

    @Test func namesAreNotBroken() {
        guard case .field(let name) = survey("\(Self.long.prefix(950)): \(Self.long)\r\n\r\n").obstacle else {
            Issue.record("broken")
            return
        }
        #expect(name.utf8.count <= 60)
    }

    /// Behind what is looked at of a header.
    @Test func veryLongHeadersAreFolded() throws {
        let words = (0..<400).map { "word\($0)" }.joined(separator: " ")
        let many = String(repeating: "X-Filler: \(String(repeating: "x", count: 900))\r\n", count: 300)
        for field in ["X-Words: \(words)", "X-Words: \(words)\(String(repeating: " ", count: 1500))", "\tand \(words)"]
        {
            let message = "Subject: x\r\n\(many)\(field)\r\nTo: a@b\r\n\r\nbody \r\n"
            let result = try rewritten(message)
            let end = result.hasSuffix("\r\nTo: a@b\r\n\r\nbody \r\n")
            #expect(end)
            let lines = result.replacing("\r\n ", with: " ").split(separator: "\r\n")
            // What is behind the last word may be lost.
            #expect(lines.contains { String($0.reversed().drop { $0 == " " }.reversed()).hasSuffix(words) })
        }
        // One field of that length.
        let long = "X-Words: \(String(repeating: words + " ", count: 150))."
        let result = try rewritten("A: b\r\n\(long)\r\n\r\nbody\r\n")
        #expect(result.replacing("\r\n ", with: " ") == "A: b\r\n\(long)\r\n\r\nbody\r\n")
        // No white space there, or a body of which it isn't known what it is.
        for (field, body) in [("X-Long: \(Self.long)", "short"), ("X-A: b", Self.long)] {
            guard case .header = survey("\(many)\(field)\r\n\r\n\(body)\r\n").obstacle else {
                Issue.record("\(field.prefix(20))")
                continue
            }
        }
    }

    @Test func whiteSpaceBehindDelimitersIsDropped() throws {
        let blanks = String(repeating: " \t", count: 700)
        func message(_ blanks: String) -> String {
            """
            Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\(blanks)\r\n\r\none\r\n--b\(blanks)\r\n\
            Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\ntwo\r\n--c--\(blanks)\r\n--b--\(blanks)\r\n
            """
        }
        #expect(try rewritten(message(blanks)) == message(""))
        let within = "--s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\(blanks)\r\n\r\none\r\n--b--\r\n"
        let end = "--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--"
        let top = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; protocol=x\r\n\r\n"
        #expect(
            try rewritten("\(top)\(within.replacing(blanks, with: ""))\(end)\(blanks)\r\n").hasSuffix("\r\n--s--\r\n")
        )
        guard case .signed = survey("\(top)\(within)\(end)\r\n").obstacle else {
            Issue.record("a signed part was changed")
            return
        }
    }

    /// Shorter white space would make another boundary of it for those who take white space for a part of one.
    @Test func whiteSpaceWithinParametersIsNotShortened() throws {
        let blanks = String(repeating: " ", count: 1200)
        let message = """
            A: b\r\nContent-Type: multipart/mixed; boundary=b\r\n\(blanks)Content-Transfer-Encoding: quoted-printable\r\n \r
            Content-Type: multipart/mixed; boundary=b\r\n\r\n\tContent-Type: message/rfc822\r\n<--b\r\n \r\n
            """
        guard case .field = survey(message).obstacle else {
            Issue.record("a field was folded to another meaning")
            return
        }
    }

    @Test func linesThatAreNoFieldsAreBroken() throws {
        for (line, place) in [("junk \(Self.long)", "A: b\r\n"), (" \(Self.long)", ""), ("\(Self.long)", "A: b\r\n")] {
            let message = "\(place)\(line)\r\nC: d\r\n\r\nbody\r\n"
            let result = try rewritten(message)
            #expect(result.replacing("\r\n ", with: "").replacing(" ", with: "") == message.replacing(" ", with: ""))
        }
    }

    /// Whatever comes is carried in short lines or refused, in any pieces alike. (No CR or LF on its own comes into the
    /// queue.)
    @Test func anythingIsCarriedOrRefused() throws {
        var random = SystemRandomNumberGenerator()
        let tokens = [
            "Subject: ", "To: ", "X-A: ", "\r\n", "\r\n", "--b\r\n", "--b--\r\n",
            "Content-Type: text/plain\r\n",
            "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Transfer-Encoding: base64\r\n", "\"", "(", "<",
            ",",
            "Content-Transfer-Encoding: quoted-printable\r\n", "Content-Type: message/rfc822\r\n", " ", "\t", "=", "é",
            String(repeating: "x", count: 1200), String(repeating: " ", count: 1200),
            String(repeating: "y z", count: 400),
        ]
        for _ in 0..<200 {
            let message =
                "A: b\r\n" + (0..<12).map { _ in tokens.randomElement(using: &random) ?? "" }.joined() + "\r\n"
            let survey = survey(message)
            guard survey.obstacle == nil else { continue }
            let octets = Array(message.utf8)
            var whole = LongLineRewriter(survey.edits)
            var expected: [UInt8] = []
            octets.withUnsafeBytes { whole.feed($0, into: &expected) }
            var pieces = LongLineRewriter(survey.edits)
            var result: [UInt8] = []
            for octet in octets { [octet].withUnsafeBytes { pieces.feed($0, into: &result) } }
            #expect(result == expected, "\(message.debugDescription)")
            var lengths = LineLengths()
            result.withUnsafeBytes { lengths.feed($0) }
            // So that a failure can be read.
            let shape =
                message
                .replacing(String(repeating: "x", count: 1200), with: "X")
                .replacing(String(repeating: " ", count: 1200), with: "_")
                .replacing(String(repeating: "y z", count: 400), with: "Y")
            #expect(lengths.longest <= 998, "\(shape.debugDescription)")
            let isBroken = survey.edits.contains { if case .breakLines = $0.change { true } else { false } }
            if !isBroken {
                let text = String(decoding: result, as: UTF8.self)
                #expect(contents(text) == contents(message), "\(shape.debugDescription)")
            }
        }
    }
}
