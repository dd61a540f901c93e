import Bus
import CertificateMaker
import Keys
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import SMTP
import TLS
import Testing

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
        #expect(asked.withLockedValue { $0 } == 3)
        await server.shutDown(grace: .zero)
    }
}
