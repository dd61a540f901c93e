import Accounts
import Bus
import Logging
import Mailbox
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Testing

@testable import LocalDelivery

#if canImport(Glibc)
import Glibc
#endif

/// local-deliver's service on real sockets, with stand-ins for authd and queue-manager.
final class TestSystem: Sendable {
    /// What came in by `SUBMIT`.
    struct Submission: Equatable {
        var sender = ""
        var recipients: [String] = []
        var origin = ""
        var message = ""
    }

    static let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    let path = "/tmp/martlet-deliver-\(UInt64.random(in: 0 ... .max))"
    let mail: MailDirectory
    /// What authd says about an address; it says 5.1.1 about others.
    let answers = NIOLockedValueBox<[String: Frame]>([:])
    let questions = NIOLockedValueBox<[String]>([])
    let submissions = NIOLockedValueBox<[Submission]>([])
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let pool = NIOThreadPool(numberOfThreads: 2)
    private let mboxPool = NIOThreadPool(numberOfThreads: 2)
    private let queue: OpenFile
    private let servers = NIOLockedValueBox<[BusServer]>([])

    private init() throws {
        for part in ["", "/mail", "/queue", "/queue/aa"] { try #require(mkdir(path + part, 0o700) == 0) }
        mail = try MailDirectory("\(path)/mail")
        queue = try OpenFile("\(path)/queue", O_RDONLY | O_DIRECTORY)
        pool.start()
        mboxPool.start()
    }

    /// Runs the body against a running service.
    static func run(
        extensionFolders: Bool = false,
        _ body: @escaping @Sendable (TestSystem) async throws -> Void
    ) async throws {
        let system = try TestSystem()
        try await Task(executorPreference: LoopExecutor.of(system.loop)) {
            try await system.startService(extensionFolders: extensionFolders)
            try await system.startAuthority()
            do {
                try await body(system)
            } catch {
                await system.end()
                throw error
            }
            await system.end()
        }.value
    }

    private func end() async {
        for server in servers.withLockedValue({ $0 }) { await server.shutDown(grace: .zero) }
        try? await pool.shutdownGracefully()
        try? await mboxPool.shutdownGracefully()
        Self.remove(path)
    }

    private static func remove(_ path: String) {
        guard let directory = opendir(path) else {
            unlink(path)
            return
        }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        closedir(directory)
        for name in names { remove("\(path)/\(name)") }
        rmdir(path)
    }

    private func startService(extensionFolders: Bool) async throws {
        let accounts = AccountsClient(path: "\(path)/auth.sock", on: loop)
        let service = DeliveryService(
            expansions: ExpansionCache(accounts: accounts, lifetime: .seconds(60)),
            batcher: DeliveryBatcher(
                deliverer: MailDeliverer(mail),
                pool: pool,
                mboxPool: mboxPool,
                loop: loop,
                maximumBatch: 50
            ),
            forwarder: Forwarder(path: "\(path)/queue.sock", pool: pool, loop: loop),
            pool: pool,
            queue: queue.descriptor,
            usesExtensionFolders: extensionFolders,
            logger: Self.logger
        )
        let server = BusServer(group: loop, logger: Self.logger)
        try await server.answer(on: try UnixSocket.listen("\(path)/deliver.sock")) { service.answer($0, $1) }
        servers.withLockedValue { $0.append(server) }
    }

    private func startAuthority() async throws {
        let server = BusServer(group: loop, logger: Self.logger)
        let (answers, questions) = (answers, questions)
        try await server.answer(on: try UnixSocket.listen("\(path)/auth.sock")) { frame, connection in
            let address = frame["address"] ?? ""
            questions.withLockedValue { $0.append(address) }
            var reply =
                answers.withLockedValue { $0[address] }
                ?? Frame.reply(.reject, status: "5.1.1", text: "no such mailbox")
            reply["tag"] = frame["tag"]
            connection.write(reply)
        }
        servers.withLockedValue { $0.append(server) }
    }

    /// Starts a queue-manager that answers each message so.
    func startQueue(_ reply: Frame = .ok(tag: nil, [.init("id", "newid")])) async throws {
        let server = BusServer(group: loop, logger: Self.logger)
        let submissions = submissions
        try await server.accept(on: try UnixSocket.listen("\(path)/queue.sock")) { connection in
            connection.write(Frame.ok(tag: nil, [.init("next", "id")]))
            try? await connection.flush()
            var parser = FrameParser()
            var submission = Submission()
            while let frame = try? await connection.readFrame(&parser) {
                switch frame.verb {
                case "SUBMIT":
                    submission.sender = frame["sender"] ?? ""
                    submission.recipients = frame.all("recipient")
                    submission.origin = frame["origin"] ?? ""
                case "DATA":
                    submission.message += frame.body.map { String(buffer: $0) } ?? ""
                default:
                    let done = submission
                    submissions.withLockedValue { $0.append(done) }
                    connection.write(reply)
                    try? await connection.flush()
                }
            }
        }
        servers.withLockedValue { $0.append(server) }
    }

    func addMailbox(_ name: String, _ format: MailboxFormat = .maildir, quota: Int = 0, extension rest: String? = nil) {
        var reply = Frame.ok(
            tag: nil,
            [
                .init("address", "\(name)@example.test"), .init("mailbox", "example.test/\(name)"),
                .init("format", format.rawValue), .init("quota", "\(quota)"),
            ]
        )
        if let rest { reply["extension"] = rest }
        let address = "\(name)\(rest.map { "+\($0)" } ?? "")@example.test"
        answers.withLockedValue { $0[address] = reply }
    }

    /// Sends one request and waits for a reply to each recipient.
    func deliver(
        _ message: String,
        id: String = "aa11",
        to recipients: [String],
        change: (inout Frame) -> Void = { _ in }
    ) async throws -> [String: Frame] {
        let envelope = "sender: <>\n\n"
        let name = "\(path)/queue/aa/\(id)"
        try OpenFile(name, O_WRONLY | O_CREAT | O_TRUNC).write(Array((envelope + message).utf8))
        var frame = Frame(
            "DELIVER",
            [
                "tag": "7", "id": id, "file": "aa/\(id)", "offset": "\(envelope.utf8.count)",
                "octets": "\(message.utf8.count)", "attempt": "1", "arrived": "1795447200",
                "sender": "<carol@example.net>",
            ]
        )
        frame.fields += recipients.map { .init("recipient", "<\($0)>") }
        change(&frame)
        let connection = try await Connection.connect(unix: "\(path)/deliver.sock", on: loop)
        defer { connection.close() }
        connection.idleTimeout = .seconds(30)
        connection.write(frame)
        try await connection.flush()
        var parser = FrameParser()
        var replies: [String: Frame] = [:]
        while replies.count < recipients.count, let reply = try await connection.readFrame(&parser) {
            #expect(reply["tag"] == "7")
            replies[reply["recipient"] ?? ""] = reply
        }
        return replies
    }

    /// The messages of a mailbox, as its reader sees them.
    func messages(_ name: String, _ format: MailboxFormat = .maildir, folder: String = "INBOX") throws -> [String] {
        let location = try #require(MailboxLocation(path: "example.test/\(name)", format: format))
        let folder = try mail.open(location).open(try #require(FolderName(folder)), readOnly: true)
        return try folder.messages.map { message in
            let reader = try folder.open(message.uid)
            return String(buffer: try reader.read(at: 0, count: reader.octets))
        }
    }
}
