import Cryptography
import Files
import Keys
import Testing

@testable import KeyService

#if canImport(Glibc)
import Glibc
#endif

@Suite struct DKIMKeysTests {
    private let directory = KeyDirectory()
    private let files = KernelFileSystem()

    private func generate(_ kind: KeyKind, to name: String, bits: Int = 2048) {
        directory.write(PrivateKey.generate(kind, bits: bits)?.pem ?? [], to: name)
    }

    private func list(_ domain: String, _ lines: String...) {
        directory.write(lines.map { "\($0) 20261130080000\n" }.joined().utf8, to: "\(domain)/selectors")
    }

    private func selectors(_ keys: DKIMKeys, _ domain: String = "example.test") -> [String]? {
        guard case .keys(let found) = keys.active[domain] else { return nil }
        return found.map(\.selector)
    }

    @Test func theActiveKeysOfADomainSign() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [KeyEvent] { keys.look(files) }
        generate(.rsa, to: "example.test/b.pem")
        generate(.ed25519, to: "example.test/a.pem")
        generate(.ed25519, to: "example.test/next.pem")
        list("example.test", "b rsa-sha256 active", "a ed25519-sha256 active", "next ed25519-sha256 published")
        generate(.ed25519, to: "other.test/2026.pem")
        list("other.test", "2026 ed25519-sha256 active", "2025 rsa-sha256 retired")
        directory.write([1], to: "README")
        #expect(look().isEmpty)
        #expect(selectors(keys) == ["b", "a"])
        guard case .keys(let found) = keys.active["example.test"] else { return }
        #expect(found.map(\.algorithm) == [.dkimRSA, .dkimEd25519])
        #expect(selectors(keys, "other.test") == ["2026"])
        #expect(keys.keys.count == 3)
        list("example.test", "b rsa-sha256 retiring", "a ed25519-sha256 retiring", "next ed25519-sha256 active")
        #expect(look().isEmpty)
        #expect(selectors(keys) == ["next"])
        #expect(keys.keys.count == 2)
    }

    @Test func aDomainMayBeALink() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [KeyEvent] { keys.look(files) }
        generate(.ed25519, to: "shared/a.pem")
        list("shared", "a ed25519-sha256 active")
        symlink("shared", "\(directory.path)/example.test")
        #expect(look().isEmpty)
        #expect(selectors(keys) == ["a"])
        list("shared", "a ed25519-sha256 retired")
        #expect(look().isEmpty)
        #expect(selectors(keys) == [])
    }

    /// Nobody would take such signatures (RFC 8301), or they aren't what the list says: then mail of the domain waits.
    @Test func withoutItsKeyADomainIsInTrouble() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [KeyEvent] { keys.look(files) }
        func trouble() -> Bool { if case .trouble = keys.active["example.test"] { true } else { false } }
        list("example.test", "s ed25519-sha256 active")
        #expect(look().map(\.text) == ["s.pem is missing"])
        #expect(trouble())
        #expect(look().isEmpty)
        generate(.ecdsaP256, to: "example.test/s.pem")
        #expect(look().map(\.isTrouble) == [true])
        #expect(trouble())
        generate(.rsa, to: "example.test/s.pem", bits: 768)
        _ = look()
        #expect(trouble())
        list("example.test", "s rsa-sha256 active")
        _ = look()
        #expect(trouble())
        generate(.rsa, to: "example.test/s.pem")
        #expect(look().isEmpty)
        #expect(selectors(keys) == ["s"])
        list("new.test", "s ed25519-sha256 actvie")
        #expect(look().map(\.isTrouble) == [true])
        guard case .trouble = keys.active["new.test"] else {
            Issue.record("a list that can't be read counts for one without keys")
            return
        }
    }

    /// Keys without their list say that mail is to be signed, and not how. A list that was there and is gone likewise, until the
    /// domain as a whole is.
    @Test func withoutItsListADomainIsInTrouble() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [String] { keys.look(files).map(\.text) }
        func trouble() -> Bool { if case .trouble = keys.active["example.test"] { true } else { false } }
        generate(.ed25519, to: "example.test/a.pem")
        #expect(look() == ["selectors is missing"] && trouble())
        #expect(look().isEmpty && trouble())
        list("example.test", "a ed25519-sha256 active")
        #expect(look().isEmpty && selectors(keys) == ["a"])
        unlink("\(directory.path)/example.test/selectors")
        unlink("\(directory.path)/example.test/a.pem")
        #expect(look() == ["selectors is missing"] && trouble())
        directory.write([], to: "example.test/selectors")
        #expect(look().isEmpty && selectors(keys) == [])
        unlink("\(directory.path)/example.test/selectors")
        rmdir("\(directory.path)/example.test")
        #expect(look().isEmpty && keys.active.isEmpty)
    }

    /// Nobody knows who has keys without the directory.
    @Test func withoutTheDirectoryAllAreInTrouble() {
        var none = DKIMKeys(nil, path: "etc/dkim")
        #expect(none.look(files).map(\.isTrouble) == [true])
        #expect(none.look(files).isEmpty && none.trouble != nil)
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        #expect(keys.look(files).isEmpty && keys.trouble == nil)
        rmdir(directory.path)
        #expect(keys.look(files).map(\.isTrouble) == [true])
        #expect(keys.trouble != nil)
    }

    @Test func whatIsHalfWrittenLeavesWhatWasThere() {
        var keys = DKIMKeys(directory.handle, path: "etc/dkim")
        func look() -> [KeyEvent] { keys.look(files) }
        generate(.ed25519, to: "example.test/a.pem")
        list("example.test", "a ed25519-sha256 active")
        _ = look()
        let before = keys.active
        directory.write(Array("-----BEGIN PRIVATE KEY-----\nMC4CAQ".utf8), to: "example.test/a.pem")
        #expect(look().map(\.isTrouble) == [true])
        #expect(look().isEmpty)
        #expect(keys.active == before)
        directory.write("a ed255".utf8, to: "example.test/selectors")
        #expect(look().map(\.isTrouble) == [true])
        #expect(keys.active == before)
    }
}
