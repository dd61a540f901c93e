import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Testing

@testable import Bus

#if canImport(Glibc)
import Glibc
#endif

@Suite struct BusFollowerTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let path = "/tmp/martlet-follower-\(UInt64.random(in: 0 ... .max)).sock"

    /// What was logged.
    private struct Lines: LogHandler {
        let lines: NIOLockedValueBox<[String]>
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.withLockedValue { $0.append("\(event.level) \(event.message)") } }
    }

    private func follow(patience: TimeAmount, _ body: (BusFollower, @Sendable () -> [String]) async throws -> Void)
        async throws -> [String]
    {
        let (lines, answers) = (NIOLockedValueBox<[String]>([]), NIOLockedValueBox(0))
        let logger = Logger(label: "test", factory: { _ in Lines(lines: lines) })
        let follower = BusFollower(
            Frame("WATCH"),
            of: "other",
            path: path,
            on: loop,
            patience: patience,
            logger: logger
        ) {
            _ in answers.withLockedValue { $0 += 1 }
        }
        follower.start()
        try await body(follower) {
            lines.withLockedValue { $0 } + (answers.withLockedValue { $0 } > 0 ? ["answered"] : [])
        }
        try await loop.submit { follower.close() }.get()
        return lines.withLockedValue { $0 }
    }

    private func serve() async throws -> BusServer {
        let server = BusServer(group: loop, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
            connection.write(.ok(tag: frame["tag"]))
        }
        return server
    }

    /// As when all daemons start together.
    @Test func aMomentIsNotWorthALine() async throws {
        defer { unlink(path) }
        let lines = try await follow(patience: .hours(1)) { _, seen in
            try await Task.sleep(for: .milliseconds(150))
            let server = try await serve()
            while seen().isEmpty { try await Task.sleep(for: .milliseconds(5)) }
            #expect(seen() == ["answered"])
            await server.shutDown(grace: .zero)
        }
        #expect(lines.isEmpty)
    }

    @Test func whatLastsIsSaidOnceAndItsEndAsWell() async throws {
        defer { unlink(path) }
        let lines = try await follow(patience: .milliseconds(60)) { _, seen in
            while seen().isEmpty { try await Task.sleep(for: .milliseconds(5)) }
            #expect(seen() == ["warning other is away"])
            try await Task.sleep(for: .milliseconds(100))
            let server = try await serve()
            while seen().last != "answered" { try await Task.sleep(for: .milliseconds(5)) }
            await server.shutDown(grace: .zero)
        }
        #expect(lines.prefix(2) == ["warning other is away", "info other is back"])
    }
}
