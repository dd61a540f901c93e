import NIOCore
import NIOPosix
import TLS
import Testing

@testable import Network

#if canImport(Glibc)
import Glibc
#endif

/// A listener on a loopback port and a client's connection to it, both on one loop.
struct Pair {
    let loop: any EventLoop
    let listener: Listener
    let address: SocketAddress

    static func run<Value: Sendable>(
        server: @escaping @Sendable (Connection) async -> Void,
        client: @escaping @Sendable (Connection) async throws -> Value
    ) async throws -> Value {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        let listener = Listener(group: loop)
        try await listener.accept(on: socket, session: server)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let value = try await Task(executorPreference: LoopExecutor.of(loop)) {
            let connection = try await Connection.connect(to: address, on: loop, timeout: .seconds(5))
            defer { connection.close() }
            return try await client(connection)
        }.value
        await listener.shutDown(grace: .seconds(1))
        return value
    }
}

/// The last eighth doesn't wait for the peer.
private func send(_ total: Int, on connection: Connection) async {
    let chunk = ByteBuffer(repeating: 7, count: 64 * 1024)
    let count = total / chunk.readableBytes
    for number in 0..<count {
        connection.write(chunk)
        guard number < count - count / 8 else {
            connection.flushSoon()
            continue
        }
        do { try await connection.flush() } catch { return }
    }
}

/// Counts all octets up to the end, with a rest after each piece.
func readSlowly(_ connection: Connection) async throws -> Int {
    var count = 0
    while try await connection.receive() {
        count += connection.input.readableBytes
        connection.input.clear()
        await connection.eventLoop.pause(.milliseconds(2))
    }
    return count
}

@Suite struct ConnectionTests {
    @Test func linesComeWithoutTheirEnds() async throws {
        let lines = try await Pair.run { connection in
            connection.write("one\r\ntwo\nthree is too long\r\nfour\r\nrest")
            try? await connection.flush()
        } client: { connection in
            var lines: [String] = []
            while true {
                do {
                    guard let line = try await connection.readLine(maximum: 5) else { break }
                    lines.append(String(buffer: line))
                } catch ConnectionError.lineTooLong {
                    lines.append("too long")
                }
            }
            return lines
        }
        #expect(lines == ["one", "two", "too long", "four"])
    }

    /// Octets and the end of the connection in one turn of the loop.
    @Test func closingEndsALineThatIsBeingRead() async throws {
        let line = try await Pair.run { connection in
            connection.write("begin")
            try? await connection.flush()
            while let more = try? await connection.receive(), more {}
        } client: { connection in
            let loop = connection.eventLoop
            Task(executorPreference: LoopExecutor.of(loop)) {
                while connection.input.readableBytes < 5 { await loop.pause(.milliseconds(1)) }
                await loop.pause(.milliseconds(10))
                connection.received(ByteBuffer(string: "x"))
                connection.receivedBatch()
                connection.close()
            }
            return try? await connection.readLine(maximum: 100)
        }
        #expect(line == nil)
    }

