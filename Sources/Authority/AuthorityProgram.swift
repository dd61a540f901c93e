import Bus
import Daemon
import JWT
import NIOCore
import NIOPosix
import Network
import Rewriting
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// authd: the only reader of passwords, users and aliases.
package struct AuthorityProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        /// Where what is remembered can be kept; nil for nowhere.
        let stateDirectory: String?
        let access: AuthorityService.Access
        let forwarded: ForwardedSender?
    }

    package let name = DaemonName.authd

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        let settings = setup.configuration.authd
        // The domains are followed in the configuration itself.
        let files =
            [
                settings.users, settings.aliases, settings.appPasswords, settings.certificates, settings.senders,
                setup.configurationFile,
            ] + [settings.oauth?.keys, setup.configuration.tls.clientAuthorities].compactMap(\.self)
        for directory in Set(files.map(Self.directory)) {
            setup.rights.allowReading(beneath: try setup.directory(directory), listing: false)
        }
        let state = Self.stateDirectory(of: setup.configuration.systemUsers[.authd])
        if let state { setup.rights.allowWriting(beneath: try setup.directory(state)) }
        let srs = setup.configuration.srs
        return Prepared(
            socket: try setup.listen(unix: "run/auth.sock"),
            stateDirectory: state,
            access: AuthorityService.Access(
                logins: setup.uids(of: [.smtpd, .pop3d, .imapd]),
                mailboxes: setup.uids(of: [.pop3dMailbox, .imapdMailbox]),
                recipients: setup.uids(of: [.smtpd, .imapdMailbox]),
                deliveries: setup.uids(of: [.localDeliver]),
                watchers: setup.uids(of: [.smtpd, .pop3d, .imapd, .queueManager, .localDeliver]),
                routes: setup.uids(of: [.queueManager, .smtpd])
            ),
            forwarded: try srs.domain.map {
                try ForwardedSender(domain: $0, secrets: try setup.secret(srs.secrets, key: "srs.secrets"))
            }
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let configuration = context.configuration
        let settings = configuration.authd
        let loop = context.group.next()
        let pool = NIOThreadPool(numberOfThreads: settings.threads)
        pool.start()
        let verifier = PasswordVerifier(
            pool: pool,
            threads: settings.threads,
            loop: loop,
            maximumWaiting: settings.maximumWaiting,
            throttle: LoginThrottle(first: settings.failureDelay, longest: settings.maximumFailureDelay),
            dummyHash: PasswordHash.make("no account has this") ?? ""
        )
        let service = AuthorityService(
            on: loop,
            files: AccountFiles(
                context.configuration,
                file: context.configurationFile,
                on: loop,
                logger: context.logger
            ),
            verifier: verifier,
            state: AuthorityState(
                directory: prepared.stateDirectory,
                on: loop,
                pool: pool,
                logger: context.logger
            ),
            greylist: GreylistStore(
                directory: prepared.stateDirectory,
                settings: GreylistSettings(settings.greylist),
                on: loop,
                pool: pool,
                logger: context.logger
            ),
            settings: AuthorityService.Settings(
                tokens: settings.oauth.map(TokenRequirements.init),
                scramIterations: configuration.login.scram == .never ? nil : settings.scramIterations,
                refusesDisabled: settings.refuseDisabled,
                forwarded: prepared.forwarded,
                forwardedTakeAnySender: configuration.srs.takesAnySender,
                sendingLimits: {
                    SendingLimits(settings.sending.accounts[$0.description.lowercased()] ?? settings.sending)
                }
            ),
            access: prepared.access,
            ownUser: getuid(),
            logger: context.logger
        )
        let server = BusServer(group: loop, logger: context.logger)
        try await server.answer(on: prepared.socket) { frame, connection in service.answer(frame, connection) }
        service.start()
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: .seconds(2))
        try? await service.stop().get()
    }

    /// authd's own directory, which is made where an older installation doesn't have it.
    private static func stateDirectory(of user: String) -> String? {
        let path = AuthdConfiguration.stateDirectory
        if mkdir(path, 0o700) == 0, getuid() == 0, let entry = getpwnam(user)?.pointee {
            _ = chown(path, entry.pw_uid, entry.pw_gid)
        }
        return access(path, F_OK) == 0 ? path : nil
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }
}

extension SendingLimits {
    package init(_ configuration: SendingConfiguration) {
        self.init(
            hour: SendingAmount(
                messages: configuration.messagesPerHour,
                recipients: configuration.recipientsPerHour
            ),
            day: SendingAmount(messages: configuration.messagesPerDay, recipients: configuration.recipientsPerDay)
        )
    }
}

extension TokenRequirements {
    init(_ configuration: OAuthConfiguration) {
        self.init(
            issuer: configuration.issuer,
            audiences: configuration.audiences,
            accountClaim: configuration.accountClaim,
            needsVerifiedEmail: configuration.needsVerifiedEmail,
            scope: configuration.scope,
            leeway: Int(configuration.leeway.nanoseconds / 1_000_000_000)
        )
    }
}
