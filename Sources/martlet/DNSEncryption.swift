import DNS
import NIOCore
import NIOPosix
import Network
import TLS

/// How questions to a server are encrypted, and how it's known to be the right one: by a certificate for a name, or
/// address (RFC 8310), unless nothing is to be verified.
struct DNSEncryption {
    var server: DNSServerAddress
    private let context: TLSContext

    /// - Parameters:
    ///   - authorities: a PEM file with those whose certificates count; the system's where nil.
    ///   - verifies: whether the certificate counts at all.
    /// - Returns: nil where the server is asked in plain text.
    init?(_ server: DNSServerAddress, authorities: String?, verifies: Bool) throws {
        let protocols: [String]
        switch server.transport {
        case .plain: return nil
        case .tls: protocols = ["dot"]
        case .https: protocols = HTTPSExchange.protocols
        }
        self.server = server
        context = try TLSContext(clientVerifying: verifies, authorities: authorities, protocols: protocols)
    }

    /// What answers come by: `tls` or `https`.
    var transport: String { server.transport == .tls ? "tls" : "https" }

    /// Asks on a connection of its own, and waits.
    ///
    /// - Parameter seconds: how long all of it may take.
    func ask(_ query: DNSMessage, seconds: Int) throws -> DNSMessage {
        var query = query
        // So that the answer fits other questions of the same kind (RFC 8484 §4.1).
        if server.transport != .tls { query.id = 0 }
        if query.edns != nil, let padding = EDNS.Option.padding(query.encode().count, block: .query) {
            query.edns?.options.append(padding)
        }
        let octets = query.encode()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let reply = loop.makePromise(of: [UInt8].self)
        Task(executorPreference: LoopExecutor.of(loop)) {
            do {
                reply.succeed(try await exchange(octets, on: loop, time: .seconds(Int64(seconds))))
            } catch {
                reply.fail(error)
            }
        }
        let answer: [UInt8]
        do {
            answer = try reply.futureResult.wait()
        } catch let error as ConnectionError {
            throw DNSStub.Failure(error.reason)
        }
        guard let answer = DNSStub.matching(answer, query) else {
            throw DNSStub.Failure("the answer is not to be understood")
        }
        return answer
    }

    private func exchange(_ octets: [UInt8], on loop: any EventLoop, time: TimeAmount) async throws -> [UInt8] {
        let connection = try await Connection.connect(to: server.address, on: loop, timeout: time)
        defer { connection.abort() }
        connection.idleTimeout = time
        connection.deadline = .now() + time
        try await connection.startTLS(client: context, serverName: server.name)
        switch server.transport {
        case .https(let path):
            let request = HTTPSExchange(octets, path: path, authority: server.authority)
            return try await request.run(on: connection, time: time)
        case .plain, .tls:
            connection.write([UInt8](integer: UInt16(truncatingIfNeeded: octets.count)) + octets)
            try await connection.flush()
            var length = try await connection.readExactly(2)
            let reply = try await connection.readExactly(Int(length.readInteger(as: UInt16.self) ?? 0))
            return Array(reply.readableBytesView)
        }
    }
}