    @Test func manyMayWaitInFlush() async throws {
        let count = try await Pair.run { connection in
            let loop = connection.eventLoop
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask(executorPreference: LoopExecutor.of(loop)) {
                        connection.write([UInt8](repeating: 0x61, count: 1 << 20))
                        try? await connection.flush()
                    }
                }
            }
            // Only reached when each of them was woken.
            connection.write("!")
            try? await connection.flush()
        } client: { connection in
            var count = 0
            while try await connection.receive() {
                count += connection.input.readableBytes
                let isLast = connection.input.readableBytesView.last == UInt8(ascii: "!")
                connection.input.clear()
                if isLast { break }
            }
            return count
        }
        #expect(count == (8 << 20) + 1)
    }

    @Test func endlessLineTakesNoMemory() async throws {
        let octets = try await Pair.run { connection in
            for _ in 0..<64 {
                connection.write([UInt8](repeating: 0x61, count: 64 * 1024))
                do { try await connection.flush() } catch { return }
            }
            connection.write("\r\nend\r\n")
            try? await connection.flush()
        } client: { connection in
            await #expect(throws: ConnectionError.lineTooLong) { _ = try await connection.readLine(maximum: 1000) }
            let capacity = connection.input.capacity
            let next = try await connection.readLine(maximum: 1000).map { String(buffer: $0) }
            #expect(next == "end")
            return capacity
        }
        #expect(octets < 1024 * 1024)
    }

    @Test func silenceTimesOut() async throws {
        try await Pair.run { connection in
            _ = try? await connection.receive()
        } client: { connection in
            connection.idleTimeout = .milliseconds(20)
            await #expect(throws: ConnectionError.timedOut) { _ = try await connection.receive() }
        }
    }

    @Test func slowReaderBrakesTheWriter() async throws {
        let total = 8 * 1024 * 1024
        let received = try await Pair.run { connection in
            let chunk = ByteBuffer(repeating: 7, count: 64 * 1024)
            for _ in 0..<(total / chunk.readableBytes) {
                connection.write(chunk)
                do { try await connection.flush() } catch { return }
            }
        } client: { connection in
            var count = 0
            while try await connection.receive() {
                #expect(connection.input.readableBytes <= 1024 * 1024)
                count += connection.input.readableBytes
                connection.input.clear()
            }
            return count
        }
        #expect(received == total)
    }

    /// A peer that half-closes behind its last request and takes its time to read gets all of the answer.
    @Test func slowReaderThatHasClosedItsSideGetsEverything() async throws {
        let total = 8 * 1024 * 1024
        let received = try await Pair.run { connection in
            while let more = try? await connection.receive(), more { connection.input.clear() }
            await send(total, on: connection)
        } client: { connection in
            connection.write("all of it\n")
            try await connection.flush()
            connection.endOutput()
            return try await readSlowly(connection)
        }
        #expect(received == total)
    }

    /// Longer than a closed connection lingers.
    @Test(.timeLimit(.minutes(1))) func slowReaderGetsEverythingBehindQuit() async throws {
        let total = 8 * 1024 * 1024
        let received = try await Pair.run { connection in
            connection.write([UInt8](repeating: 7, count: total))
            connection.flushSoon()
        } client: { connection in
            await connection.eventLoop.pause(.seconds(3))
            return try await readSlowly(connection)
        }
        #expect(received == total)
    }

    @Test func relayEndsWhenTheSlowerSideHasEverything() async throws {
        let total = 8 * 1024 * 1024
        let received = try await Pair.run { connection in
            let path = "/tmp/martlet-relay-\(UInt64.random(in: 0 ... .max)).sock"
            defer { unlink(path) }
            guard let socket = try? UnixSocket.listen(path) else { return }
            let far = Listener(group: connection.eventLoop)
            try? await far.accept(on: socket) { other in
                while let more = try? await other.receive(), more { other.input.clear() }
                await send(total, on: other)
            }
            guard let other = try? await Connection.connect(unix: path, on: connection.eventLoop) else { return }
            await connection.relay(to: other)
            await far.shutDown(grace: .seconds(1))
        } client: { connection in
            connection.write("all of it\n")
            try await connection.flush()
            connection.endOutput()
            return try await readSlowly(connection)
        }
        #expect(received == total)
    }

    /// It has its place until then, and no longer.
    @Test func peerThatReadsNothingIsNotWaitedForForLong() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: try #require(InternetSocket.port(of: socket)))
        let listener = Listener(group: loop)
        let over = loop.makePromise(of: Void.self)
        try await listener.accept(on: socket) { connection in
            connection.drainTime = .milliseconds(100)
            connection.write([UInt8](repeating: 0x61, count: 32 * 1024 * 1024))
            connection.flushSoon()
            connection.channel.closeFuture.cascade(to: over)
        }
        let counts = try await Task(executorPreference: LoopExecutor.of(loop)) {
            let connection = try await Connection.connect(to: address, on: loop, timeout: .seconds(5))
            // Takes some, but not all.
            _ = try await connection.receive()
            await loop.pause(.milliseconds(30))
            let during = listener.count
            try await over.futureResult.get()
            await loop.pause(.milliseconds(30))
            let after = listener.count
            connection.close()
            return [during, after]
        }.value
        #expect(counts == [1, 0])
        await listener.shutDown(grace: .seconds(1))
    }

    @Test func relayPassesBothWays() async throws {
        let answer = try await Pair.run { connection in
            // The far end: an echo in upper case behind a socket of its own.
            let path = "/tmp/martlet-relay-\(UInt64.random(in: 0 ... .max)).sock"
            defer { unlink(path) }
            guard let socket = try? UnixSocket.listen(path) else { return }
            let far = Listener(group: connection.eventLoop)
            try? await far.accept(on: socket) { other in
                while let line = try? await other.readLine(maximum: 100) {
                    other.write(String(buffer: line).uppercased() + "\n")
                    try? await other.flush()
                }
            }
            guard let other = try? await Connection.connect(unix: path, on: connection.eventLoop) else { return }
            await connection.relay(to: other)
            await far.shutDown(grace: .seconds(1))
        } client: { connection in
            connection.write("hello\n")
            try await connection.flush()
            return try await connection.readLine(maximum: 100).map { String(buffer: $0) }
        }
        #expect(answer == "HELLO")
    }

    @Test func limitsRefuse() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: try #require(InternetSocket.port(of: socket)))
        let listener = Listener(group: loop, limits: Listener.Limits(connections: 10, perClient: 1))
        try await listener.accept(on: socket) { connection, refusal in
            connection.write("refused \(refusal)\n")
            try? await connection.flush()
        } session: { connection in
            connection.write("welcome\n")
            try? await connection.flush()
            _ = try? await connection.receive()
        }
        let lines = try await Task(executorPreference: LoopExecutor.of(loop)) {
            let first = try await Connection.connect(to: address, on: loop, timeout: .seconds(5))
            let welcome = try await first.readLine(maximum: 100).map { String(buffer: $0) }
            let second = try await Connection.connect(to: address, on: loop, timeout: .seconds(5))
            let refused = try await second.readLine(maximum: 100).map { String(buffer: $0) }
            first.close()
            second.close()
            return [welcome, refused]
        }.value
        #expect(lines == ["welcome", "refused tooManyFromClient"])
        await listener.shutDown(grace: .seconds(1))
    }

    /// Whatever loop has time to accept.
    @Test func longSessionsAreDealtOutToTheLoops() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: try #require(InternetSocket.port(of: socket)))
        let listener = Listener(group: group)
        try await listener.accept(on: socket, sessions: .long) { connection in
            connection.write("\(ObjectIdentifier(connection.eventLoop).hashValue)\n")
            try? await connection.flush()
            _ = try? await connection.receive()
        }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let counts = try await Task(executorPreference: LoopExecutor.of(loop)) {
            var counts: [String: Int] = [:]
            var clients: [Connection] = []
            for _ in 0..<10 {
                let client = try await Connection.connect(to: address, on: loop, timeout: .seconds(5))
                clients.append(client)
                counts[try await client.readLine(maximum: 100).map { String(buffer: $0) } ?? "", default: 0] += 1
            }
            for client in clients { client.close() }
            return counts
        }.value
        #expect(counts.values.sorted() == [5, 5])
        await listener.shutDown(grace: .seconds(1))
        try await group.shutdownGracefully()
    }

    @Test(arguments: [
        (Listener.Sessions.short, 2, 4, 2), (.short, 4, 4, 4), (.short, 5, 4, 1), (.long, 2, 4, 1), (.long, 1, 4, 1),
        (.short, 1, 4, 1),
    ])
    func loopsAcceptForThemselvesWhereSessionsAreShort(
        _ sessions: Listener.Sessions,
        _ loops: Int,
        _ maximum: Int,
        _ expected: Int
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let acceptors = try Listener.acceptors(socket, group, sessions, maximum: maximum)
        #expect(acceptors.count == expected)
        for acceptor in acceptors { #expect(close(acceptor.socket) == 0) }
        try await group.shutdownGracefully()
    }
}
