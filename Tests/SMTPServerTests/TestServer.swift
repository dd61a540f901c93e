import Bus
import Front
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import SMTP
import TLS
import Testing

@testable import SMTPServer

#if canImport(Glibc)
import Glibc
#endif

/// smtpd's service on loopback ports, with a pretended queue-manager and authd behind Unix-domain sockets.
final class TestServer: Sendable {
    struct Options: Sendable {
        var settings = ServerSettings(hostname: "mail.example.test")
        var hasQueue = true
        var hasAuthority = true

        init() { settings.front.errorDelay = .zero }
    }

    let loop: any EventLoop
    let queue = FakeQueue()
    let service: FrontServer<SMTPFront>
    let ports: [ListenerKind: Int]
    /// A Unix-domain socket for LMTP.
    private let localPath: String
    /// What authd was asked.
    let questions = NIOLockedValueBox<[Frame]>([])
    /// What authd says about an address, where that is not what it says of itself.
    let answers = NIOLockedValueBox<[String: @Sendable (Frame) -> Frame]>([:])
    /// Connections that want to hear of changes, with their tags.
    private let watchers = NIOLockedValueBox<[(connection: Connection, tag: String?)]>([])
    private let queueListener = NIOLockedValueBox<Listener?>(nil)
    private let queuePath: String
    let authorityPath: String
    private let authority: BusServer
    /// Stands in for remote-relay.
    private let relay: BusServer

    /// Runs the body on the event loop of a server, then shuts everything down and removes its files.
    static func run(
        _ change: (inout Options) -> Void = { _ in },
        _ body: @escaping @Sendable (TestServer) async throws -> Void
    ) async throws {
        var options = Options()
        change(&options)
        let directory = "/tmp/martlet-smtp-\(UInt64.random(in: 0 ... .max))"
        #expect(mkdir(directory, 0o700) == 0)
        defer {
            for name in ["queue.sock", "auth.sock", "recipient.sock", "lmtp.sock", "certificate.pem", "key.pem"] {
                unlink("\(directory)/\(name)")
            }
            rmdir(directory)
        }
        let server = try await TestServer(options, directory: directory)
        let failure = await Task(executorPreference: LoopExecutor.of(server.loop)) { () -> (any Error)? in
            do {
                try await body(server)
                return nil
            } catch {
                return error
            }
        }.value
        await server.service.shutDown(grace: .seconds(2))
        await server.stopQueue()
        await server.authority.shutDown(grace: .seconds(1))
        await server.relay.shutDown(grace: .seconds(1))
        if let failure { throw failure }
    }

    private init(_ options: Options, directory: String) async throws {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        self.loop = loop
        var settings = options.settings
        settings.queueSocket = "\(directory)/queue.sock"
        settings.front.authoritySocket = "\(directory)/auth.sock"
        queuePath = settings.queueSocket
        authorityPath = settings.front.authoritySocket
        authority = BusServer(group: loop, logger: logger)
        settings.recipientSocket = "\(directory)/recipient.sock"
        relay = BusServer(group: loop, logger: logger)
        service = FrontServer(
            SMTPFront(settings),
            tlsContext: try Self.tlsContext(directory),
            group: loop,
            logger: logger
        )
        var endpoints: [FrontEndpoint<ListenerKind>] = []
        var ports: [ListenerKind: Int] = [:]
        for kind in ListenerKind.allCases {
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            ports[kind] = InternetSocket.port(of: socket)
            endpoints.append(FrontEndpoint(kind, socket: socket))
        }
        self.ports = ports
        localPath = "\(directory)/lmtp.sock"
        endpoints.append(FrontEndpoint(.lmtp, socket: try UnixSocket.listen(localPath)))
        try await service.start(endpoints)
        if options.hasQueue { try await startQueue() }
        let asked = questions
        try await relay.answer(on: try UnixSocket.listen(settings.recipientSocket)) { frame, connection in
            asked.withLockedValue { $0.append(frame) }
            let tag = frame["tag"]
            let answer: Frame =
                switch frame["recipient"] {
                case "gone@branch.example": .reply(.reject, status: "5.1.1", text: "unknown", tag: tag)
                case "later@branch.example": .reply(.defer, status: "4.4.1", text: "no answer", tag: tag)
                default: .ok(tag: tag)
                }
            connection.write(answer)
        }
        if options.hasAuthority { try await startAuthority() }
    }

