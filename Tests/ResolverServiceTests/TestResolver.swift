import DNS
import DNSFixtures
import Daemon
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import TSIG
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

/// A resolver on loopback with zones in a directory of its own.
final class TestResolver: Sendable {
    let server: ResolverServer
    let clock = TestClock()
    let port: Int
    let streamPort: Int
    let directory: String
    var unixPath: String { directory + "/dns.sock" }

    private init(
        group: any EventLoopGroup,
        zones: [String: String],
        keys: [TSIGKey],
        _ configure: (inout ResolverSettings) -> Void
    ) async throws {
        var template = Array("/tmp/martlet-resolver-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        var settings = ResolverSettings()
        settings.clock.now = { [clock] in clock.now }
        settings.allowRecursion = [try #require(AddressRange("127.0.0.0/8"))]
        // On a busy machine an answer may be late; tests that count queries must not see the same one twice.
        settings.recursion.minimumPatience = .seconds(2)
        configure(&settings)
        var files: [ZoneFile] = []
        for (name, text) in zones {
            try TestFile.write(text, to: "\(directory)/\(name)")
            let origin = try DomainName(name)
            var file = ZoneFile(origin: origin, directory: descriptor, name: name, path: "zones/\(name)")
            file.isSigned = settings.zones.zones[origin]?.sign != nil
            files.append(file)
        }
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        server = ResolverServer(
            settings,
            zones: files,
            keys: TSIGKeyStore(Dictionary(uniqueKeysWithValues: keys.map { ($0.name, $0) })),
            state: descriptor,
            group: group,
            logger: quiet
        )
        let loopback = try SocketAddress(ipAddress: "127.0.0.1", port: 0)
        let datagrams = try DatagramSockets.bind(loopback, count: 2)
        let stream = try InternetSocket.listen(loopback)
        port = try #require(InternetSocket.port(of: datagrams[0]))
        streamPort = try #require(InternetSocket.port(of: stream))
        let unix = try UnixSocket.listen(directory + "/dns.sock")
        try await server.start(datagrams: [datagrams], streams: [stream], unix: unix)
    }

    /// Runs a test with a resolver and takes everything away afterwards.
    static func with(
        keys: [TSIGKey] = [],
        zones: [String: String] = [:],
        upstreams behaviours: [FakeUpstream.Behaviour] = [],
        configure: (inout ResolverSettings) -> Void = { _ in },
        _ body: (TestResolver, [FakeUpstream]) async throws -> Void
    ) async throws {
        try await with(keys: keys, zones: zones) { group in
            var upstreams: [FakeUpstream] = []
            for behaviour in behaviours { upstreams.append(try await FakeUpstream.start(on: group, behaviour)) }
            return upstreams
        } configure: { settings, upstreams in
            settings.forwarders = upstreams.map { ForwarderAddress($0.address) }
            configure(&settings)
        } _: {
            try await body($0, $1)
        }
    }

    /// Runs a test with a resolver and with servers that `start` starts.
    static func with(
        keys: [TSIGKey] = [],
        zones: [String: String] = [:],
        start: (any EventLoopGroup) async throws -> [FakeUpstream],
        configure: (inout ResolverSettings, [FakeUpstream]) -> Void,
        _ body: (TestResolver, [FakeUpstream]) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let upstreams = try await start(group)
        let resolver = try await TestResolver(group: group, zones: zones, keys: keys) { configure(&$0, upstreams) }
        let result: Result<Void, any Error>
        do {
            try await body(resolver, upstreams)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await resolver.server.shutDown(grace: .seconds(1))
        for upstream in upstreams { await upstream.stop() }
        for name in zones.keys.flatMap({ [$0, $0 + ".state"] }) + ["dns.sock", "more"] {
            unlink("\(resolver.directory)/\(name)")
        }
        rmdir(resolver.directory)
        try await group.shutdownGracefully()
        try result.get()
    }

    /// Asks by UDP.
    func ask(_ name: String, _ type: RecordType = .a, dnssecOK: Bool = false) async throws -> DNSMessage {
        let question = Question(name: try DomainName(name), type: type)
        return try await ask(.query(id: .random(in: .min ... .max), question: question, dnssecOK: dnssecOK))
    }

    /// Asks by UDP.
    func ask(_ query: DNSMessage) async throws -> DNSMessage {
        let answer = try DNSMessage(decoding: try #require(try await exchange(query.encode())))
        #expect(answer.id == query.id)
        #expect(answer.flags.isResponse)
        return answer
    }

    /// Sends a datagram and gives what comes back; nil after the time.
    func exchange(_ octets: [UInt8], milliseconds: Int = 20_000) async throws -> [UInt8]? {
        let port = port
        return try await NIOThreadPool.singleton.runIfActive {
            let socket = BlockingSocket(datagram: port)
            defer { socket.close() }
            socket.setTimeout(milliseconds: milliseconds)
            socket.send(octets)
            return socket.receive()
        }
    }

    /// Sends octets on a stream and reads so many answers; fewer when it's closed before.
    func stream(_ octets: [UInt8], answers: Int, unix: Bool = false) async throws -> [DNSMessage] {
        guard answers > 0 else { return [] }
        return try await rawStream(octets, unix: unix) { $0.count == answers }.map { try DNSMessage(decoding: $0) }
    }

    /// Sends octets on a stream and reads answers until it's enough, or it's closed.
    func rawStream(
        _ octets: [UInt8],
        unix: Bool = false,
        until isEnough: @escaping @Sendable ([[UInt8]]) -> Bool
    ) async throws -> [[UInt8]] {
        let (port, path) = (streamPort, unixPath)
        return try await NIOThreadPool.singleton.runIfActive {
            let socket = unix ? BlockingSocket(unix: path) : BlockingSocket(stream: port)
            defer { socket.close() }
            socket.setTimeout(milliseconds: 20_000)
            socket.send(octets)
            var replies: [[UInt8]] = []
            while let length = socket.receiveExactly(2),
                let reply = socket.receiveExactly(Int(length[0]) << 8 | Int(length[1]))
            {
                replies.append(reply)
                if isEnough(replies) { break }
            }
            return replies
        }
    }
}

/// A client's socket, used from a thread that may block.
struct BlockingSocket {
    private let descriptor: CInt

    init(datagram port: Int) {
        descriptor = Self.connected(CInt(SOCK_DGRAM.rawValue), port)
    }

    init(stream port: Int) {
        descriptor = Self.connected(CInt(SOCK_STREAM.rawValue), port)
    }

    init(unix path: String) {
        descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        let address = try? SocketAddress(unixDomainSocketPath: path)
        _ = address?.withSockAddr { connect(descriptor, $0, socklen_t($1)) }
    }

    private static func connected(_ type: CInt, _ port: Int) -> CInt {
        let descriptor = socket(AF_INET, type, 0)
        let address = try? SocketAddress(ipAddress: "127.0.0.1", port: port)
        _ = address?.withSockAddr { connect(descriptor, $0, socklen_t($1)) }
        return descriptor
    }

    func setTimeout(milliseconds: Int) {
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    func send(_ octets: [UInt8]) {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    func receive() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    func receiveExactly(_ wanted: Int) -> [UInt8]? {
        var octets: [UInt8] = []
        while octets.count < wanted {
            var buffer = [UInt8](repeating: 0, count: wanted - octets.count)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            octets += buffer[..<count]
        }
        return octets
    }

    func close() { Glibc.close(descriptor) }
}
