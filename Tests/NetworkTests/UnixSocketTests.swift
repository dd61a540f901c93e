import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Sockets in a directory of their own.
@Suite struct UnixSocketTests {
    private func inDirectory(_ body: (String) throws -> Void) throws {
        let directory = "/tmp/martlet-socket-\(UInt64.random(in: 0 ... .max))"
        #expect(mkdir(directory, 0o700) == 0)
        defer { rmdir(directory) }
        let path = "\(directory)/a.sock"
        defer { unlink(path) }
        try body(path)
        var status = stat()
        #expect(lstat("\(path).lock", &status) != 0, "the lock is left behind")
    }

    private func inode(_ path: String) -> UInt64 {
        var status = stat()
        return lstat(path, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    @Test func aLiveSocketIsNeverReplaced() throws {
        try inDirectory { path in
            let first = try UnixSocket.listen(path)
            defer { close(first) }
            let before = inode(path)
            let error = #expect(throws: SocketError.self) { _ = try UnixSocket.listen(path) }
            let text = error?.description ?? ""
            #expect(text.contains(path) && text.contains("in use by process \(getpid()) ("), "\(text)")
            #expect(inode(path) == before && before != 0)
        }
    }

    @Test func aDeadSocketIsReplaced() throws {
        try inDirectory { path in
            close(try UnixSocket.listen(path))
            let before = inode(path)
            let second = try UnixSocket.listen(path, mode: 0o600)
            defer { close(second) }
            #expect(before != 0)
            var status = stat()
            #expect(lstat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        }
    }

    @Test func aSocketThatTakesNoMoreClientsIsAlive() throws {
        try inDirectory { path in
            let first = try UnixSocket.listen(path)
            defer { close(first) }
            // One client more than the kernel lets wait.
            #expect(listen(first, 0) == 0)
            let client = try #require(connected(to: path))
            defer { close(client) }
            #expect(throws: SocketError.self) { _ = try UnixSocket.listen(path) }
        }
    }

    private func connected(to path: String) -> CInt? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let socket = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        let result = withUnsafeBytes(of: &address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { pointer in
                pointer.baseAddress.map { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) } ?? -1
            }
        }
        guard result == 0 else {
            close(socket)
            return nil
        }
        return socket
    }

    @Test func whatIsNoSocketStays() throws {
        try inDirectory { path in
            close(open(path, O_WRONLY | O_CREAT, 0o600))
            let before = inode(path)
            #expect(throws: SocketError.self) { _ = try UnixSocket.listen(path) }
            #expect(inode(path) == before && before != 0)
        }
    }

    @Test func tooLongAPathIsAnError() {
        #expect(throws: SocketError.self) { _ = try UnixSocket.listen(String(repeating: "x", count: 200)) }
    }

    /// However many start at once on a dead socket, one has it and the others say so.
    @Test func ofManyStartersOneWins() async throws {
        let directory = "/tmp/martlet-socket-\(UInt64.random(in: 0 ... .max))"
        #expect(mkdir(directory, 0o700) == 0)
        let path = "\(directory)/a.sock"
        defer {
            unlink(path)
            rmdir(directory)
        }
        let pool = BlockingPool(threads: 8)
        for _ in 0..<50 {
            close(try UnixSocket.listen(path))
            let sockets = await withTaskGroup(of: CInt?.self, returning: [CInt].self) { group in
                for _ in 0..<8 { group.addTask { await pool.run { try? UnixSocket.listen(path) } } }
                var sockets: [CInt] = []
                for await socket in group { if let socket { sockets.append(socket) } }
                return sockets
            }
            #expect(sockets.count == 1)
            for socket in sockets { close(socket) }
        }
    }
}

@Suite struct BlockingPoolTests {
    private struct Failure: Error, Equatable { let number: Int }

    @Test func valuesAndErrorsComeBack() async throws {
        let pool = BlockingPool(threads: 2)
        #expect(await pool.run { 4 } == 4)
        await #expect(throws: Failure(number: 3)) {
            try await pool.run { () throws(Failure) -> Int in throw Failure(number: 3) }
        }
    }