    func startAuthority() async throws {
        let (questions, watchers, answers) = (questions, watchers, answers)
        try await authority.answer(on: try UnixSocket.listen(authorityPath)) { frame, connection in
            if frame.verb == "WATCH" {
                watchers.withLockedValue { $0.append((connection, frame["tag"])) }
                return connection.write(Frame.ok(tag: frame["tag"]))
            }
            questions.withLockedValue { $0.append(frame) }
            connection.write(answers.withLockedValue { $0[frame["address"] ?? ""] }?(frame) ?? Self.answer(frame))
        }
    }

    func startQueue() async throws {
        let listener = Listener(group: loop)
        let queue = queue
        try await listener.accept(on: try UnixSocket.listen(queuePath)) { await queue.serve($0) }
        queueListener.withLockedValue { $0 = listener }
    }

    /// authd says that something changed.
    func announceChange() {
        for (connection, tag) in watchers.withLockedValue({ $0 }) {
            connection.write(Frame.ok(tag: tag))
            connection.flushSoon()
        }
    }

    func stopQueue() async {
        let listener = queueListener.withLockedValue { listener in
            defer { listener = nil }
            return listener
        }
        await listener?.shutDown(grace: .seconds(1))
    }

    private static func tlsContext(_ directory: String) throws -> TLSContext {
        for (name, text) in [
            ("certificate.pem", TestCertificate.certificate), ("key.pem", TestCertificate.privateKey),
        ] {
            let descriptor = open("\(directory)/\(name)", O_WRONLY | O_CREAT, 0o600)
            #expect(write(descriptor, text, text.utf8.count) == text.utf8.count)
            close(descriptor)
        }
        return try TLSContext(
            serverCertificate: "\(directory)/certificate.pem",
            privateKey: "\(directory)/key.pem"
        )
    }

    static func answer(_ frame: Frame) -> Frame {
        let tag = frame["tag"]
        switch (frame.verb, frame["address"]?.lowercased()) {
        case ("RECIPIENT", "srs0=return@example.test"):
            return .ok(tag: tag, [.init("kind", "local"), .init("reports-only", "yes")])
        case ("RECIPIENT", "later@example.test"):
            return .reply(.defer, status: "4.3.0", text: "not now", tag: tag)
        case ("RECIPIENT", "full@example.test"):
            return .reply(.defer, status: "4.2.2", text: "the mailbox is full", tag: tag)
        case ("RECIPIENT", "postmaster"):
            return .ok(tag: tag, [.init("kind", "local"), .init("address", "postmaster@example.test")])
        case ("RECIPIENT", "nobody@example.test"):
            return .reply(.reject, status: "5.1.1", text: "no such mailbox", tag: tag)
        case ("RECIPIENT", let address?):
            let kind = address.hasSuffix("@example.test") ? "local" : "foreign"
            return .ok(tag: tag, [.init("kind", kind)])
        case ("EXPAND", "team@example.test"):
            return .ok(tag: tag, [.init("forward", "alice@example.test"), .init("forward", "j\u{F6}rg@example.net")])
        case ("EXPAND", "sales@example.test"):
            let fields: [Frame.Field] = [.init("mailbox", "x"), .init("format", "maildir"), .init("quota", "0")]
            return .ok(tag: tag, [.init("address", "alice@example.test")] + fields)
        case ("EXPAND", let address?):
            let fields: [Frame.Field] = [.init("mailbox", "x"), .init("format", "maildir"), .init("quota", "0")]
            return .ok(tag: tag, [.init("address", address)] + fields)
        case ("SENDER", _):
            let own = ["alice@example.test", "alice+list@example.test", "sales@example.test"]
            let isOwn = frame["user"] == "alice@example.test" && own.contains(frame["sender"]?.lowercased() ?? "")
            return .ok(tag: tag, [.init("allowed", isOwn ? "yes" : "no")])
        case ("ROUTE", _):
            return .ok(tag: tag)
        case ("SEND", _):
            return .ok(tag: tag)
        case ("VERIFY", _) where frame["user"] == "alice" && frame["password"] == "secret":
            return .ok(tag: tag, [.init("address", "alice@example.test")])
        case ("VERIFY", _) where frame["user"] == "later":
            return .reply(.defer, status: "4.7.0", tag: tag)
        default:
            return .reply(.reject, status: "5.7.8", tag: tag)
        }
    }

