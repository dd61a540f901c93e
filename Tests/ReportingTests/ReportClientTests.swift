import Bus
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Testing

@testable import Reporting

#if canImport(Glibc)
import Glibc
#endif

@Suite struct ReportClientTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let path = "/tmp/martlet-report-\(UInt64.random(in: 0 ... .max)).sock"

    private func serve(_ heard: NIOLockedValueBox<[String]>) async throws -> BusServer {
        let server = BusServer(group: loop, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
            heard.withLockedValue { $0.append(frame["policy-domain"] ?? "") }
            connection.write(Frame.ok(tag: frame["tag"]))
        }
        return server
    }

    private func wait(_ heard: NIOLockedValueBox<[String]>, for count: Int) async throws {
        for _ in 0..<2000 where heard.withLockedValue({ $0.count }) < count {
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// What was found out while reportd was away is told once it's there; and after it was started again, what comes then.
    @Test func keepsWhatComesWhileReportdIsAway() async throws {
        let heard = NIOLockedValueBox<[String]>([])
        let (loop, path) = (loop, path)
        let client = ReportClient(path: path, on: loop)
        for number in 0..<300 {
            try await loop.submit { client.report(.tls(TLSSessionResult(domain: "a\(number)"))) }.get()
        }
        var server = try await serve(heard)
        try await wait(heard, for: 300)
        #expect(heard.withLockedValue { $0 } == (0..<300).map { "a\($0)" })
        await server.shutDown(grace: .zero)
        unlink(path)
        server = try await serve(heard)
        // One may be under way over the connection that has ended.
        for number in 300..<400 {
            try await loop.submit { client.report(.tls(TLSSessionResult(domain: "a\(number)"))) }.get()
            try await Task.sleep(for: .milliseconds(1))
        }
        for _ in 0..<2000 where heard.withLockedValue({ $0.last }) != "a399" {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(heard.withLockedValue { $0.last } == "a399")
        await server.shutDown(grace: .zero)
        unlink(path)
    }

    /// Nobody's memory fills up for reportd's sake.
    @Test func keepsNoMoreThanItMay() async throws {
        let heard = NIOLockedValueBox<[String]>([])
        let (loop, path) = (loop, path)
        let client = ReportClient(path: path, on: loop)
        try await loop.submit {
            for number in 0..<5000 { client.report(.tls(TLSSessionResult(domain: "a\(number)"))) }
        }.get()
        let server = try await serve(heard)
        try await wait(heard, for: 1000)
        try await Task.sleep(for: .milliseconds(50))
        #expect(heard.withLockedValue { $0.count } == 1000)
        await server.shutDown(grace: .zero)
        unlink(path)
    }
}
