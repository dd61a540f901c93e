import Bus
import CertificateMaker
import Keys
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

@testable import TLS

#if canImport(Glibc)
import Glibc
#endif

@Suite struct ServerKeysTests {
    /// What went wrong once is asked for again, though nothing has changed.
    @Test func certificatesAreAskedForUntilTheyAreThere() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let path = "/tmp/martlet-keyd-\(UInt64.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let chain = try CertificateChain(pem: TestPair(["a.example"]).certificate)
        let served = try #require(ServedCertificate(chain: chain))
        let asked = NIOLockedValueBox(0)
        let server = BusServer(group: loop, logger: logger)
        try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
            let tag = frame["tag"]
            switch try? KeyRequest(frame) {
            case .watch: connection.write(.ok(tag: tag, [.init("version", "1")]))
            case .certificates:
                // The first gets no answer, the second a refusal.
                switch asked.withLockedValue({
                    $0 += 1; return $0
                }) {
                case 1: break
                case 2: connection.write(.reply(.defer, status: .systemTrouble, text: "later", tag: tag))
                default:
                    connection.write(served.frame(tag: tag))
                    connection.write(.ok(tag: tag, [.init("count", "1")]))
                }
            default: connection.write(.ok(tag: tag, TicketKeys(keys: [], lifetime: 0).fields))
            }
        }
        let keys = ServerKeys(hostname: "a.example", patience: .milliseconds(200))
        keys.start(path: path, service: "imapd", on: loop, logger: logger)
        let end = NIODeadline.now() + .seconds(20)
        while keys.known.isEmpty, .now() < end { try await Task.sleep(for: .milliseconds(10)) }
        #expect(keys.known == [served])
        // On a busy machine an answer may come too late.
        #expect(asked.withLockedValue { $0 } >= 3)
        await server.shutDown(grace: .zero)
    }

    private func run(
        _ answer: @escaping BusServer.Answer,
        maximumPaused: Int = 1000,
        _ body: (ServerKeys, any EventLoop) async throws -> Void
    ) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let path = "/tmp/martlet-keyd-\(UInt64.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let server = BusServer(group: loop, logger: logger)
        try await server.answer(on: try UnixSocket.listen(path), answer)
        let keys = ServerKeys(hostname: "a.example", patience: .seconds(20), maximumPaused: maximumPaused)
        keys.start(path: path, service: nil, on: loop, logger: logger)
        try await body(keys, loop)
        await server.shutDown(grace: .zero)
    }

    private static let request = TLSSignatureRequest(
        key: KeyName(.tls, subjectPublicKeyInfo: [1]).description,
        scheme: 0x0403,
        octets: [UInt8](repeating: 0x20, count: 64) + Array("TLS 1.3, server CertificateVerify\0".utf8)
            + [UInt8](repeating: 7, count: 32)
    )

    /// A keyd that has no such key won't have it in three seconds.
    @Test func aRefusalIsNotAskedForAgain() async throws {
        let asked = NIOLockedValueBox(0)
        try await run { frame, connection in
            guard case .sign? = try? KeyRequest(frame) else { return }
            asked.withLockedValue { $0 += 1 }
            connection.write(.reply(.reject, status: .notFound, text: "there is no such key", tag: frame["tag"]))
        } _: { keys, loop in
            await #expect(throws: TLSError.keys("keyd refused: there is no such key")) {
                _ = try await keys.sign(Self.request, on: loop).get()
            }
            #expect(asked.withLockedValue { $0 } == 1)
        }
    }

    /// Each that waits costs memory, so that there is a last one.
    @Test func soManyHandshakesWaitAndNoMore() async throws {
        let waiting = NIOLockedValueBox<[@Sendable () -> Void]>([])
        try await run(
            { frame, connection in
                guard case .sign? = try? KeyRequest(frame) else { return }
                let answer: @Sendable () -> Void = {
                    var reply = Frame.ok(tag: frame["tag"])
                    reply.body = ByteBuffer(bytes: [9])
                    connection.write(reply)
                    connection.flushSoon()
                }
                waiting.withLockedValue { $0.append(answer) }
            },
            maximumPaused: 2
        ) { keys, loop in
            let first = (0..<2).map { _ in keys.sign(Self.request, on: loop) }
            await #expect(throws: TLSError.keys("2 handshakes wait for keyd already")) {
                try await keys.sign(Self.request, on: loop).get()
            }
            while waiting.withLockedValue({ $0.count }) < 2 { await loop.pause(.milliseconds(5)) }
            let answers = waiting.withLockedValue { $0 }
            loop.execute { for answer in answers { answer() } }
            for signature in first {
                let octets = try await signature.get()
                #expect(octets == [9])
            }
            // There is room again.
            let next = keys.sign(Self.request, on: loop)
            while waiting.withLockedValue({ $0.count }) < 3 { await loop.pause(.milliseconds(5)) }
            let last = waiting.withLockedValue { $0[2] }
            loop.execute { last() }
            let octets = try await next.get()
            #expect(octets == [9])
            // Without certificates, handshakes wait for them, but not without limit either.
            let names = (0..<2).map { _ in keys.certificates(for: nil, on: loop) }
            await #expect(throws: TLSError.keys("2 handshakes wait for certificates already")) {
                try await keys.certificates(for: nil, on: loop).get()
            }
            for name in names { name.whenComplete { _ in } }
        }
    }
}
