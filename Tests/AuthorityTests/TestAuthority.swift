import Bus
import Daemon
import JWT
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Rewriting
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
    let log: LogRecord

    /// Tests' time, in seconds since 1970.
    static let now = 1_700_000_000

    /// - Parameters:
    ///   - more: of the configuration, behind `[authd]`.
    ///   - matches: whether a password has a hash.
    static func run(
        users: String? = Self.users,
        aliases: String? = Self.aliases,
        files: [String: String] = [:],
        more: String = "",
        throttle: LoginThrottle = LoginThrottle(first: .zero, longest: .zero),
        matches: @escaping @Sendable (String, String) -> Bool = { PasswordHash.verify($0, $1) },
        _ body: @escaping @Sendable (TestAuthority) async throws -> Void
    ) async throws {
        try await TemporaryDirectory.with { directory in
            if let users { directory.write("users", users.utf8) }
            if let aliases { directory.write("aliases", aliases.utf8) }
            for (name, text) in files { directory.write(name, text.utf8) }
            let text = configuration(directory) + more.replacing("@", with: directory.path)
            directory.write("martlet.toml", text.utf8)
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            let pool = NIOThreadPool(numberOfThreads: 2)
            pool.start()
            let log = LogRecord()
            let logger = Logger(label: "test") { _ in log }
            let file = directory.file("martlet.toml")
            let configuration = try Configuration.load(file)
            let accountFiles = AccountFiles(configuration, file: file, on: loop, logger: logger)
            // However slow the machine is.
            accountFiles.quiet = .hours(1)
            let service = AuthorityService(
                on: loop,
                files: accountFiles,
                verifier: PasswordVerifier(
                    pool: pool,
                    loop: loop,
                    maximumWaiting: 200,
                    throttle: throttle,
                    dummyHash: hash,
                    matches: matches
                ),
                state: AuthorityState(directory: directory.path, on: loop, pool: pool, logger: logger),
                greylist: GreylistStore(
                    directory: directory.path,
                    settings: GreylistSettings(configuration.authd.greylist),
                    on: loop,
                    pool: pool,
                    logger: logger
                ),
                settings: AuthorityService.Settings(
                    tokens: configuration.authd.oauth.map(TokenRequirements.init),
                    scramIterations: 4096,
                    refusesDisabled: configuration.authd.refuseDisabled,
                    forwarded: try configuration.srs.domain.map {
                        try ForwardedSender(domain: $0, secrets: "secret\n")
                    },
                    sendingLimits: { address in
                        let sending = configuration.authd.sending
                        return SendingLimits(sending.accounts["\(address)"] ?? sending)
                    },
                    clock: { now }
                ),
                access: .init(logins: [], mailboxes: [], recipients: [], deliveries: [], watchers: [], routes: []),
                ownUser: getuid(),
                logger: logger
            )
            let server = BusServer(group: loop, logger: logger)
            let socket = try UnixSocket.listen(directory.file("auth.sock"))
            try await server.answer(on: socket) { frame, connection in service.answer(frame, connection) }
            try await loop.submit { service.start(interval: .milliseconds(20)) }.get()
            let failure = await Task(executorPreference: LoopExecutor.of(loop)) { () -> (any Error)? in
                let client = BusClient(path: directory.file("auth.sock"), on: loop, timeout: .seconds(20))
                defer { client.close() }
                do {
                    try await body(TestAuthority(directory: directory, loop: loop, client: client, log: log))
                    return nil
                } catch {
                    return error
                }
            }.value
            try await loop.flatSubmit { service.stop() }.get()
            await server.shutDown(grace: .seconds(5))
            try await pool.shutdownGracefully()
            if let failure { throw failure }
        }
    }

    /// The text of a configuration file.
    static func configuration(_ directory: TemporaryDirectory, domains: String = "\"example.test\"") -> String {
        """
        hostname = "mail.example.test"
        domains = [\(domains)]
        [authd]
        users = "\(directory.file("users"))"
        aliases = "\(directory.file("aliases"))"
        app-passwords = "\(directory.file("app-passwords"))"
        certificates = "\(directory.file("certificates"))"

        """
    }

    func verify(
        _ user: String,
        _ password: String = "U*U",
        service: String = "pop3",
        client address: String = "192.0.2.7"
    ) async throws -> Frame {
        try await client.request(
            Frame("VERIFY", ["service": service, "user": user, "password": password, "client": address])
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

/// Keeps what was logged, a line each.
struct LogRecord: LogHandler {
    private let kept = NIOLockedValueBox<[String]>([])
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }
        kept.withLockedValue { $0.append("\(event.level) \(event.message)\(fields.joined())") }
    }

    /// Lines with this in them.
    func lines(with text: String) -> [String] { kept.withLockedValue { $0.filter { $0.contains(text) } } }
}
