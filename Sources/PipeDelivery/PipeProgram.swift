import Daemon
import Deliverer
import Logging
import NIOCore
import NIOPosix
import Network

#if canImport(Glibc)
import Glibc
#endif

/// pipe-deliver: gives mail to programs, which run with its own rights.
package struct PipeProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let allowed: Set<UInt32>
    }

    package let name = DaemonName.pipeDeliver

    /// Where programs and what they load are; those that aren't there are passed over.
    private static let systemDirectories = ["/usr", "/bin", "/sbin", "/lib", "/lib64"]
    /// Their settings, and devices such as /dev/null.
    private static let settingsDirectory = "/etc"
    private static let devices = "/dev"

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        let settings = setup.configuration.pipeDeliver
        if !settings.commands.isEmpty { try allow(settings, setup) }
        return Prepared(
            socket: try setup.listen(unix: "run/pipe.sock"),
            allowed: setup.uids(of: [.queueManager])
        )
    }

    /// What programs may do with files. They have no more rights than this process.
    private func allow(_ settings: PipeDeliverConfiguration, _ setup: Setup) throws(SetupError) {
        let programs = settings.commands.values.compactMap(\.arguments.first).map(Self.directory)
        for path in Set(Self.systemDirectories + programs) where access(path, F_OK) == 0 {
            setup.rights.allowExecuting(beneath: try setup.directory(path))
        }
        for path in settings.executable { setup.rights.allowExecuting(beneath: try setup.directory(path)) }
        for path in settings.readable + [Self.settingsDirectory] {
            setup.rights.allowReading(beneath: try setup.directory(path), listing: true)
        }
        for path in settings.writable + [Self.devices] {
            setup.rights.allowWriting(beneath: try setup.directory(path))
        }
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        guard getuid() != 0 else {
            throw SetupError(reason: "programs are never given mail with root's rights", code: .permanent)
        }
        let configuration = context.configuration
        let loop = context.group.next()
        let service = PipeService(
            configuration.pipeDeliver,
            delimiters: configuration.authd.subaddressDelimiters,
            pool: BlockingPool(
                threads: configuration.pipeDeliver.concurrency,
                share: configuration.pipeDeliver.concurrency
            ),
            on: loop,
            logger: context.logger
        )
        let server = DeliveryServer(
            group: loop,
            allowed: prepared.allowed,
            settings: .init(event: "piped", successCounter: "piped"),
            logger: context.logger
        ) { await service.work(on: $0) }
        try await server.accept(on: prepared.socket)
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: .seconds(5))
    }
}
