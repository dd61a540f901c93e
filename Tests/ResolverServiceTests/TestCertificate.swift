import NIOCore
import Network
import TLS
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// A self-signed certificate for `dns.test` and 127.0.0.1, made by the openssl command.
final class TestCertificate: Sendable {
    /// PEM; it's its own authority.
    let file: String
    private let key: String

    /// - Parameter names: what it's for, as OpenSSL writes it.
    init(names: String = "DNS:dns.test,IP:127.0.0.1") throws {
        var template = Array("/tmp/martlet-certificate-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        file = "\(directory)/certificate.pem"
        key = "\(directory)/key.pem"
        let command =
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
            + " -addext subjectAltName=\(names) -keyout \(key) -out \(file) 2>/dev/null"
        try #require(system(command) == 0)
    }

    deinit {
        unlink(file)
        unlink(key)
        rmdir(String(file.dropLast("/certificate.pem".utf8.count)))
    }

    func server(protocols: [String] = []) throws -> TLSContext {
        try TLSContext(serverCertificate: file, privateKey: key, protocols: protocols)
    }

    /// A client's side that trusts the certificate.
    func client(protocols: [String] = []) throws -> TLSContext {
        try TLSContext(clientVerifying: true, authorities: file, protocols: protocols)
    }
}

extension Connection {
    /// Connects to a port of this machine with TLS, runs a client, and closes.
    static func tls<Value>(
        _ port: Int,
        _ context: TLSContext,
        on loop: any EventLoop,
        _ body: (Connection) async throws -> Value
    ) async throws -> Value {
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let connection = try await Connection.connect(to: address, on: loop, timeout: .seconds(20))
        defer { connection.abort() }
        connection.idleTimeout = .seconds(20)
        try await connection.startTLS(client: context, serverName: "dns.test")
        return try await body(connection)
    }
}
