import NIOCore
import Testing

@testable import DNS

struct OptionTests {
    @Test(arguments: [
        // RFC 8467 §4.1: queries in blocks of 128 octets, answers in blocks of 468.
        (40, EDNS.Option.PaddingBlock.query, 128), (124, .query, 128), (125, .query, 256), (128, .query, 256),
        (12, .response, 468), (464, .response, 468), (465, .response, 936), (468, .response, 936),
    ])
    func paddingFillsBlocks(_ octets: Int, _ block: EDNS.Option.PaddingBlock, _ whole: Int) throws {
        let option = try #require(EDNS.Option.padding(octets, block: block))
        #expect(option.code == 12)
        #expect(octets + option.encodedCount == whole)
        #expect(option.data.allSatisfy { $0 == 0 })
    }

    @Test func paddingNeverMakesAMessageTooLong() throws {
        #expect(try #require(EDNS.Option.padding(65_530, block: .response)).data.count == 1)
        #expect(try #require(EDNS.Option.padding(65_500, block: .response)).data.count == 16)
        #expect(try #require(EDNS.Option.padding(65_531, block: .response)).data.isEmpty)
        #expect(EDNS.Option.padding(65_532, block: .response) == nil)
    }

    @Test func keepaliveIsInTenthsOfSeconds() {
        #expect(EDNS.Option.keepalive(.seconds(30)) == EDNS.Option(code: 11, data: [0x01, 0x2C]))
        #expect(EDNS.Option.keepalive(.hours(3)).data == [0xFF, 0xFF])
        #expect(EDNS.Option.keepalive(.milliseconds(99)).data == [0, 0])
    }

    @Test(arguments: [[], [EDNS.Option(code: 15, data: [0, 6, 0x61])]])
    func optionsAreAddedToWhatIsEncoded(_ before: [EDNS.Option]) throws {
        let question = Question(name: try DomainName("www.example.com"), type: .a)
        var message = DNSMessage.query(id: 7, question: question, dnssecOK: true).response()
        message.edns?.options = before
        let octets = message.encode()
        var buffer = ByteBuffer(bytes: [1, 2, 3])
        buffer.moveReaderIndex(forwardBy: 3)
        buffer.writeBytes(octets)
        let place = octets.count - (message.edns?.encodedCount ?? 0)
        let added = [EDNS.Option.keepalive(.seconds(5)), EDNS.Option(code: 12, data: [0, 0, 0])]
        for option in added { DNSMessage.append(option, to: &buffer, optAt: place) }
        message.edns?.options += added
        #expect(try DNSMessage(decoding: buffer) == message)
        #expect(Array(buffer.readableBytesView) == message.encode())
    }

    @Test func base64urlHasNoPadding() {
        // RFC 8484 §4.1.1: the query for www.example.com.
        let text = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"
        let octets = RadixCoding.base64url.decode(text.utf8) ?? []
        #expect((try? DNSMessage(decoding: octets))?.questions.first?.name.description == "www.example.com.")
        #expect(String(decoding: RadixCoding.base64url.encode(octets), as: UTF8.self) == text)
        #expect(RadixCoding.base64url.decode("-_8".utf8) == [0xFB, 0xFF])
        #expect(RadixCoding.base64url.encode([0xFB, 0xFF]) == Array("-_8".utf8))
        for wrong in ["+/8", "-_8=", "A", "AAAAA", "-_9", "AA A", "é"] {
            #expect(RadixCoding.base64url.decode(wrong.utf8) == nil, "\(wrong)")
        }
    }
}
