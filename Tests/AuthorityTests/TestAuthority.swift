import Bus
import Daemon
import Logging
import NIOCore
import NIOPosix
import Network
import Testing

@testable import Authority

#if canImport(Glibc)
import Glibc
#endif

/// authd's service behind its socket, with tables in a directory of its own. Everybody's password is `U*U`.
struct TestAuthority: Sendable {
    static let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    static let users = """
        # people
        alice@example.test:\(hash):example.test/alice:maildir:1000
        bob@example.test:\(hash):bob.mbox:mbox:0
        locked@example.test:!\(hash)

        """
    static let aliases = """
        team: alice, carol@example.net
        boss: alice
        round: round

        """

    let directory: TemporaryDirectory
    let loop: any EventLoop
    let client: BusClient

    /// - Parameter matches: whether a password has a hash.
    static func run(
        users: String? = Self.users,
        matches: @escaping @Sendable (String, String) -> Bool = { PasswordHash.verify($0, $1) },
        _ body: @escaping @Sendable (TestAuthority) async throws -> Void
    ) async throws {
        try await TemporaryDirectory.with { directory in
            if let users { directory.write("users", users.utf8) }
            directory.write("aliases", aliases.utf8)
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            let pool = NIOThreadPool(numberOfThreads: 2)
            pool.start()
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let service = AuthorityService(
                on: loop,
                files: AccountFiles(try configuration(directory), on: loop, logger: logger),
                verifier: PasswordVerifier(
                    pool: pool,
                    loop: loop,
                    maximumWaiting: 100,
                    throttle: LoginThrottle(first: .zero, longest: .zero),
                    dummyHash: hash,
                    matches: matches
                ),
                access: .init(logins: [], mailboxes: [], recipients: [], deliveries: []),
                ownUser: getuid(),
                logger: logger
            )
            let server = BusServer(group: loop, logger: logger)
            let socket = try UnixSocket.listen(directory.file("auth.sock"))
            try await server.answer(on: socket) { frame, connection in service.answer(frame, connection) }
            let failure = await Task(executorPreference: LoopExecutor.of(loop)) { () -> (any Error)? in
                let client = BusClient(path: directory.file("auth.sock"), on: loop, timeout: .seconds(20))
                defer { client.close() }
                do {
                    try await body(TestAuthority(directory: directory, loop: loop, client: client))
                    return nil
                } catch {
                    return error
                }
            }.value
            await server.shutDown(grace: .seconds(5))
            try await pool.shutdownGracefully()
            if let failure { throw failure }
        }
    }

    private static func configuration(_ directory: TemporaryDirectory) throws -> Configuration {
        try Configuration(
            text: """
                hostname = "mail.example.test"
                domains = ["example.test"]
                [authd]
                users = "\(directory.file("users"))"
                aliases = "\(directory.file("aliases"))"

                """,
            file: "martlet.toml"
        )
    }

    func verify(_ user: String, _ password: String = "U*U", service: String = "pop3") async throws -> Frame {
        try await client.request(
            Frame("VERIFY", ["service": service, "user": user, "password": password, "client": "192.0.2.7"])
        )
    }

    func redeem(_ ticket: String, service: String = "pop3") async throws -> Frame {
        try await client.request(Frame("REDEEM", ["ticket": ticket, "service": service]))
    }

    /// The answer to RECIPIENT or EXPAND in a line.
    func ask(_ verb: String, _ address: String) async throws -> String {
        let reply = try await client.request(Frame(verb, ["address": address]))
        guard reply.replyKind == .ok else { return "\(reply.verb) \(reply["status"] ?? "")" }
        return reply.fields.filter { !["tag", "status"].contains($0.name) }.map { "\($0.name)=\($0.value)" }
            .joined(separator: " ")
    }
}
