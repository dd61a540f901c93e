import Bus
import Logging
import Login
import Mailbox
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
    let directory: String
    let loop: any EventLoop
    let address: SocketAddress

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
        hasAuthority: Bool = true,
        hasMailboxProcess: Bool = true,
        plaintext: Bool = true,
        _ body: @escaping @Sendable (PostOffice) async throws -> Void
    ) async throws {
        let directory = "/tmp/martlet-pop3-\(UInt64.random(in: 0 ... .max))"
        for part in ["", "/mail", "/mail/bob", "/mail/bob/tmp", "/mail/bob/new", "/mail/bob/cur"] {
            mkdir(directory + part, 0o700)
        }
        defer { system("rm -rf \(directory)") }
        for (number, text) in [
            "Subject: one\n\nfirst\n", "Subject: two\n\n.dot\n..\nend\n", "Subject: three\n\nx\ny\nz\n",
        ].enumerated() {
            write(text, to: "\(directory)/mail/bob/new/17000000\(number).M\(number)P1.host")
        }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let authd = BusServer(group: loop, logger: logger)
        if hasAuthority {
            try await authd.answer(on: try UnixSocket.listen("\(directory)/auth.sock")) { frame, connection in
                connection.write(answer(frame))
            }
        }
        var mailboxSettings = MailboxSettings()
        mailboxSettings.authoritySocket = "\(directory)/auth.sock"
        let mailbox = MailboxService(
            settings: mailboxSettings,
            directory: try MailDirectory("\(directory)/mail"),
            pool: .singleton,
            group: loop,
            logger: logger
        )
        if hasMailboxProcess { try await mailbox.start(on: try UnixSocket.listen("\(directory)/pop3.sock")) }
        var settings = FrontSettings(hostname: "mail.example.test")
        settings.authoritySocket = "\(directory)/auth.sock"
        settings.mailboxSocket = "\(directory)/pop3.sock"
        settings.plaintextOnLoopback = plaintext
        let front = FrontService(
            settings: settings,
            limits: Listener.Limits(connections: 20),
            tlsContext: try #require(certificate),
            group: loop,
            logger: logger
        )
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        try await front.start([.init(socket: socket, isEncrypted: false)])
        let office = PostOffice(
            directory: directory,
            loop: loop,
            address: try SocketAddress(ipAddress: "127.0.0.1", port: port)
        )
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await body(office) }.value
        await front.shutDown(grace: .seconds(1))
        await mailbox.shutDown(grace: .seconds(1))
        await authd.shutDown(grace: .seconds(1))
    }

    private static func answer(_ frame: Frame) -> Frame {
        switch frame.verb {
        case "VERIFY" where frame["password"] == "secret":
            return .ok(tag: frame["tag"], [.init("address", "bob@example.test"), .init("ticket", "t1")])
        case "REDEEM" where frame["ticket"] == "t1":
            return .ok(
                tag: frame["tag"],
                [
                    .init("address", "bob@example.test"), .init("mailbox", "bob"), .init("format", "maildir"),
                    .init("quota", "0"),
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

    func ask(_ text: String) async throws -> [String] {
        guard try await say(text).hasPrefix("+OK") else { return ["refused"] }
        return try await rest()
    }
}

@Suite struct SessionTests {
    @Test func mailIsReadAndSizesAreThoseOnTheWire() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let client = try await office.login()
            // With CRLF line ends: 23, 31 and 27 octets.
            #expect(try await client.say("STAT") == "+OK 3 81")
            #expect(try await client.ask("LIST") == ["1 23", "2 31", "3 27"])
            #expect(try await client.ask("RETR 2") == ["Subject: two", "", "..dot", "...", "end"])
            #expect(try await client.ask("TOP 3 1") == ["Subject: three", "", "x"])
            let ids = try await client.ask("UIDL")
            #expect(Set(ids.compactMap { $0.split(separator: " ").last }).count == 3)
            #expect(try await client.say("RETR 4").hasPrefix("-ERR"))
            #expect(try await client.say("RETR 99999999999999999999").hasPrefix("-ERR"))
            #expect(try await client.say("QUIT").hasPrefix("+OK"))
            client.connection.close()
        }
    }

    @Test func onlyQuitDeletes() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let lost = try await office.login()
            #expect(try await lost.say("DELE 1").hasPrefix("+OK"))
            lost.connection.abort()
            var next = try await office.client()
            // The lock of the lost session goes with it, but not at once.
            while true {
                _ = try await next.say("USER bob")
                if try await next.say("PASS secret").hasPrefix("+OK") { break }
                next.connection.close()
                next = try await office.client()
            }
            #expect(try await next.say("STAT") == "+OK 3 81")
            #expect(try await next.say("DELE 1").hasPrefix("+OK"))
            #expect(try await next.say("DELE 1").hasPrefix("-ERR"))
            #expect(try await next.say("RSET").hasPrefix("+OK"))
            #expect(try await next.say("DELE 2").hasPrefix("+OK"))
            #expect(try await next.say("QUIT").hasPrefix("+OK"))
            next.connection.close()
            let last = try await office.login()
            #expect(try await last.ask("LIST") == ["1 23", "2 27"])
            last.connection.close()
        }
    }

    @Test func secondSessionIsRefused() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let first = try await office.login()
            let second = try await office.client()
            _ = try await second.say("USER bob")
            #expect(try await second.say("PASS secret").hasPrefix("-ERR [IN-USE]"))
            second.connection.close()
            first.connection.close()
        }
    }

    @Test func faultsHaveTheirCodes() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS wrong").hasPrefix("-ERR [AUTH]"))
            #expect(try await client.say("STAT").hasPrefix("-ERR"))
            #expect(try await client.say("\u{0}\u{1}").hasPrefix("-ERR"))
            #expect(try await client.say(String(repeating: "x", count: 5000)).hasPrefix("-ERR"))
            client.connection.close()
        }
        try await PostOffice.run(hasAuthority: false) { (office) async throws -> Void in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS secret").hasPrefix("-ERR [SYS/TEMP]"))
            client.connection.close()
        }
        try await PostOffice.run(hasMailboxProcess: false) { (office) async throws -> Void in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS secret").hasPrefix("-ERR [SYS/TEMP]"))
            client.connection.close()
        }
    }

    @Test func passwordsWaitForTLSAndWhatCameBeforeItIsThrownAway() async throws {
        let context = try TLSContext(clientVerifying: false)
        try await PostOffice.run(plaintext: false) { (office) async throws -> Void in
            let client = try await office.client()
            #expect(try await client.say("USER bob").hasPrefix("-ERR"))
            #expect(try await client.ask("CAPA").contains("STLS"))
            #expect(try await client.say("STLS\r\nUSER mallory").hasPrefix("+OK"))
            try await client.connection.startTLS(client: context, serverName: nil)
            let capabilities = try await client.ask("CAPA")
            #expect(!capabilities.contains("STLS"))
            #expect(capabilities.contains { $0.hasPrefix("SASL") && $0.contains("PLAIN") })
            // NUL bob NUL secret
            #expect(try await client.say("AUTH PLAIN AGJvYgBzZWNyZXQ=").hasPrefix("+OK"))
            #expect(try await client.say("STAT") == "+OK 3 81")
            client.connection.close()
        }
    }

    @Test func commandsMayComeTogether() async throws {
        try await PostOffice.run { (office) async throws -> Void in
            let client = try await office.client()
            client.connection.write("USER bob\r\nPASS secret\r\nSTAT\r\nNOOP\r\nQUIT\r\n")
            try await client.connection.flush()
            var answers: [String] = []
            for _ in 0..<5 { answers.append(try await client.line()) }
            #expect(answers.allSatisfy { $0.hasPrefix("+OK") })
            #expect(answers[2] == "+OK 3 81")
            client.connection.close()
        }
    }
}
