import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@testable import Network

#if canImport(Glibc)
import Glibc
#endif

/// A listener whose sessions greet, then wait until the client ends, or say why they have to go.
private struct Crowd {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let listener: Listener
    let address: SocketAddress

    init(_ limits: Listener.Limits, standing: @escaping @Sendable (Connection) -> ConnectionStanding) async throws {
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        listener = Listener(group: loop, limits: limits)
        address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        try await listener.accept(
            on: socket,
            refuse: { connection, _ in
                connection.write("refused\r\n")
                try? await connection.flush()
            }
        ) { connection in
            connection.note(standing(connection))
            connection.write("hello\r\n")
            do {
                try await connection.flush()
                while try await connection.receive() { connection.input.clear() }
            } catch {
                connection.write("\(error)\r\n")
                try? await connection.flush()
            }
        }
    }

    /// A connection from an address of ours, and how it was greeted.
    func connect(from host: Int) async throws -> (Connection, String) {
        let (loop, address) = (loop, address)
        return try await Task(executorPreference: LoopExecutor.of(loop)) {
            let source = try SocketAddress(ipAddress: "127.0.0.\(host)", port: 0)
            let connection = try await Connection.connect(to: address, from: source, on: loop, timeout: .seconds(5))
            return (connection, try await Self.line(connection))
        }.value
    }

    func line(_ connection: Connection) async throws -> String {
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await Self.line(connection) }.value
    }

    private static func line(_ connection: Connection) async throws -> String {
        try await connection.readLine(maximum: 100).map { String(buffer: $0) } ?? ""
    }

    func end(_ connections: [Connection]) async {
        for connection in connections { connection.eventLoop.execute { connection.close() } }
        await listener.shutDown(grace: .seconds(1))
    }
}

@Suite struct ListenerLimitsTests {
    private static let limits = Listener.Limits(connections: 8, perClient: 4)

    @Test func oneClientHasItsShareOnly() async throws {
        let crowd = try await Crowd(Self.limits) { _ in .stranger }
        var all: [Connection] = []
        for number in 1...6 {
            let (connection, greeting) = try await crowd.connect(from: 2)
            #expect(greeting == (number <= 4 ? "hello" : "refused"))
            all.append(connection)
        }
        await crowd.end(all)
    }

    /// When all places are taken, the oldest stranger of whoever has most of them goes.
    @Test func whoComesLateGetsInAllTheSame() async throws {
        let crowd = try await Crowd(Self.limits) { _ in .stranger }
        var all: [Connection] = []
        for host in [2, 2, 2, 3, 3, 3, 3, 2] { all.append(try await crowd.connect(from: host).0) }
        let (late, greeting) = try await crowd.connect(from: 4)
        #expect(greeting == "hello")
        #expect(try await crowd.line(all[0]) == "dismissed")
        let (later, second) = try await crowd.connect(from: 5)
        #expect(second == "hello")
        #expect(try await crowd.line(all[3]) == "dismissed")
        await crowd.end(all + [late, later])
    }

    @Test func whoIsKnownStays() async throws {
        let crowd = try await Crowd(Self.limits) { $0.remoteAddress?.ipAddress == "127.0.0.2" ? .known : .stranger }
        var all: [Connection] = []
        for host in [2, 2, 2, 2, 3, 4, 5, 6] { all.append(try await crowd.connect(from: host).0) }
        let (late, greeting) = try await crowd.connect(from: 7)
        #expect(greeting == "hello")
        #expect(try await crowd.line(all[4]) == "dismissed")
        await crowd.end(all + [late])
    }

    /// Work in progress is broken off only for somebody whose share is much smaller.
    @Test func whoIsAtWorkStaysUnlessItHasTooMuch() async throws {
        let crowd = try await Crowd(Self.limits) { _ in .atWork }
        var all: [Connection] = []
        for host in [2, 2, 2, 3, 4, 5, 6, 7] { all.append(try await crowd.connect(from: host).0) }
        let (late, greeting) = try await crowd.connect(from: 8)
        #expect(greeting == "hello")
        #expect(try await crowd.line(all[0]) == "dismissed")
        let (later, second) = try await crowd.connect(from: 9)
        #expect(second == "hello")
        #expect(try await crowd.line(all[1]) == "dismissed")
        // Now all have as much as a new one would have.
        let (latest, third) = try await crowd.connect(from: 10)
        #expect(third == "refused")
        await crowd.end(all + [late, later, latest])
    }

    /// root and our own user have no limit on a local socket.
    @Test func exemptUsersAlwaysGetIn() async throws {
        let path = "/tmp/martlet-listener-\(UInt64.random(in: 0 ... .max))"
        defer { unlink(path) }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let listener = Listener(group: loop, limits: .init(connections: 1, perClient: 1))
        try await listener.accept(on: try UnixSocket.listen(path)) { connection in
            connection.write("hello\r\n")
            try? await connection.flush()
            _ = try? await connection.receive()
        }
        let greetings = try await Task(executorPreference: LoopExecutor.of(loop)) {
            var all: [Connection] = []
            var greetings: [String] = []
            for _ in 0..<3 {
                let connection = try await Connection.connect(unix: path, on: loop)
                all.append(connection)
                greetings.append(try await connection.readLine(maximum: 100).map { String(buffer: $0) } ?? "")
            }
            for connection in all { connection.close() }
            return greetings
        }.value
        #expect(greetings == ["hello", "hello", "hello"])
        await listener.shutDown(grace: .seconds(1))
    }
}
