import DNS
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import TLS
import Testing

/// A resolver of another's that is asked over connections, by TLS or plain TCP, and whose behaviour a test decides.
final class FakeLinkUpstream: Sendable {
    /// What is done on a connection once a message has come.
    typealias Behaviour = @Sendable (DNSMessage, FakeLinkUpstream, Connection) async throws -> Void

    private struct Log {
        var connections = 0
        var queries: [(message: DNSMessage, octets: Int)] = []
    }

    let address: SocketAddress
    private let listener: Listener
    private let log = NIOLockedValueBox(Log())

    /// What was asked up to now, and over how many connections.
    var queries: [(message: DNSMessage, octets: Int)] { log.withLockedValue { $0.queries } }
    var connections: Int { log.withLockedValue { $0.connections } }

    private init(_ address: SocketAddress, _ group: any EventLoopGroup) {
        self.address = address
        listener = Listener(group: group)
    }

    /// - Parameter context: for TLS; nil for plain TCP.
    static func start(
        on group: any EventLoopGroup,
        _ context: TLSContext?,
        _ behaviour: @escaping Behaviour
    ) async throws -> FakeLinkUpstream {
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        let upstream = FakeLinkUpstream(try SocketAddress(ipAddress: "127.0.0.1", port: port), group)
        try await upstream.listener.accept(on: socket) { connection in
            do {
                connection.idleTimeout = .seconds(20)
                if let context { try await connection.startTLS(server: context, reply: nil) }
                upstream.log.withLockedValue { $0.connections += 1 }
                while true {
                    var length = try await connection.readExactly(2)
                    let octets = try await connection.readExactly(Int(length.readInteger(as: UInt16.self) ?? 0))
                    let query = try DNSMessage(decoding: octets)
                    upstream.log.withLockedValue { $0.queries.append((query, octets.readableBytes)) }
                    try await behaviour(query, upstream, connection)
                }
            } catch {}
        }
        return upstream
    }

    static func send(_ answer: DNSMessage, on connection: Connection) async throws {
        let octets = answer.encode()
        connection.write { $0.writeInteger(UInt16(octets.count)) }
        connection.write(octets)
        try await connection.flush()
    }

    func stop() async { await listener.shutDown(grace: .milliseconds(500)) }
}
