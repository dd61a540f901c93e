import Bus
import Daemon
import Files
import Logging
import NIOCore
import NIOPosix
import Network
import Policy
import Resolution
import SMTP
import Submission

#if canImport(Glibc)
import Glibc
#endif

/// reportd: counts what smtpd and remote-relay found out about other domains' mail and hosts, and reports it to them.
package struct ReportsProgram: DaemonProgram {
    package struct Prepared: Sendable {
        let socket: CInt
        let allowed: Set<UInt32>
        let directory: CInt
    }

    package let name = DaemonName.reportd

    package init() {}

    package func prepare(_ setup: Setup) throws -> Prepared {
        let directory = try setup.directory(ReportsConfiguration.directory)
        setup.rights.allowWriting(beneath: directory)
        return Prepared(
            socket: try setup.listen(unix: "run/report.sock"),
            allowed: setup.uids(of: [.smtpd, .remoteRelay]),
            directory: directory
        )
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let loop = context.group.next()
        let logger = context.logger
        let settings = ReportSettings(context.configuration)
        let store = ReportStore(KernelFileSystem(), in: FileHandle(prepared.directory))
        let pool = BlockingPool(threads: 2)
        let now: @Sendable () -> Int = { time(nil) }
        let server = BusServer(group: loop, allowed: prepared.allowed, logger: logger)
        if let settings {
            let collector = ReportCollector(
                store,
                maximum: settings.maximumRows,
                pool: pool,
                on: loop,
                logger: logger,
                now: now
            )
            try await collector.start()
            try await server.answer(on: prepared.socket) { collector.take($0, $1) }
            let resolver = StubResolver(path: context.socket("dns.sock"), on: loop, timeout: .seconds(20))
            let query: StubResolver.Query = { (name, type) throws(ResolutionError) in
                try await resolver.query(name, type)
            }
            let sender = ReportSender(
                settings,
                store,
                submissions: SubmissionClient(path: context.socket("queue.sock"), on: loop, timeout: .minutes(2)),
                pool: pool,
                on: loop,
                logger: logger,
                now: now
            ) {
                let lookup = ResolverLookup(on: loop, query: query)
                // Whoever's servers are slow is asked again later.
                lookup.deadline = .now() + .minutes(1)
                return lookup
            }
            Task(executorPreference: LoopExecutor.of(loop)) { await sender.run() }
        } else {
            // Nobody tells it anything then; and what was counted before isn't sent.
            try await server.answer(on: prepared.socket) { frame, connection in
                connection.write(
                    Frame.reply(.reject, status: .notAuthorized, text: "reports are off", tag: frame["tag"])
                )
            }
        }
        context.announceReadiness()
        await context.untilShutdown()
        await server.shutDown(grace: .seconds(1))
    }
}
