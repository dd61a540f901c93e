import Bus
import Logging
import NIOCore
import NIOPosix
import Network

import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct BusClientTests {
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    private func withSocket(_ body: (String, any EventLoop) async throws -> Void) async throws {
        let path = "/tmp/martlet-bus-\(UInt64.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        try await body(path, MultiThreadedEventLoopGroup.singleton.next())
    }

    private func onLoop<Value: Sendable>(
        _ loop: any EventLoop,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await body() }.value
    }

    @Test func answersAreMatchedByTag() async throws {
        try await withSocket { path, loop in
            let server = BusServer(group: loop, logger: logger)
            try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
                connection.write(Frame.ok(tag: frame["tag"], [.init("echo", frame["say"] ?? "")]))
            }
            let answers = try await onLoop(loop) {
                let client = BusClient(path: path, on: loop)
                return try await withThrowingTaskGroup(of: (Int, String?).self) { group in
                    for number in 0..<50 {
                        group.addTask {
                            (number, try await client.request(Frame("ECHO", ["say": "\(number)"]))["echo"])
                        }
                    }
                    return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
                }
            }
            #expect(answers.count == 50)
            #expect(answers.allSatisfy { $0.value == String($0.key) })
            await server.shutDown(grace: .seconds(1))
        }
    }

    @Test func nobodyThereIsUnavailable() async throws {
        try await withSocket { path, loop in
            await #expect(throws: BusError.self) {
                try await onLoop(loop) { _ = try await BusClient(path: path, on: loop).request(Frame("PING")) }
            }
        }
    }

    @Test func connectionIsMadeAgainAfterTheServerWentAway() async throws {
        try await withSocket { path, loop in
            let client = BusClient(path: path, on: loop)
            for round in 1...3 {
                unlink(path)
                let server = BusServer(group: loop, logger: logger)
                try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
                    if frame.verb == "DIE" {
                        connection.abort()
                    } else {
                        connection.write(Frame.ok(tag: frame["tag"]))
                    }
                }
                let kind = try await onLoop(loop) { try await client.request(Frame("PING")).replyKind }
                #expect(kind == .ok, "round \(round)")
                await #expect(throws: BusError.self) {
                    try await onLoop(loop) { _ = try await client.request(Frame("DIE")) }
                }
                await server.shutDown(grace: .seconds(1))
            }
        }
    }

    @Test func malformedFrameIsAnsweredAndEndsTheConnection() async throws {
        try await withSocket { path, loop in
            let server = BusServer(group: loop, logger: logger)
            try await server.answer(on: try UnixSocket.listen(path)) { _, connection in connection.write(Frame.ok()) }
            let (reply, next) = try await onLoop(loop) {
                let connection = try await Connection.connect(unix: path, on: loop)
                connection.write("not a frame\n\n")
                try await connection.flush()
                var parser = FrameParser()
                let reply = try await connection.readFrame(&parser)
                let next = try await connection.readFrame(&parser)
                connection.close()
                return (reply, next)
            }
            #expect(reply?["status"] == "5.5.2")
            #expect(next == nil)
            await server.shutDown(grace: .seconds(1))
        }
    }
}
