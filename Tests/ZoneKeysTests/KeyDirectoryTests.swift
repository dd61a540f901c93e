import Cryptography
import DNS
import DNSSEC
import Testing

@testable import ZoneKeys

#if canImport(Glibc)
import Glibc
#endif

/// A directory that goes away with its test.
final class TemporaryDirectory {
    let path: String
    let descriptor: CInt
    var keys: KeyDirectory { KeyDirectory(descriptor) }

    init() throws {
        var template = Array("/tmp/martlet-keys-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }

    deinit {
        for name in names { unlink("\(path)/\(name)") }
        close(descriptor)
        rmdir(path)
    }

    var names: [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    func read(_ name: String) throws -> String {
        let file = try #require(fopen("\(path)/\(name)", "r"))
        defer { fclose(file) }
        var octets = [UInt8](repeating: 0, count: 16384)
        return String(decoding: octets[..<fread(&octets, 1, octets.count, file)], as: UTF8.self)
    }

    func write(_ text: String, to name: String) throws {
        let file = try #require(fopen("\(path)/\(name)", "w"))
        defer { fclose(file) }
        #expect(fputs(text, file) >= 0)
    }
}

@Suite struct KeyDirectoryTests {
    private func made(
        _ kind: KeyKind = .ecdsaP256,
        zone: String = "example.test",
        base: String = "example.test",
        role: KeyRole = .csk,
        state: KeyState = .active
    ) throws -> (stored: StoredKey, pem: [UInt8]) {
        let secret = try #require(PrivateKey.generate(kind))
        let key = try #require(
            SigningKey(
                zone: DomainName(zone),
                key: secret,
                isSecureEntryPoint: role.isSecureEntryPoint,
                timeToLive: 300
            )
        )
        let signing = ZoneSigningKey(key: key, role: role, state: state)
        return (StoredKey(signing, base: base, since: 1_800_000_000), secret.pem)
    }

    @Test(arguments: [KeyKind.ecdsaP256, .ed25519], KeyRole.allCases)
    func whatIsWrittenIsRead(kind: KeyKind, role: KeyRole) throws {
        let directory = try TemporaryDirectory()
        let (key, pem) = try made(kind, role: role, state: .published)
        try directory.keys.add(key, pem: pem)
        #expect(directory.names == ["\(key.name).key", "\(key.name).private"])
        let (keys, problems) = directory.keys.keys(of: key.key.key.zone, base: "example.test")
        #expect(problems.isEmpty)
        let read = try #require(keys.first)
        #expect(read.name == key.name && read.since == key.since)
        #expect(read.key.role == role && read.key.state == .published)
        #expect(read.key.key.record == key.key.key.record)
        #expect(read.key.key.record.timeToLive == 300)
    }

    @Test func aKeyIsAMasterFileOfItsRecordWithComments() throws {
        let directory = try TemporaryDirectory()
        let (key, pem) = try made(.ed25519)
        try directory.keys.add(key, pem: pem)
        let text = try directory.read("\(key.name).key")
        #expect(
            text.hasPrefix(
                "; role: csk\n; state: active\n; since: 20270115080000\nexample.test.\t300\tIN\tDNSKEY\t257 3 15 "
            )
        )
        #expect(key.name.hasPrefix("example.test+015+"))
        var status = stat()
        #expect(stat("\(directory.path)/\(key.name).private", &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test func aStateChangesAndAKeyGoes() throws {
        let directory = try TemporaryDirectory()
        let zone = try DomainName("example.test")
        var (key, pem) = try made()
        try directory.keys.add(key, pem: pem)
        key.key.state = .retired
        key.since += 1
        try directory.keys.update(key)
        let read = try #require(directory.keys.keys(of: zone, base: "example.test").keys.first)
        #expect(read.key.state == .retired && read.since == key.since)
        try directory.keys.remove(key)
        #expect(directory.names.isEmpty)
    }

    @Test func otherZonesKeysAreLeftAlone() throws {
        let directory = try TemporaryDirectory()
        let (key, pem) = try made()
        let (other, otherPEM) = try made(zone: "a.example.test", base: "a.example.test")
        try directory.keys.add(key, pem: pem)
        try directory.keys.add(other, pem: otherPEM)
        let (keys, problems) = directory.keys.keys(of: key.key.key.zone, base: "example.test")
        #expect(keys.map(\.name) == [key.name] && problems.isEmpty)
    }

    @Test func whatIsWrongIsSaidAndTheOthersCount() throws {
        let zone = try DomainName("example.test")
        let directory = try TemporaryDirectory()
        let (good, goodPEM) = try made()
        try directory.keys.add(good, pem: goodPEM)
        var expected: [String: String] = [:]

        func spoil(_ reason: String, _ change: (StoredKey) throws -> Void) throws {
            let (key, pem) = try made()
            try directory.keys.add(key, pem: pem)
            try change(key)
            expected[key.name] = reason
        }
        try spoil("others may read it") { chmod("\(directory.path)/\($0.name).private", 0o640) }
        try spoil("No such file") { unlink("\(directory.path)/\($0.name).private") }
        try spoil("no PEM file") { try directory.write("nonsense", to: "\($0.name).private") }
        try spoil("another one") {
            try directory.write(String(decoding: goodPEM, as: UTF8.self), to: "\($0.name).private")
        }
        try spoil("no state") {
            let text = try directory.read("\($0.name).key")
            try directory.write(text.replacing("active", with: "lively"), to: "\($0.name).key")
        }
        try spoil("one DNSKEY record") {
            let text = try directory.read("\($0.name).key")
            try directory.write(text + text, to: "\($0.name).key")
        }
        let (keys, problems) = directory.keys.keys(of: zone, base: "example.test")
        #expect(keys.map(\.name) == [good.name])
        #expect(problems.count == expected.count)
        for problem in problems {
            let name = problem.name.split(separator: ".private")[0].description
            let reason = try #require(expected[name])
            #expect(problem.reason.contains(reason), "\(problem)")
        }
    }

    @Test func anOldKeyIsNotOverwritten() throws {
        let directory = try TemporaryDirectory()
        let (key, pem) = try made()
        try directory.keys.add(key, pem: pem)
        #expect(throws: StoredKeyError.self) { try directory.keys.add(key, pem: pem) }
        #expect(directory.keys.keys(of: key.key.key.zone, base: "example.test").keys.count == 1)
    }
}
