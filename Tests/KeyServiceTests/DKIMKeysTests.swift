import Cryptography
import Files
import Keys
import Testing

@testable import KeyService

@Suite struct DKIMKeysTests {
    private let directory = KeyDirectory()
    private let files = KernelFileSystem()

    private func generate(_ kind: KeyKind, to name: String, bits: Int = 2048) {
        directory.write(PrivateKey.generate(kind, bits: bits)?.pem ?? [], to: name)
    }

    @Test func everyKeyOfADomainSigns() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [KeyEvent] { keys.look(files) }
        generate(.rsa, to: "example.test/b.pem")
        generate(.ed25519, to: "example.test/a.pem")
        generate(.ed25519, to: "other.test/2026.pem")
        directory.write([1], to: "example.test/README")
        #expect(look().isEmpty)
        #expect(keys.active["example.test"]?.map(\.selector) == ["a", "b"])
        #expect(keys.active["example.test"]?.map(\.algorithm) == [.dkimEd25519, .dkimRSA])
        #expect(keys.active["other.test"]?.map(\.selector) == ["2026"])
        #expect(keys.keys.count == 3)
        directory.remove(file: "example.test/b.pem")
        _ = look()
        #expect(keys.active["example.test"]?.map(\.selector) == ["a"])
    }

    /// Nobody would take such signatures (RFC 8301), or they aren't DKIM's.
    @Test func whatDoesNotSignMailIsLeftOut() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [KeyEvent] { keys.look(files) }
        generate(.rsa, to: "example.test/small.pem", bits: 768)
        #expect(look().map(\.isTrouble) == [true])
        #expect(keys.active["example.test"] == [])
        #expect(look().isEmpty)
        generate(.ecdsaP256, to: "example.test/small.pem")
        _ = look()
        #expect(keys.active["example.test"] == [])
        generate(.ed25519, to: "example.test/small.pem")
        _ = look()
        #expect(keys.active["example.test"]?.count == 1)
    }

    @Test func aKeyThatIsHalfWrittenLeavesTheOneBefore() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [KeyEvent] { keys.look(files) }
        generate(.ed25519, to: "example.test/a.pem")
        _ = look()
        let before = keys.active
        directory.write(Array("-----BEGIN PRIVATE KEY-----\nMC4CAQ".utf8), to: "example.test/a.pem")
        #expect(look().map(\.isTrouble) == [true])
        #expect(keys.active == before)
    }
}