    /// Calls that wait until they are let go.
    private final class Gate: Sendable {
        private let lock = ConditionLock(value: false)

        func wait() {
            lock.lock(whenValue: true)
            lock.unlock()
        }

        func open() {
            lock.lock()
            lock.unlock(withValue: true)
        }
    }

    /// However much one line has waiting, the next call is another's.
    @Test func linesTakeTurns() async throws {
        let pool = BlockingPool(threads: 1)
        let gate = Gate()
        let order = NIOLockedValueBox<[String]>([])
        // On one loop, so that the calls come in this order, and the gate is opened behind them.
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        await Task(executorPreference: LoopExecutor.of(loop)) {
            await withDiscardingTaskGroup { group in
                group.addTask { await pool.line("a").run { gate.wait() } }
                for (name, count) in [("a", 50), ("b", 2), ("c", 2)] {
                    for number in 0..<count {
                        group.addTask {
                            await pool.line(name).run { order.withLockedValue { $0.append("\(name)\(number)") } }
                        }
                    }
                }
                group.addTask { gate.open() }
            }
        }.value
        let names = order.withLockedValue { $0 }
        #expect(names.prefix(8) == ["b0", "c0", "a0", "b1", "c1", "a1", "a2", "a3"])
        #expect(names.filter { $0.hasPrefix("a") } == (0..<50).map { "a\($0)" })
    }

    /// A line whose calls hang has its share of the threads, and no more.
    @Test func aLineNeverHasAllThreads() async throws {
        let pool = BlockingPool(threads: 4, share: 2)
        let gate = Gate()
        let running = NIOLockedValueBox((now: 0, most: 0))
        await withDiscardingTaskGroup { group in
            for _ in 0..<20 {
                group.addTask {
                    await pool.line("a").run {
                        running.withLockedValue { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
                        gate.wait()
                        running.withLockedValue { $0.now -= 1 }
                    }
                }
            }
            for number in 0..<100 { #expect(await pool.line("b").run { number } == number) }
            #expect(await pool.run { 7 } == 7)
            gate.open()
        }
        #expect(running.withLockedValue { $0.now == 0 && (1...2).contains($0.most) })
    }

    @Test func theCallerGoesOnOnItsLoop() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let pool = BlockingPool.shared
        let (before, within, after) = await Task(executorPreference: LoopExecutor.of(loop)) {
            let before = loop.inEventLoop
            let within = await pool.run { loop.inEventLoop }
            return (before, within, loop.inEventLoop)
        }.value
        #expect(before && !within && after)
    }
}

@Suite struct PerLoopTests {
    @Test func everyLoopHasItsOwn() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 3)
        let count = NIOLockedValueBox(0)
        let values = PerLoop { _ in
            count.withLockedValue { count in
                count += 1
                return count
            }
        }
        for _ in 0..<2 {
            #expect(group.makeIterator().map { values[$0] }.sorted() == [1, 2, 3])
        }
        // Also one that came later.
        let other = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        #expect(values[other.next()] == 4)
        try await group.shutdownGracefully()
        try await other.shutdownGracefully()
    }
}

@Suite struct ClientAddressTests {
    @Test(
        arguments: [
            ("192.0.2.7", "192.0.2.7", false), ("127.3.2.1", "127.3.2.1", true), ("::1", "::1", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true), ("::ffff:192.0.2.7", "192.0.2.7", false),
            ("2001:db8::7", "2001:db8::7", false), ("::2", "::2", false),
        ]
    )
    func texts(address: String, text: String, isLoopback: Bool) throws {
        let address = try SocketAddress(ipAddress: address, port: 4711)
        #expect(address.hostText == text && address.isLoopback == isLoopback)
    }

    @Test func unixSocketsHaveNone() throws {
        let address = try SocketAddress(unixDomainSocketPath: "/tmp/x")
        #expect(address.hostText == nil && !address.isLoopback)
    }
}
