import Accounts
import Bus
import Front
import IMAP
import Logging
import Mailbox
import MailboxProcess
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Testing

@testable import IMAPServer

#if canImport(Glibc)
import Glibc
#endif

/// The front and the mailbox process on loopback, with a pretended authd and a Maildir of their own.
final class TestSystem: Sendable {
    let loop: any EventLoop
    let port: Int
    let directory: String
    private let front: FrontServer<IMAPFront>
    private let mailbox: MailboxServer<IMAPMailboxService>
    private let authority: BusServer

    /// Runs the body on the event loop of a system, then shuts it down and removes its files.
    static func run(
        pool: BlockingPool = .shared,
        without disabled: [String] = [],
        messageLimit: Int = 1 << 20,
        messagesPerCommand: Int = 0,
        sharesFolders: Bool = false,
        keepsIndex: Bool = true,
        indexesText: Bool = false,
        sortMemory: Int = 1 << 24,
        _ body: @escaping @Sendable (TestSystem) async throws -> Void
    ) async throws {
        let directory = "/tmp/martlet-imap-\(UInt64.random(in: 0 ... .max))"
        #expect(mkdir(directory, 0o700) == 0 && mkdir("\(directory)/mail", 0o700) == 0)
        defer { remove(directory) }
        let system = try await TestSystem(
            directory,
            pool,
            Capabilities(disabled: disabled, messagesPerCommand: messagesPerCommand, sharesFolders: sharesFolders),
            messageLimit,
            keepsIndex,
            indexesText,
            sortMemory,
            sharesFolders
        )
        let failure = await Task(executorPreference: LoopExecutor.of(system.loop)) { () -> (any Error)? in
            do {
                try await body(system)
                return nil
            } catch {
                return error
            }
        }.value
        await system.front.shutDown(grace: .seconds(2))
        await system.mailbox.shutDown(grace: .seconds(2))
        await system.authority.shutDown(grace: .seconds(1))
        if let failure { throw failure }
    }

    private init(
        _ directory: String,
        _ pool: BlockingPool,
        _ capabilities: Capabilities,
        _ messageLimit: Int,
        _ keepsIndex: Bool,
        _ indexesText: Bool,
        _ sortMemory: Int,
        _ sharesFolders: Bool
    ) async throws {
        self.directory = directory
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        self.loop = loop
        authority = BusServer(group: loop, logger: logger)
        let tickets = NIOLockedValueBox([String: String]())
        try await authority.answer(on: try UnixSocket.listen("\(directory)/auth.sock")) { frame, connection in
            connection.write(Self.answer(frame, tickets))
        }
        var settings = MailboxSettings()
        settings.mailDirectory = "\(directory)/mail"
        settings.capabilities = capabilities
        settings.commands.message = messageLimit
        settings.keepsIndex = keepsIndex
        settings.indexesText = indexesText
        settings.sortMemory = sortMemory
        settings.authoritySocket = "\(directory)/auth.sock"
        if sharesFolders {
            settings.namespaces = NamespaceNames(others: "user", shared: "Public")
            settings.publicFolders = MailboxLocation(path: "public", format: .maildir)
        }
        var server = MailboxServerSettings(login: .imap)
        server.authoritySocket = "\(directory)/auth.sock"
        mailbox = MailboxServer(
            IMAPMailboxService(settings: settings, pool: pool, group: loop, logger: logger),
            settings: server,
            directory: try MailDirectory("\(directory)/mail"),
            pool: pool,
            group: loop,
            logger: logger
        )
        try await mailbox.start(on: try UnixSocket.listen("\(directory)/imap.sock"))
        var fronts = FrontSettings(hostname: "mail.example.test")
        fronts.authoritySocket = "\(directory)/auth.sock"
        fronts.errorDelay = .zero
        fronts.allowsPlaintextOnLoopback = true
        front = FrontServer(
            IMAPFront(
                fronts,
                mailboxSocket: "\(directory)/imap.sock",
                capabilities: capabilities,
                messageLimit: messageLimit
            ),
            tlsContext: nil,
            group: loop,
            logger: logger
        )
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        port = InternetSocket.port(of: socket) ?? 0
        try await front.start([FrontEndpoint(.imap, socket: socket)])
    }

    private static func answer(_ frame: Frame, _ tickets: NIOLockedValueBox<[String: String]>) -> Frame {
        switch frame.verb {
        case "VERIFY" where frame["password"] == "secret":
            let ticket = "\(UInt64.random(in: 0 ... .max))"
            tickets.withLockedValue { $0[ticket] = frame["user"] ?? "" }
            return .ok(tag: frame["tag"], [.init("address", frame["user"] ?? ""), .init("ticket", ticket)])
        case "REDEEM":
            guard let user = tickets.withLockedValue({ $0.removeValue(forKey: frame["ticket"] ?? "") }) else {
                return .reply(.reject, status: "5.7.8", text: "no", tag: frame["tag"])
            }
            return mailbox(of: user, frame)
        case "EXPAND":
            // `nobody` is no user, and for `away` authd has no answer now.
            let parts = (frame["address"] ?? "").split(separator: "@")
            guard parts.count == 2, parts[1] == "example.test", parts[0] != "nobody" else {
                return .reply(.reject, status: "5.1.1", text: "no such user", tag: frame["tag"])
            }
            if parts[0] == "away" { return .reply(.defer, status: "4.3.0", text: "later", tag: frame["tag"]) }
            return mailbox(of: String(parts[0]), frame)
        default: return .reply(.reject, status: "5.7.8", text: "no", tag: frame["tag"])
        }
    }

