import NIOCore
import Testing

@testable import Front

@Suite struct ReturnMarkTests {
    private static func find(_ mark: ReturnMark, _ octets: [UInt8]) -> [Int] {
        let found = mark.find(in: ByteBuffer(bytes: octets).readableBytesView)
        return [found.before, found.of]
    }

    @Test func itIsFoundWhereverItIs() {
        let mark = ReturnMark()
        let text = Array("* OK done\r\n".utf8)
        #expect(mark.octets.count == 33 && ReturnMark() != mark && ReturnMark(text: mark.text) == mark)
        #expect(Self.find(mark, text) == [11, 0] && Self.find(mark, []) == [0, 0])
        #expect(Self.find(mark, text + mark.octets) == [11, 33])
        #expect(Self.find(mark, text + mark.octets + text) == [11, 33])
        // Another NUL in front of it, and one that begins it.
        #expect(Self.find(mark, [0, 1, 0] + mark.octets) == [3, 33])
        for count in 1..<33 {
            #expect(Self.find(mark, text + mark.octets.prefix(count)) == [11, count])
            #expect(Self.find(mark, mark.octets.prefix(count) + text) == [count + 11, 0])
        }
    }

    @Test(arguments: [
        "", "0", String(repeating: "0", count: 31), String(repeating: "G", count: 32),
        String(repeating: "A", count: 32),
    ])
    func whatIsNone(text: String) { #expect(ReturnMark(text: text) == nil) }
}
