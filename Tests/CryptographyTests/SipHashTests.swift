import Testing

@testable import Cryptography

struct SipHashTests {
    /// From the paper's appendix A, and its authors' reference vectors: key 00 01 … 0f, messages 00 01 02 ….
    @Test(arguments: [
        (0, UInt64(0x726F_DB47_DD0E_0E31)), (1, 0x74F8_39C5_93DC_67FD), (7, 0xAB02_00F5_8B01_D137),
        (8, 0x93F5_F579_9A93_2462), (15, 0xA129_CA61_49BE_45E5), (16, 0x3F2A_CC7F_57C2_9BDB),
    ])
    func referenceVectors(_ length: Int, _ expected: UInt64) throws {
        let hash = try #require(SipHash(key: (0..<16).map { UInt8($0) }))
        #expect(hash.hash((0..<length).map { UInt8($0) }) == expected)
    }

    @Test func keysHaveSixteenOctets() {
        #expect(SipHash(key: [UInt8](repeating: 1, count: 15)) == nil)
        #expect(SipHash(key: []) == nil)
    }
}
