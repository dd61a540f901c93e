import Accounts
import Bus
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Following an authd that comes and goes.
@Suite(.timeLimit(.minutes(1))) struct DirectoryWatchTests {
    private let path = "/tmp/martlet-watch-\(UInt64.random(in: 0 ... .max)).sock"
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// An authd that answers as the closure says.
    private func authority(_ answer: @escaping @Sendable () -> Frame) async throws -> BusServer {
        let server = BusServer(group: loop, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        unlink(path)
        try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
            var reply = answer()
            reply["tag"] = frame["tag"]
            connection.write(reply)
        }
        return server
    }

    private static func domains(_ text: String) -> Frame {
        var frame = Frame.ok()
        frame.body = ByteBuffer(string: text)
        return frame
    }

    @Test func authdThatComesBackIsHeardAgain() async throws {
        let told = NIOLockedValueBox<[[String]]>([])
        let watch = DirectoryWatch(path: path, on: loop) { state in
            told.withLockedValue { $0.append(state.domains) }
        }
        watch.start()
        let first = try await authority { Self.domains("example.test\nother.test\n") }
        while told.withLockedValue({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(5)) }
        await first.shutDown(grace: .zero)
        // One that has nothing to say yet is asked again.
        let second = try await authority { .reply(.defer, status: "4.3.0", text: "not now") }
        try await Task.sleep(for: .milliseconds(100))
        await second.shutDown(grace: .zero)
        let third = try await authority { Self.domains("new.test\n") }
        while told.withLockedValue({ $0.count }) < 2 { try await Task.sleep(for: .milliseconds(5)) }
        #expect(told.withLockedValue { $0 } == [["example.test", "other.test"], ["new.test"]])
        try await loop.submit { watch.close() }.get()
        await third.shutDown(grace: .zero)
        unlink(path)
    }

    @Test func commandsAskOnce() async throws {
        let server = try await authority {
            var frame = Self.domains("example.test\n")
            frame.fields.append(.init("trouble", "etc/aliases: Permission denied"))
            return frame
        }
        let state = try #require(try await DirectoryWatch.ask(path))
        #expect(state.domains == ["example.test"] && state.troubles == ["etc/aliases: Permission denied"])
        await server.shutDown(grace: .zero)
        unlink(path)
    }
}
