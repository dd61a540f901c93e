import Bus
import CertificateMaker
import Cryptography
import Daemon
import Files
import Keys
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import TLS
import Testing

@testable import KeyService

#if canImport(Glibc)
import Glibc
#endif

@Suite struct KeyServiceTests {
    private let directory = KeyDirectory()
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let path = "/tmp/martlet-keyd-\(UInt64.random(in: 0 ... .max)).sock"
    private let clock = NIOLockedValueBox(1000)

    /// What somebody signs under TLS 1.3.
    private static func content(of who: String = "server") -> [UInt8] {
        [UInt8](repeating: 0x20, count: 64) + Array("TLS 1.3, \(who) CertificateVerify\0".utf8)
            + [UInt8](repeating: 7, count: 32)
    }
    /// What a server signs under TLS 1.2.
    private static let keyExchange =
        [UInt8](repeating: 7, count: 64) + [3, 0, 29, 32] + [UInt8](repeating: 1, count: 32)

    private static func logger() -> Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }

    private func service(_ names: String..., clientPairs: Set<String> = []) -> KeyService {
        let settings = names.map {
            TLSConfiguration.Pair(name: $0, certificate: "\($0).pem", privateKey: "\($0).key")
        }
        let folder = KeyFolder(
            KernelFileSystem(),
            pairs: TLSPairs(settings) { directory.file($0) },
            dkim: DKIMKeys(directory.handle, path: directory.path),
            hostname: "a.example",
            clientPairs: clientPairs
        )
        let clock = clock
        let access = KeyService.Access(servers: [:], signers: [], own: getuid())
        return KeyService(folder, access: access, ticketLifetime: 600, logger: Self.logger()) {
            clock.withLockedValue { $0 }
        }
    }

    private func write(_ pair: TestPair, _ name: String) {
        directory.write(pair.certificate, to: "\(name).pem")
        directory.write(pair.privateKey, to: "\(name).key")
    }

    private func run(_ service: KeyService, _ body: @escaping @Sendable (any EventLoop) async throws -> Void)
        async throws
    {
        let server = BusServer(group: loop, logger: Self.logger())
        let (socket, loop) = (try UnixSocket.listen(path), loop)
        try await server.answer(on: socket) { try await service.answer($0, $1) }
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await body(loop) }.value
        await server.shutDown(grace: .zero)
        unlink(path)
    }

    /// Each algorithm, verified by the public half.
    @Test(arguments: SigningAlgorithm.allCases.filter { $0.purpose == .tls }) func signs(
        _ algorithm: SigningAlgorithm
    ) async throws {
        let kind = [KeyKind.rsa, .ecdsaP256, .ed25519].first(where: algorithm.suits) ?? .rsa
        write(TestPair(["a.example"], kind), "a")
        let service = service("a")
        service.look()
        let path = path
        try await run(service) { loop in
            let client = KeysClient(path: path, on: loop)
            let certificate = try #require(try await client.certificates().first)
            #expect(certificate.kind == kind)
            let message = Self.keyExchange
            var signature = try await client.sign(message, with: certificate.key, algorithm)
            let key = try #require(PublicKey(subjectPublicKeyInfo: certificate.chain.subjectPublicKeyInfo))
            if kind == .ecdsaP256 { signature = Self.numbers(signature) }
            #expect(
                key.isValid(
                    signature: signature,
                    of: message,
                    using: algorithm.digest,
                    isPSS: algorithm.padding == .pss
                )
            )
            // Another kind of key doesn't sign so, nor does one that isn't there.
            let other: SigningAlgorithm = kind == .ed25519 ? .rsaWithSHA256 : .ed25519
            await #expect(throws: KeysError.self) {
                try await client.sign(message, with: certificate.key, other)
            }
            // Nobody need ask again for a key that isn't there.
            let stranger = KeyName(.tls, subjectPublicKeyInfo: [9])
            await #expect(throws: KeysError.refused("there is no such key that signs so")) {
                try await client.sign(message, with: stranger, algorithm)
            }
            client.close()
        }
    }

    /// The two numbers of an ECDSA signature, as `PublicKey` takes them.
    private static func numbers(_ der: [UInt8]) -> [UInt8] {
        var rest = der.dropFirst(2)
        var result: [UInt8] = []
        while rest.first == 2, let count = rest.dropFirst().first {
            let number = rest.dropFirst(2).prefix(Int(count)).drop { $0 == 0 }
            result += [UInt8](repeating: 0, count: 32 - number.count) + number
            rest = rest.dropFirst(2 + Int(count))
        }
        return result
    }

    @Test func signsMail() async throws {
        directory.write(PrivateKey.generate(.ed25519)?.pem ?? [], to: "example.test/e.pem")
        directory.write(PrivateKey.generate(.rsa)?.pem ?? [], to: "example.test/r.pem")
        let lines = ["e ed25519-sha256 active", "r rsa-sha256 active"].map { "\($0) 20261130080000\n" }
        directory.write(lines.joined().utf8, to: "example.test/selectors")
        directory.write(lines[0].utf8, to: "broken.test/selectors")
        let service = service()
        service.look()
        let path = path
        try await run(service) { loop in
            let client = KeysClient(path: path, on: loop)
            let keys = try await client.dkimKeys(of: "EXAMPLE.test")
            #expect(keys.map(\.selector) == ["e", "r"])
            for key in keys {
                let signature = try await client.sign([UInt8](repeating: 1, count: 32), with: key.key, key.algorithm)
                #expect(signature.count == (key.algorithm == .dkimRSA ? 256 : 64))
            }
            #expect(try await client.dkimKeys(of: "elsewhere.test").isEmpty)
            // Its list says that there is a key.
            await #expect(throws: KeysError.unavailable("broken.test: the key e can't be used")) {
                try await client.dkimKeys(of: "broken.test")
            }
            client.close()
        }
    }

    /// Who names a server gets the certificate for it, of a kind that it can verify.
    @Test func choosesByNameAndScheme() {
        write(TestPair(["a.example"]), "a")
        write(TestPair(["a.example"], .rsa), "b")
        write(TestPair(["*.b.example"]), "c")
        write(TestPair(["mail.b.example"], .rsa), "d")
        let service = service("a", "b", "c", "d")
        service.look()
        let ring = service.ring
        let all = SigningAlgorithm.allCases
        func names(_ name: String?, _ schemes: [SigningAlgorithm]) -> String? {
            ring.certificate(for: name, schemes: schemes).map { "\($0.chain.names[0]) \($0.kind)" }
        }
        #expect(names("a.example", all) == "a.example ecdsaP256")
        #expect(names("A.Example", [.rsaPSSWithSHA256]) == "a.example rsa")
        #expect(names("a.example.", all) == "a.example ecdsaP256")
        #expect(names("mail.b.example", all) == "mail.b.example rsa")
        #expect(names("mail.b.example", [.ecdsaWithSHA256]) == "*.b.example ecdsaP256")
        #expect(names("x.b.example", all) == "*.b.example ecdsaP256")
        // A wildcard stands for one label.
        #expect(names("x.y.b.example", all) == "a.example ecdsaP256")
        #expect(names(nil, all) == "a.example ecdsaP256")
        #expect(names("elsewhere.example", [.rsaWithSHA256]) == "a.example rsa")
        #expect(names("x.b.example", [.ed25519]) == nil)
    }

    /// OpenSSL has one place for EC: a second curve would take it from the first.
    @Test func ofTwoCurvesTheFirstIsShown() {
        write(TestPair(["a.example"]), "a")
        write(TestPair(["a.example"], .ecdsaP384), "b")
        write(TestPair(["a.example"], .rsa), "c")
        let service = service("a", "b", "c")
        service.look()
        let shown = ServedCertificate.shown(to: nil, of: service.ring.certificates, hostname: "a.example")
        #expect(shown.map(\.kind) == [.ecdsaP256, .rsa])
    }

    /// Who asks for very many signatures has one turn, like others.
    @Test func oneUserHoldsUpNobody() async throws {
        write(TestPair(["a.example"], .rsa), "a")
        let service = service("a")
        service.look()
        let key = try #require(service.ring.certificates.first?.key)
        let loop = loop
        let served = await Task(executorPreference: LoopExecutor.of(loop)) {
            let served = NIOLockedValueBox<[UInt32]>([])
            let gate = ConditionLock(value: false)
            let first = Task(executorPreference: LoopExecutor.of(loop)) {
                await service.pool.line("first").run {
                    gate.lock(whenValue: true)
                    gate.unlock()
                }
            }
            let users: [UInt32] = Array(repeating: 1001, count: 100) + [1002]
            let all = users.map { user in
                Task(executorPreference: LoopExecutor.of(loop)) {
                    _ = await service.signature(Self.keyExchange, key, .rsaWithSHA256, user, nil)
                    served.withLockedValue { $0.append(user) }
                }
            }
            // By then all of them wait.
            await loop.letOthersGo()
            gate.lock()
            gate.unlock(withValue: true)
            await first.value
            for task in all { await task.value }
            return served.withLockedValue { $0 }
        }.value
        #expect(served.count == 101)
        #expect(served.firstIndex(of: 1002) == 1)
    }

    /// Many requests that come together are all answered, in their order.
    @Test func answersABurst() async throws {
        write(TestPair(["a.example"], .rsa), "a")
        let service = service("a")
        service.look()
        let key = try #require(service.ring.certificates.first?.key)
        let path = path
        try await run(service) { loop in
            let connection = try await Connection.connect(unix: path, on: loop)
            let count = 200
            for number in 0..<count {
                let octets = Self.keyExchange
                let isSigned = number % 2 == 0
                var frame =
                    isSigned
                    ? KeyRequest.sign(key: key, algorithm: .rsaWithSHA256, octets: octets).frame
                    : KeyRequest.certificates.frame
                frame["tag"] = String(number)
                connection.write(frame)
            }
            try await connection.flush()
            var parser = FrameParser()
            var tags: [Int] = []
            while tags.count < count, let frame = try await connection.readFrame(&parser) {
                if frame.replyKind == .ok { tags.append(frame.integer("tag") ?? -1) }
            }
            #expect(tags == Array(0..<count))
            connection.close()
        }
    }

    /// Watchers hear of a renewal, and what has begun with the old certificate ends with it.
    @Test func tellsOfRenewals() async throws {
        write(TestPair(["a.example"]), "a")
        let service = service("a")
        service.look()
        let (path, directory, clock) = (path, UncheckedBox(directory), clock)
        try await run(service) { loop in
            let client = KeysClient(path: path, on: loop)
            let before = try #require(try await client.certificates().first)
            let versions = NIOLockedValueBox<[Int]>([])
            let follower = BusFollower(KeyRequest.watch.frame, of: "keyd", path: path, on: loop) { frame in
                versions.withLockedValue { $0.append(frame.integer("version") ?? 0) }
            }
            follower.start()
            while versions.withLockedValue({ $0.isEmpty }) { await loop.pause(.milliseconds(5)) }
            let renewed = TestPair(["a.example"])
            directory.value.write(renewed.certificate, to: "a.pem")
            directory.value.write(renewed.privateKey, to: "a.key")
            service.look()
            while versions.withLockedValue({ $0.count }) < 2 { await loop.pause(.milliseconds(5)) }
            #expect(versions.withLockedValue { $0[1] > $0[0] })
            let after = try #require(try await client.certificates().first)
            #expect(after.chain.fingerprint != before.chain.fingerprint)
            let digest = Self.content()
            #expect(try await !client.sign(digest, with: before.key, .ecdsaWithSHA256).isEmpty)
            #expect(try await !client.sign(digest, with: after.key, .ecdsaWithSHA256).isEmpty)
            clock.withLockedValue { $0 += 61 }
            service.look()
            await #expect(throws: KeysError.self) {
                try await client.sign(digest, with: before.key, .ecdsaWithSHA256)
            }
            // New keys for tickets are news as well.
            let tickets = try await client.ticketKeys(of: "imapd")
            clock.withLockedValue { $0 += 300 }
            service.look()
            while versions.withLockedValue({ $0.count }) < 3 { await loop.pause(.milliseconds(5)) }
            #expect(try await client.ticketKeys(of: "imapd").keys.dropFirst() == tickets.keys[...])
            follower.close()
            client.close()
        }
    }

    /// A captured front signs no mail, remote-relay no server's handshake, and nobody gets another service's ticket keys.
    @Test func eachMayAskForItsOwn() {
        let access = KeyService.Access(servers: [10: ["imapd"], 11: ["smtpd"]], signers: [20], own: 99)
        let (own, other) = (KeyName(.tls, subjectPublicKeyInfo: [1]), KeyName(.tls, subjectPublicKeyInfo: [2]))
        func sign(_ key: KeyName, _ who: String) -> KeyRequest {
            .sign(key: key, algorithm: .ed25519, octets: Self.content(of: who))
        }
        let dkim = KeyRequest.sign(
            key: KeyName(.dkim, subjectPublicKeyInfo: [1]),
            algorithm: .dkimEd25519,
            octets: []
        )
        let requests = [
            sign(own, "server"), sign(own, "client"), sign(other, "client"), dkim, .dkim(domain: "a"),
            .tickets(service: "imapd"), .tickets(service: "smtpd"), .certificates,
            .certificate(serverName: nil, schemes: []), .watch,
        ]
        func allowed(_ uid: UInt32) -> [Bool] { requests.map { access.allows($0, uid, clientKeys: [own]) } }
        #expect(allowed(10) == [true, false, false, false, false, true, false, true, true, true])
        #expect(allowed(11) == [true, false, false, false, false, false, true, true, true, true])
        #expect(allowed(20) == [false, true, false, true, true, false, false, true, false, true])
        #expect(allowed(30).allSatisfy { !$0 })
        #expect(allowed(99).allSatisfy { $0 })
        #expect(allowed(0).allSatisfy { $0 })
    }

    /// Of all certificates, remote-relay is told those that it shows to other hosts.
    @Test func clientsHearOfTheirOwnCertificates() {
        for name in ["a", "b", "c"] { write(TestPair(["\(name).example"]), name) }
        let service = service("a", "b", "c", clientPairs: ["b"])
        service.look()
        #expect(service.ring.clientKeys == [service.ring.certificates[1].key])
        #expect(service.certificates(ofClients: true, "7").map { $0["pair"] } == ["b", nil])
        #expect(service.certificates(ofClients: true, "7").map { $0["tag"] } == ["7", "7"])
        #expect(service.certificates(ofClients: false, nil).map { $0["pair"] } == ["a", "b", "c", nil])
        #expect(service.certificates(ofClients: false, nil).last?.integer("count") == 3)
        // A key that was replaced signs for another minute, for clients as well.
        let before = service.ring.clientKeys
        write(TestPair(["b.example"]), "b")
        service.look()
        #expect(service.ring.clientKeys.count == 2 && service.ring.clientKeys.isSuperset(of: before))
        clock.withLockedValue { $0 += 61 }
        service.look()
        #expect(service.ring.clientKeys.isDisjoint(with: before) && service.ring.clientKeys.count == 1)
    }
}

/// For what only one task at a time uses.
private struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
