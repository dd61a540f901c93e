import Bus
import CLinux
import Daemon
import Files
import Keys
import Logging
import NIOCore
import NIOPosix
import Network

#if canImport(Glibc)
import Glibc
#endif

/// keyd: the only holder of private keys.
package struct KeyProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let access: KeyService.Access
        let folder: KeyFolder
        /// What was found out while there was no log.
        let events: [KeyEvent]
    }

    package let name = DaemonName.keyd

    /// How late a change is seen at most.
    private static let interval = TimeAmount.milliseconds(500)
    /// Those that serve TLS.
    private static let servers = [DaemonName.smtpd, .pop3d, .imapd, .resolverd]

    package init() {}

    /// One for each core: signing is work for processors.
    package func threads(_ configuration: Configuration) -> Int { 0 }

    package func prepare(_ setup: Setup) throws -> Prepared {
        let pairs = setup.configuration.tls.pairs
        Self.keepOutOfCores()
        // Where it may: neither on a disk that memory is swapped to.
        CLinux_lock_memory()
        var directories: [String: FileHandle] = [:]
        let paths = pairs.flatMap { [$0.certificate, $0.privateKey] }
        for path in Set(paths.map(KeyFile.directory)) {
            // One that isn't there is logged with its pair: the others are served meanwhile.
            guard let directory = try? setup.directory(path) else { continue }
            setup.rights.allowReading(beneath: directory, listing: false)
            directories[path] = FileHandle(directory)
        }
        for path in Set(paths.compactMap(Self.destination)).subtracting(directories.keys) {
            guard let directory = try? setup.directory(path) else { continue }
            setup.rights.allowReading(beneath: directory, listing: false)
        }
        let dkim = Self.dkimDirectory(setup)
        let folder = KeyFolder(
            KernelFileSystem(),
            pairs: TLSPairs(pairs) { KeyFile(path: $0, directory: directories[KeyFile.directory(of: $0)]) },
            dkim: DKIMKeys(dkim, path: TLSConfiguration.dkimDirectory),
            hostname: setup.configuration.hostname,
            clientPairs: setup.configuration.remoteRelay.clientCertificates
        )
        let users = setup.configuration.systemUsers
        var servers: [UInt32: Set<String>] = [:]
        for daemon in Self.servers {
            for uid in users.uids(of: [daemon]) { servers[uid, default: []].insert(daemon.rawValue) }
        }
        return Prepared(
            socket: try setup.listen(unix: "run/key.sock"),
            access: KeyService.Access(
                servers: servers,
                signers: setup.uids(of: [.remoteRelay]),
                // Not started as root, it stays the caller.
                own: getuid() == 0 ? users.uids(of: [.keyd]).first ?? 0 : getuid()
            ),
            folder: folder,
            // With the rights of the start: keys that only root may read are taken once, and the log says what to do.
            events: folder.look(now: 0).events
        )
    }

    /// The directory where a file is that a link stands for, as in certbot's `live`; nil for no link.
    private static func destination(_ path: String) -> String? {
        var octet: CChar = 0
        guard readlink(path, &octet, 1) > 0, let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return KeyFile.directory(of: String(cString: real))
    }

    /// A core has the keys in it.
    private static func keepOutOfCores() {
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
    }

    /// nil where there is none and none can be made.
    private static func dkimDirectory(_ setup: Setup) -> FileHandle? {
        guard let directory = try? setup.directory(TLSConfiguration.dkimDirectory) else { return nil }
        setup.rights.allowReading(beneath: directory, listing: true)
        return FileHandle(directory)
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        // Once the user is who it stays: nobody but root looks into its memory, and no core leaves by a pipe.
        CLinux_hide_memory()
        let service = KeyService(
            prepared.folder,
            access: prepared.access,
            ticketLifetime: Int(context.configuration.tls.ticketLifetime.nanoseconds / 1_000_000_000),
            threads: System.coreCount,
            logger: context.logger
        ) { Int(NIODeadline.now().uptimeNanoseconds / 1_000_000_000) }
        service.log(prepared.events)
        let allowed = prepared.access.signers.union(prepared.access.servers.keys)
        let server = BusServer(
            group: context.group,
            allowed: allowed,
            limits: Self.limits,
            connections: Self.maximumConnections,
            perUser: Self.maximumPerUser,
            logger: context.logger
        )
        try await server.answer(on: prepared.socket) { try await service.answer($0, $1) }
        let pool = BlockingPool(threads: 1)
        let loop = context.group.next()
        Task(executorPreference: LoopExecutor.of(loop)) {
            // The first time all is read again, to learn whether it can be once it changes.
            await pool.run { service.look(all: true) }
            while true {
                await loop.pause(Self.interval)
                await pool.run { service.look() }
            }
        }
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: .seconds(1))
    }

    private static let maximumConnections = 2000
    /// A few for each of a daemon's loops.
    private static let maximumPerUser = 400

    /// Requests are small, but for what a client signs under TLS 1.2.
    private static var limits: FrameLimits {
        var limits = FrameLimits()
        limits.head = 16 * 1024
        limits.fields = 100
        limits.body = KeyRequest.maximumOctets
        return limits
    }
}
