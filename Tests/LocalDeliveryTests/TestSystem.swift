import Accounts
import Bus
import Deliverer
import Logging
import Mailbox
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Rewriting
import SMTP
import Submission
import Testing

@testable import LocalDelivery

#if canImport(Glibc)
import Glibc
#endif

/// local-deliver's service on real sockets, with stand-ins for authd and queue-manager.
final class TestSystem: Sendable {
    /// What came in by `SUBMIT`.
    struct Submitted: Equatable {
        var sender = ""
        var recipients: [String] = []
        var origin = ""
        var isExpanded = false
        var submitter: String?
        var message = ""
    }

    static let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    let path = "/tmp/martlet-deliver-\(UInt64.random(in: 0 ... .max))"
    let mail: MailDirectory
    /// What authd says about an address; it says 5.1.1 about others.
    let answers = NIOLockedValueBox<[String: Frame]>([:])
    let questions = NIOLockedValueBox<[String]>([])
    /// Mailboxes that authd was told to be full.
    let full = NIOLockedValueBox<[String]>([])
    let submissions = NIOLockedValueBox<[Submitted]>([])
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let pool = NIOThreadPool(numberOfThreads: 2)
    private static let slowPool = BlockingPool(threads: 2)
    private let service = NIOLockedValueBox<DeliveryServer?>(nil)
    private let servers = NIOLockedValueBox<[BusServer]>([])
    private let watch = NIOLockedValueBox<DirectoryWatch?>(nil)
    /// How often the service heard authd say that something changed; the first time when it began to listen.
    let changes = NIOLockedValueBox(0)
    /// Connections that want to hear of changes, with their tags.
    private let watchers = NIOLockedValueBox<[(connection: Connection, tag: String?)]>([])

