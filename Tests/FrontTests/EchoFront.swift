import Accounts
import Bus
import Front
import Logging
import NIOCore
import NIOPosix
import Network
import SASL
import SMTP
import TLS
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// What a listener of the pretended protocol is for.
enum EchoRole: ListenerRole {
    case plain
    case encrypted

    var isEncrypted: Bool { self == .encrypted }
}

/// A protocol of five commands: `TLS`, `CAPA`, `AUTH mechanism [response]`, `QUIT`; anything else is a fault.
struct EchoFront: FrontService {
    let front: FrontSettings
    var sessions: Listener.Sessions { .short }

    func refusal(_ reason: Listener.Refusal) -> ByteBuffer { ByteBuffer(string: "\(reason)\n") }

    func serve(_ client: FrontClient, as role: EchoRole) async {
        do throws(ConnectionError) {
            client.connection.write("hello \(client.address) \(client.mayStartTLS) \(client.mayLogIn)\n")
            while try await next(client) {}
            try await client.connection.flush()
        } catch {
            client.logEnd(error)
        }
    }

    private func next(_ client: FrontClient) async throws(ConnectionError) -> Bool {
        try client.checkTime()
        try await client.connection.flush()
        guard let line = try await client.connection.readLine(maximum: 500) else { return false }
        let words = String(buffer: line).split(separator: " ").map { String($0) }
        switch words.first {
        case "QUIT": return false
        case "TLS":
            guard client.mayStartTLS else {
                client.connection.write("\(client.tlsRefusal)\n")
                return true
            }
            try await client.startTLS(reply: ByteBuffer(string: "go\n"))
        case "CAPA":
            client.connection.write("\(client.mechanisms.map(\.rawValue).joined(separator: " "))\n")
        case "AUTH": return try await authenticate(client, words)
        default:
            let left = try await client.countFault()
            client.connection.write("\(left) left\n")
            return left > 0
        }
        return true
    }

    private func authenticate(_ client: FrontClient, _ words: [String]) async throws(ConnectionError) -> Bool {
        let exchange = try await client.authenticate(
            by: words.count > 1 ? words[1] : "",
            initialResponse: words.count > 2 ? Array(words[2].utf8) : nil,
            to: .smtp,
            maximumLine: 100
        ) { client.connection.write("? \($0)\n") }
        switch exchange {
        case .ended: return false
        case .failed(let fault): client.connection.write("\(fault)\n")
        case .judged(let verdict): client.connection.write("\(client.logIn(verdict))\n")
        }
        return true
    }
}

/// The pretended protocol's server on loopback ports, with a pretended authd.
struct EchoServer: Sendable {
    let loop: any EventLoop
    let ports: [EchoRole: Int]

    private static let certificate: TLSContext? = {
        let base = "/tmp/martlet-front-certificate-\(getpid())"
        defer {
            unlink("\(base).crt")
            unlink("\(base).key")
        }
        let command =
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mail.example.test"
            + " -keyout \(base).key -out \(base).crt 2>/dev/null"
        guard system(command) == 0 else { return nil }
        return try? TLSContext(serverCertificate: "\(base).crt", privateKey: "\(base).key")
    }()

    static func run(
        hasCertificate: Bool = true,
        _ change: (inout FrontSettings) -> Void = { _ in },
        _ body: @escaping @Sendable (EchoServer) async throws -> Void
    ) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let directory = "/tmp/martlet-front-\(UInt64.random(in: 0 ... .max))"
        #expect(mkdir(directory, 0o700) == 0)
        defer {
            unlink("\(directory)/auth.sock")
            rmdir(directory)
        }
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let authority = BusServer(group: loop, logger: logger)
        try await authority.answer(on: try UnixSocket.listen("\(directory)/auth.sock")) { frame, connection in
            connection.write(Self.verify(frame))
        }
        var settings = FrontSettings(hostname: "mail.example.test")
        settings.authoritySocket = "\(directory)/auth.sock"
        settings.errorDelay = .zero
        settings.allowsPlaintextOnLoopback = true
        change(&settings)
        let certificate = try #require(Self.certificate)
        let server = FrontServer(
            EchoFront(front: settings),
            tlsContext: hasCertificate ? certificate : nil,
            group: loop,
            logger: logger
        )
        var ports: [EchoRole: Int] = [:]
        for role in [EchoRole.plain, .encrypted] {
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            ports[role] = InternetSocket.port(of: socket)
            try await server.start([FrontEndpoint(role, socket: socket)])
        }
        let echo = EchoServer(loop: loop, ports: ports)
        let failure = await Task(executorPreference: LoopExecutor.of(loop)) { () -> (any Error)? in
            do {
                try await body(echo)
                return nil
            } catch {
                return error
            }
        }.value
        await server.shutDown(grace: .seconds(1))
        await authority.shutDown(grace: .seconds(1))
        if let failure { throw failure }
    }

    private static func verify(_ frame: Frame) -> Frame {
        let tag = frame["tag"]
        guard frame["service"] == "smtp" && frame["client"] == "127.0.0.1" || frame["exchange"] != nil else {
            return .reply(.reject, status: .invalidArguments, tag: tag)
        }
        if frame.verb == "SCRAM" { return scram(frame) }
        switch frame["password"] ?? frame["token"] {
        case "secret": return .ok(tag: tag, [.init("address", "alice@example.test")])
        case "later": return .reply(.defer, status: .refusedForNow, tag: tag)
        default: return .reply(.reject, status: .badCredentials, tag: tag)
        }
    }

    /// Whoever says `right` twice is right; the first time it's asked for the binding.
    private static func scram(_ frame: Frame) -> Frame {
        let tag = frame["tag"]
        let (right, wrong) = ("cmlnaHQ=", Frame.reply(.reject, status: .badCredentials, tag: tag))
        guard frame["message"] == right else { return wrong }
        guard frame["exchange"] == nil else {
            return .ok(tag: tag, [.init("address", "alice@example.test"), .init("confirmation", right)])
        }
        guard frame["mechanism"]?.hasSuffix("-PLUS") == false || frame["tls-exporter"] != nil else { return wrong }
        return .ok(tag: tag, [.init("exchange", "1"), .init("challenge", "bW9yZQ==")])
    }

    func connect(_ role: EchoRole = .plain) async throws -> Connection {
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: try #require(ports[role]))
        let connection = try await Connection.connect(to: address, on: loop, timeout: .seconds(5))
        connection.idleTimeout = .seconds(20)
        return connection
    }
}

extension Connection {
    /// The answer to a line; empty at the end.
    func say(_ text: String) async throws -> String {
        write(text + "\n")
        try await flush()
        return try await answer()
    }

    func answer() async throws -> String {
        guard let line = try await readLine(maximum: 1000) else { return "" }
        return String(buffer: line)
    }
}
