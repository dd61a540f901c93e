import Accounts
import Bus
import Front
import Logging
import Mailbox
import MailboxProcess
import NIOCore
import NIOPosix
import Network
import TLS
import Testing

@testable import POP3Server

#if canImport(Glibc)
import Glibc
#endif

/// pop3d's two processes as two services on one loop, with a pretended authd and a Maildir of three messages.
struct PostOffice: Sendable {
    struct Options: Sendable {
        var hasAuthority = true
        var hasMailboxProcess = true
        var plaintext = true
        var connections = 20
        /// `mbox` is a file `bob.mbox`, `maildir` a directory `bob`.
        var format = "maildir"
        /// What stands in the Maildir.
        var messages = standardMessages
        /// What stands in the mbox.
        var mbox = ""
        var answer: @Sendable (Frame, Options) -> Frame = { PostOffice.answer($0, $1) }
    }

    static let standardMessages = [
        "Subject: one\n\nfirst\n", "Subject: two\n\n.dot\n..\nend\n", "Subject: three\n\nx\ny\nz\n",
    ]

    let directory: String
    let loop: any EventLoop
    let address: SocketAddress
    /// Where TLS comes first.
    let secureAddress: SocketAddress

    /// A self-signed certificate made by the openssl command.
    private static let certificate: TLSContext? = {
        let base = "/tmp/martlet-pop3-\(getpid())"
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
        _ change: (inout Options) -> Void = { _ in },
        _ body: @escaping @Sendable (PostOffice) async throws -> Void
    ) async throws {
        var options = Options()
        change(&options)
        let (chosen, answer) = (options, options.answer)
        let directory = "/tmp/martlet-pop3-\(UInt64.random(in: 0 ... .max))"
        for part in ["", "/mail", "/mail/bob", "/mail/bob/tmp", "/mail/bob/new", "/mail/bob/cur"] {
            mkdir(directory + part, 0o700)
        }
        defer { system("rm -rf \(directory)") }
        for (number, text) in options.messages.enumerated() {
            write(text, to: "\(directory)/mail/bob/new/17000000\(number).M\(number)P1.host")
        }
        if options.format == "mbox" { write(options.mbox, to: "\(directory)/mail/bob.mbox") }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let authd = BusServer(group: loop, logger: logger)
        if options.hasAuthority {
            try await authd.answer(on: try UnixSocket.listen("\(directory)/auth.sock")) { frame, connection in
                connection.write(answer(frame, chosen))
            }
        }
        var mailboxSettings = MailboxServerSettings(login: .pop3)
        mailboxSettings.authoritySocket = "\(directory)/auth.sock"
        let mailbox = MailboxServer(
            POP3MailboxService(settings: MailboxSettings(), pool: .shared, logger: logger),
            settings: mailboxSettings,
            directory: try MailDirectory("\(directory)/mail"),
            pool: .shared,
            group: loop,
            logger: logger
        )
        if options.hasMailboxProcess { try await mailbox.start(on: try UnixSocket.listen("\(directory)/pop3.sock")) }
        var settings = FrontSettings(hostname: "mail.example.test")
        settings.connections.connections = options.connections
        settings.maximumErrors = 10
        settings.errorDelay = .zero
        settings.authoritySocket = "\(directory)/auth.sock"
        settings.allowsPlaintextOnLoopback = options.plaintext
        let tlsContext: TLSContext = try #require(Self.certificate)
        let front = FrontServer(
            POP3Front(settings, mailboxSocket: "\(directory)/pop3.sock"),
            tlsContext: tlsContext,
            group: loop,
            logger: logger
        )
        let plain = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let secure = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let ports = (try #require(InternetSocket.port(of: plain)), try #require(InternetSocket.port(of: secure)))
        try await front.start([FrontEndpoint(.pop3, socket: plain), FrontEndpoint(.pop3s, socket: secure)])
        let office = PostOffice(
            directory: directory,
            loop: loop,
            address: try SocketAddress(ipAddress: "127.0.0.1", port: ports.0),
            secureAddress: try SocketAddress(ipAddress: "127.0.0.1", port: ports.1)
        )
        let failure = await Task(executorPreference: LoopExecutor.of(loop)) { () -> (any Error)? in
            do {
                try await body(office)
                return nil
            } catch {
                return error
            }
        }.value
        await front.shutDown(grace: .seconds(1))
        await mailbox.shutDown(grace: .seconds(1))
        await authd.shutDown(grace: .seconds(1))
        if let failure { throw failure }
    }

    static func answer(_ frame: Frame, _ options: Options) -> Frame {
        switch frame.verb {
        case "VERIFY" where frame["password"] == "secret":
            return .ok(tag: frame["tag"], [.init("address", "bob@example.test"), .init("ticket", "t1")])
        case "REDEEM" where frame["ticket"] == "t1":
            return .ok(
                tag: frame["tag"],
                [
                    .init("address", "bob@example.test"),
                    .init("mailbox", options.format == "mbox" ? "bob.mbox" : "bob"),
                    .init("format", options.format), .init("quota", "0"),
                ]
            )
        default: return .reply(.reject, status: "5.7.8", text: "no", tag: frame["tag"])
        }
    }

    private static func write(_ text: String, to path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
        _ = Glibc.write(descriptor, text, text.utf8.count)
        close(descriptor)
    }

    /// A client that has read the greeting.
    func client() async throws -> Client {
        let connection = try await Connection.connect(to: address, on: loop, timeout: .seconds(5))
        connection.idleTimeout = .seconds(20)
        let client = Client(connection: connection)
        #expect(try await client.line().hasPrefix("+OK"))
        return client
    }

    /// A client whose TLS comes first, and that has read the greeting.
    func secureClient() async throws -> Client {
        let connection = try await Connection.connect(to: secureAddress, on: loop, timeout: .seconds(5))
        connection.idleTimeout = .seconds(20)
        try await connection.startTLS(client: try TLSContext(clientVerifying: false), serverName: nil)
        let client = Client(connection: connection)
        #expect(try await client.line().hasPrefix("+OK"))
        return client
    }

    /// A client that has logged in.
    func login() async throws -> Client {
        let client = try await client()
        #expect(try await client.say("USER bob").hasPrefix("+OK"))
        #expect(try await client.say("PASS secret").hasPrefix("+OK"))
        return client
    }
}

/// Speaks POP3 line by line.
struct Client {
    let connection: Connection

    func line() async throws -> String {
        guard let line = try await connection.readLine(maximum: 10_000) else { return "" }
        return String(buffer: line)
    }

    func say(_ text: String) async throws -> String {
        connection.write(text + "\r\n")
        try await connection.flush()
        return try await line()
    }

    /// The lines of an answer behind its first one, as they were on the wire.
    func rest() async throws -> [String] {
        var lines: [String] = []
        while true {
            let line = try await line()
            if line == "." || line.isEmpty && connection.hasEnded { return lines }
            lines.append(line)
        }
    }

    /// What the server says before it closes, all of it.
    func untilEnd() async throws -> String {
        do throws(ConnectionError) {
            while try await connection.receive() {}
        } catch {
            // Where this side ended its output before, the end is told like this.
            guard error == .closed else { throw error }
        }
        return String(buffer: connection.input)
    }

    func ask(_ text: String) async throws -> [String] {
        guard try await say(text).hasPrefix("+OK") else { return ["refused"] }
        return try await rest()
    }
}
