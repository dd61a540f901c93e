import DNS
import NIOCore
import NIOPosix
import Network
import Resolution
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct StubResolverTests {
    /// Runs a client's questions against a pretended resolverd.
    private func with<Value: Sendable>(
        _ server: @escaping @Sendable (Connection) async throws -> Void,
        timeout: TimeAmount = .seconds(10),
        _ body: @escaping @Sendable (StubResolver) async throws -> Value
    ) async throws -> Value {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let path = "/tmp/martlet-dns-\(UInt64.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        let listener = Listener(group: loop)
        try await listener.accept(on: try UnixSocket.listen(path)) { try? await server($0) }
        let value = try await Task(executorPreference: LoopExecutor.of(loop)) {
            let resolver = StubResolver(path: path, on: loop, timeout: timeout)
            defer { resolver.close() }
            return try await body(resolver)
        }.value
        await listener.shutDown(grace: .seconds(1))
        return value
    }

    private static func read(_ connection: Connection) async throws -> DNSMessage {
        let length = try await connection.readExactly(2).readableBytesView.reduce(0) { $0 << 8 | Int($1) }
        return try DNSMessage(decoding: try await connection.readExactly(length))
    }

    private static func send(_ message: DNSMessage, _ connection: Connection) async throws {
        let octets = message.encode()
        connection.write([UInt8(octets.count >> 8), UInt8(octets.count & 0xff)] + octets)
        try await connection.flush()
    }

    @Test func answersMayComeInAnyOrder() async throws {
        let server: @Sendable (Connection) async throws -> Void = { connection in
            var queries: [DNSMessage] = []
            for _ in 0..<3 { queries.append(try await Self.read(connection)) }
            for query in queries.reversed() {
                var answer = query.response(query.questions[0].name == .root ? .nameError : .noError)
                answer.flags.isAuthenticData = true
                try await Self.send(answer, connection)
            }
            _ = try await connection.receive()
        }
        let codes = try await with(server) { (resolver) async throws -> [ResponseCode] in
            async let first = resolver.query(try DomainName("a.example.net"), .mx)
            async let second = resolver.query(.root, .a)
            async let third = resolver.query(try DomainName("b.example.net"), .mx)
            let all = try await [first, second, third]
            #expect(all.allSatisfy { $0.isAuthentic })
            return all.map(\.responseCode)
        }
        #expect(codes == [.noError, .nameError, .noError])
    }

    @Test func silenceTimesOut() async throws {
        try await with({ _ = try await $0.readExactly(10_000) }, timeout: .milliseconds(50)) {
            (resolver) async throws -> Void in
            await #expect(throws: ResolutionError.timedOut) { _ = try await resolver.query(.root, .ns) }
        }
    }

    @Test func brokenConnectionsAndRubbishAreErrors() async throws {
        try await with({ connection in
            _ = try await Self.read(connection)
            connection.abort()
        }) { (resolver) async throws -> Void in
            await #expect(throws: ResolutionError.self) { _ = try await resolver.query(.root, .ns) }
            // The next question gets a new connection.
            await #expect(throws: ResolutionError.self) { _ = try await resolver.query(.root, .ns) }
        }
        try await with({ connection in
            _ = try await Self.read(connection)
            connection.write([0, 3, 1, 2, 3])
            try await connection.flush()
            _ = try await connection.receive()
        }) { (resolver) async throws -> Void in
            await #expect(throws: ResolutionError.malformed) { _ = try await resolver.query(.root, .ns) }
        }
    }

    @Test func nobodyThereIsUnavailable() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        await #expect(throws: ResolutionError.self) {
            try await Task(executorPreference: LoopExecutor.of(loop)) {
                _ = try await StubResolver(path: "/tmp/martlet-nobody.sock", on: loop).query(.root, .ns)
            }.value
        }
    }
}