    private static func mailbox(of user: String, _ frame: Frame) -> Frame {
        .ok(
            tag: frame["tag"],
            [
                .init("address", "\(user)@example.test"), .init("mailbox", user),
                .init("format", user == "mbox" ? "mbox" : "maildir"),
                .init("quota", user == "limited" ? "20480" : "0"),
            ]
        )
    }

    /// What is in a directory; nil where it is none.
    static func names(in path: String) -> [String]? {
        guard let stream = opendir(path) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { name in
                    name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
            )
        }
        return names.filter { $0 != "." && $0 != ".." }
    }

    private static func remove(_ path: String) {
        guard let names = names(in: path) else {
            unlink(path)
            return
        }
        for name in names { remove("\(path)/\(name)") }
        rmdir(path)
    }

    /// A client that was greeted, and has logged in where asked to. The user `mbox` has an mbox, and `limited` 20 KiB.
    func client(loggedIn: Bool = true, as user: String = "alice") async throws -> TestClient {
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let client = TestClient(try await Connection.connect(to: address, on: loop, timeout: .seconds(5)))
        #expect(try await client.line().hasPrefix("* OK [CAPABILITY IMAP4rev1"))
        if loggedIn { #expect(try await client.command("LOGIN \(user) secret").last?.contains(" OK ") == true) }
        return client
    }
}

/// Speaks IMAP and keeps what it hears as lines; literals' octets are lines like others.
final class TestClient: @unchecked Sendable {
    // Unchecked: belongs to the event loop's thread.
    private let connection: Connection
    private var number = 0

    init(_ connection: Connection) {
        self.connection = connection
        connection.idleTimeout = .seconds(20)
    }

    func line() async throws -> String {
        guard let line = try await connection.readLine(maximum: 1 << 20) else { throw ConnectionError.closed }
        return String(buffer: line)
    }

    func send(_ text: String) async throws {
        connection.write(text)
        try await connection.flush()
    }

    /// Puts a message of any octets into the inbox.
    func append(_ message: [UInt8]) async throws {
        number += 1
        connection.write("t\(number) APPEND INBOX {\(message.count)+}\r\n")
        connection.write(ByteBuffer(bytes: message))
        try await send("\r\n")
        _ = try await lines(to: "t\(number) OK")
    }

    /// All lines up to and with the tagged one.
    func command(_ text: String) async throws -> [String] {
        number += 1
        try await send("t\(number) \(text)\r\n")
        return try await lines(to: "t\(number) ")
    }

    /// All lines up to and with the one that starts so.
    func lines(to start: String) async throws -> [String] {
        var lines: [String] = []
        repeat { lines.append(try await line()) } while !(lines.last ?? start).hasPrefix(start)
        return lines
    }

    /// All lines of one command that must succeed, but for the tagged one.
    func ok(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws -> [String] {
        let lines = try await command(text)
        #expect(lines.last?.contains(" OK ") == true, "\(text): \(lines)", sourceLocation: sourceLocation)
        return lines.dropLast()
    }

    /// Puts a message into a folder.
    func append(_ text: String, to folder: String = "INBOX", _ more: String = "") async throws {
        _ = try await ok("APPEND \(folder) \(more){\(text.utf8.count)+}\r\n\(text)")
    }

    /// Both directions are DEFLATE from now on.
    func compress() async throws {
        _ = try await ok("COMPRESS DEFLATE")
        try connection.channel.pipeline.syncOperations.addHandler(try CompressionHandler(), position: .first)
    }

    /// The same, and the client's own direction ends with what it sends next (RFC 1951 §3.2.3).
    func endCompression(with text: String) async throws {
        let handler = try connection.channel.pipeline.syncOperations.handler(type: CompressionHandler.self)
        handler.endAtFlush()
        try await send(text)
    }

    /// Octets are what they are again: what was compressed has been read.
    func decompress() async throws {
        let pipeline = connection.channel.pipeline.syncOperations
        let handler = try pipeline.handler(type: CompressionHandler.self)
        let rest = handler.takeRest()
        try await pipeline.removeHandler(handler).get()
        if !rest.isClosed { connection.reopenInput() }
        connection.input.writeImmutableBuffer(rest.octets)
    }

    /// Sends what isn't text.
    func send(_ octets: [UInt8]) async throws {
        connection.write(ByteBuffer(bytes: octets))
        try await connection.flush()
    }

    func close() { connection.close() }
}