    private init() throws {
        for part in ["", "/mail"] { try #require(mkdir(path + part, 0o700) == 0) }
        mail = try MailDirectory("\(path)/mail")
        pool.start()
    }

    /// Runs the body against a running service.
    static func run(
        extensionFolders: Bool = false,
        variableListSenders: Bool = false,
        rewriting: ForwardedSender? = nil,
        _ body: @escaping @Sendable (TestSystem) async throws -> Void
    ) async throws {
        let system = try TestSystem()
        try await Task(executorPreference: LoopExecutor.of(system.loop)) {
            try await system.startAuthority()
            try await system.startService(
                extensionFolders: extensionFolders,
                variableListSenders: variableListSenders,
                rewriting: rewriting
            )
            do {
                // What it asks before that may be forgotten at any time.
                while system.changes.withLockedValue({ $0 == 0 }) { try await Task.sleep(for: .milliseconds(1)) }
                try await body(system)
            } catch {
                await system.end()
                throw error
            }
            await system.end()
        }.value
    }

    private func end() async {
        watch.withLockedValue { $0 }?.close()
        await service.withLockedValue { $0 }?.shutDown(grace: .zero)
        for server in servers.withLockedValue({ $0 }) { await server.shutDown(grace: .zero) }
        try? await pool.shutdownGracefully()
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

    private func startService(
        extensionFolders: Bool,
        variableListSenders: Bool,
        rewriting: ForwardedSender?
    ) async throws {
        let accounts = AccountsClient(path: "\(path)/auth.sock", on: loop)
        let expansions = ExpansionCache(accounts: accounts, on: loop, lifetime: .seconds(60))
        let changes = changes
        let watch = DirectoryWatch(path: "\(path)/auth.sock", on: loop) { _ in
            expansions.forget()
            changes.withLockedValue { $0 += 1 }
        }
        watch.start()
        self.watch.withLockedValue { $0 = watch }
        let forwarder = Forwarder(
            SubmissionClient(path: "\(path)/queue.sock", on: loop),
            variesOwners: variableListSenders,
            rewriting: rewriting
        )
        forwarder.know(domains: ["example.test"])
        let service = DeliveryService(
            expansions: expansions,
            fullMailboxes: FullMailboxReports(accounts, on: loop),
            batcher: DeliveryBatcher(
                deliverer: MailDeliverer(mail),
                pool: pool,
                slowPool: Self.slowPool,
                loop: loop,
                maximumBatch: 50
            ),
            forwarder: forwarder,
            usesExtensionFolders: extensionFolders,
            hostname: "mail.example.test"
        )
        let server = DeliveryServer(
            group: loop,
            settings: .init(event: "delivery", successCounter: "delivered"),
            logger: Self.logger
        ) { await service.work(on: $0) }
        try await server.accept(on: try UnixSocket.listen("\(path)/deliver.sock"))
        self.service.withLockedValue { $0 = server }
    }

    private func startAuthority() async throws {
        let server = BusServer(group: loop, logger: Self.logger)
        let (answers, questions, watchers, full) = (answers, questions, watchers, full)
        try await server.answer(on: try UnixSocket.listen("\(path)/auth.sock")) { frame, connection in
            if frame.verb == "WATCH" {
                watchers.withLockedValue { $0.append((connection, frame["tag"])) }
                return connection.write(Frame.ok(tag: frame["tag"]))
            }
            if frame.verb == "FULL" {
                full.withLockedValue { $0.append(frame["address"] ?? "") }
                return connection.write(Frame.ok(tag: frame["tag"]))
            }
            let address = (frame["address"] ?? "") + (frame["expanded"] == "yes" ? " expanded" : "")
            questions.withLockedValue { $0.append(address) }
            var reply =
                answers.withLockedValue { $0[address] }
                ?? Frame.reply(.reject, status: "5.1.1", text: "no such mailbox")
            reply["tag"] = frame["tag"]
            connection.write(reply)
        }
        servers.withLockedValue { $0.append(server) }
    }

    /// authd says that something changed.
    func announceChange() {
        for (connection, tag) in watchers.withLockedValue({ $0 }) {
            connection.write(Frame.ok(tag: tag))
            connection.flushSoon()
        }
    }

    /// Starts a queue-manager that answers each message so.
    func startQueue(_ reply: Frame = .ok(tag: nil, [.init("id", "newid")])) async throws {
        let server = BusServer(group: loop, logger: Self.logger)
        let submissions = submissions
        try await server.accept(on: try UnixSocket.listen("\(path)/queue.sock")) { connection in
            connection.write(Frame.ok(tag: nil, [.init("next", "id")]))
            try? await connection.flush()
            var parser = FrameParser()
            var submitted = Submitted()
            while let frame = try? await connection.readFrame(&parser) {
                let octets = frame.body.map { String(buffer: $0) } ?? ""
                if frame.verb == "SUBMIT" {
                    submitted = Submitted(
                        sender: frame["sender"] ?? "",
                        recipients: frame.all("recipient"),
                        origin: frame["origin"] ?? "",
                        isExpanded: frame["expanded"] == "yes",
                        submitter: frame["submitter"]
                    )
                }
                guard frame.verb == "END" else {
                    submitted.message += octets
                    continue
                }
                submitted.message = octets + submitted.message
                let done = submitted
                submissions.withLockedValue { $0.append(done) }
                connection.write(reply)
                try? await connection.flush()
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

    /// Sends one request and waits for a reply to each recipient. A message that is too large for the request is given in
    /// the pieces that are asked for.
    ///
    /// - Parameter refusing: such pieces are refused instead.
    func deliver(
        _ message: String,
        added: String = "",
        id: String = "aa11",
        to recipients: [String],
        refusing: Bool = false,
        change: (inout Frame) -> Void = { _ in }
    ) async throws -> [String: Frame] {
        let octets = ByteBuffer(string: message)
        var frame = DeliverRequest(
            id: id,
            attempt: 1,
            arrived: 1_795_447_200,
            mayBeKnown: false,
            sender: try EnvelopeSender(parsing: "<carol@example.net>".utf8),
            recipients: try recipients.map { try EnvelopeRecipient(parsing: "<\($0)>".utf8) },
            destination: nil,
            added: ByteBuffer(string: added),
            octets: octets.readableBytes,
            message: octets.readableBytes <= DeliverRequest.inlineLimit ? octets : nil
        ).frame
        frame["tag"] = "7"
        change(&frame)
        let connection = try await Connection.connect(unix: "\(path)/deliver.sock", on: loop)
        defer { connection.close() }
        connection.idleTimeout = .seconds(30)
        connection.write(frame)
        try await connection.flush()
        var parser = FrameParser()
        var replies: [String: Frame] = [:]
        while replies.count < recipients.count, let reply = try await connection.readFrame(&parser) {
            #expect(reply["tag"] == (frame.verb == "DELIVER" ? "7" : nil))
            if let piece = PieceRequest(reply) {
                let slice = try #require(octets.getSlice(at: piece.offset, length: piece.length))
                connection.write(refusing ? piece.refusal("disk trouble") : piece.answer(slice))
                try await connection.flush()
                continue
            }
            replies[reply["recipient"] ?? ""] = reply
            if reply["recipient"] == nil { break }
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