    /// Waits until something is so, but not for longer than any machine takes.
    func until(_ condition: () -> Bool) async throws {
        let deadline = NIODeadline.now() + .seconds(60)
        while !condition() {
            try #require(NIODeadline.now() < deadline)
            try await loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
        }
    }

    /// A new connection, its greeting not yet read.
    func connect(_ kind: ListenerKind = .smtp) async throws -> TestClient {
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: try #require(ports[kind]))
        return TestClient(try await Connection.connect(to: address, on: loop, timeout: .seconds(5)))
    }

    /// A client of LMTP's Unix-domain socket, its greeting not yet read.
    func connectLocally() async throws -> TestClient {
        TestClient(try await Connection.connect(unix: localPath, on: loop))
    }

    /// A client that was greeted and has said EHLO.
    func greetedClient(_ kind: ListenerKind = .smtp) async throws -> TestClient {
        let client = try await connect(kind)
        if kind == .submissions { try await client.startTLS() }
        #expect(try await client.reply().code == .ready)
        #expect(try await client.command("EHLO client.example").code == .ok)
        return client
    }

    /// A client that has turned on TLS and logged in as alice.
    func submittingClient() async throws -> TestClient {
        let client = try await greetedClient(.submission)
        #expect(try await client.command("STARTTLS").code == .ready)
        try await client.startTLS()
        #expect(try await client.command("EHLO client.example").code == .ok)
        #expect(try await client.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==").hasPrefix("235 2.7.0"))
        return client
    }
}

/// The client's side of a session.
final class TestClient {
    let connection: Connection
    private var parser = ReplyParser()

    init(_ connection: Connection) {
        self.connection = connection
        connection.idleTimeout = .seconds(20)
    }

    func send(_ text: String) async throws {
        connection.write(text)
        try await connection.flush()
    }

    func reply() async throws -> Reply {
        while true {
            if let reply = try parser.next(&connection.input) { return reply }
            guard try await connection.receive() else { throw ConnectionError.closed }
        }
    }

    func command(_ line: String) async throws -> Reply {
        try await send(line + "\r\n")
        return try await reply()
    }

    /// The reply to a command in one line.
    func say(_ line: String) async throws -> String {
        try await command(line).description
    }

    func startTLS() async throws {
        try await connection.startTLS(client: try TLSContext(clientVerifying: false), serverName: "mail.example.test")
    }

    /// An envelope from outside to bob, up to 354.
    func startMessage(from sender: String = "carol@example.net", to recipient: String = "bob@example.test") async throws
    {
        #expect(try await say("MAIL FROM:<\(sender)>") == "250 2.1.0 ok")
        #expect(try await say("RCPT TO:<\(recipient)>") == "250 2.1.5 ok")
        #expect(try await command("DATA").code == .startMailInput)
    }

    /// Whether the server closes without another reply.
    func isClosed() async -> Bool {
        do {
            while try await connection.receive() {
                if connection.input.readableBytes > 0 { return false }
            }
            return true
        } catch {
            return true
        }
    }
}
