import DNS
import DNSFixtures
import Logging
import TSIG
import Testing

@testable import LocalZones

#if canImport(Glibc)
import Glibc
#endif

struct TSIGKeyStoreTests {
    private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private let secrets = ["AAECAwQFBgcICQoLDA0ODw==", "EBESExQVFhcYGRobHB0eHw=="]

    private func with(_ body: (TSIGKeyFile, String) throws -> Void) throws {
        var template = Array("/tmp/martlet-keys-XXXXXX".utf8CString)
        let path = try #require(mkdtemp(&template).map { String(cString: $0) })
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer {
            unlink("\(path)/k")
            close(directory)
            rmdir(path)
        }
        let file = TSIGKeyFile(key: try DomainName("k"), directory: directory, name: "k", path: "etc/k")
        try body(file, "\(path)/k")
    }

    private func write(_ text: String, to path: String, mode: mode_t = 0o600) throws {
        unlink(path)
        try TestFile.write(text, to: path)
        chmod(path, mode)
    }

    @Test func changedKeysCountAndFilesWithErrorsDoNot() throws {
        try with { file, path in
            try write("hmac-sha256 \(secrets[0])\n", to: path)
            let store = try TSIGKeyStore(files: [file])
            let first = try #require(store.current[file.key])
            store.refresh(all: true, quiet)
            #expect(store.current == [file.key: first])
            try write("hmac-sha512 \(secrets[1])\n", to: path)
            store.refresh(all: false, quiet)
            // Somebody may be writing.
            #expect(store.current == [file.key: first])
            store.refresh(all: false, quiet)
            let second = try #require(store.current[file.key])
            #expect(second != first)
            #expect(second.algorithm == .hmacSHA512)
            for (text, mode) in [
                ("", mode_t(0o600)), ("hmac-sha256 AAAA", 0o600), ("hmac-sha256 \(secrets[0])", 0o644),
            ] {
                try write(text, to: path, mode: mode)
                store.refresh(all: true, quiet)
                #expect(store.current == [file.key: second])
            }
            unlink(path)
            store.refresh(all: false, quiet)
            // Somebody may be putting another in its place.
            #expect(store.current == [file.key: second])
            store.refresh(all: false, quiet)
            #expect(store.current.isEmpty)
            try write("hmac-sha256 \(secrets[0])\n", to: path)
            for _ in 0..<2 { store.refresh(all: false, quiet) }
            #expect(store.current == [file.key: first])
        }
    }

    /// Nothing goes unsigned because a key's file is gone.
    @Test func aNamedKeyThatIsGone() throws {
        try with { file, path in
            try write("hmac-sha256 \(secrets[0])\n", to: path)
            let store = try TSIGKeyStore(files: [file])
            #expect(try store.key(named: nil) == nil)
            #expect(try store.key(named: file.key) != nil)
            unlink(path)
            store.refresh(all: true, quiet)
            #expect(throws: MissingTSIGKey(name: file.key)) { try store.key(named: file.key) }
            #expect(try store.key(named: nil) == nil)
        }
    }

    @Test func whatIsWrongWithAFile() throws {
        try with { file, path in
            func reason() -> TSIGKeyFileError? {
                do throws(TSIGKeyStoreError) { _ = try TSIGKeyStore(files: [file]) } catch { return error.reason }
                return nil
            }
            #expect(reason() == .system(ENOENT))
            try write("hmac-sha256 \(secrets[0])", to: path, mode: 0o604)
            #expect(reason() == .readableForAll)
            try write("hmac-sha256 AAAA", to: path)
            #expect(reason() == .text(.shortSecret))
            try write(String(repeating: "#", count: 5000), to: path)
            #expect(reason() == .system(EFBIG))
            unlink(path)
            #expect(mkdir(path, 0o700) == 0)
            #expect(reason() == .notAFile)
            rmdir(path)
        }
    }
}
