import ArgumentParser
import Bus
import CLinux
import CoreMetrics
import Logging
import NIOCore
import NIOPosix
import Network

#if canImport(Glibc)
import Glibc
#endif

/// A daemon: what it prepares with rights, and what it does without them. `run` owns the order.
package protocol DaemonProgram: Sendable {
    associatedtype Prepared: Sendable

    var name: DaemonName { get }

    /// How many event loops it wants; 0 for one a core.
    func threads(_ configuration: Configuration) -> Int

    /// Loads what libraries would open only when they first need it: once rights are given up, they can't. No thread exists
    /// yet.
    func preload()

    /// Opens what needs the rights that the process was started with. No thread exists yet.
    func prepare(_ setup: Setup) throws -> Prepared

    /// Serves until the supervisor asks it to end. Call `context.announceReadiness()` when everything listens.
    func serve(_ prepared: Prepared, _ context: DaemonContext) async throws
}

extension DaemonProgram {
    package func preload() {}

    package func threads(_ configuration: Configuration) -> Int { 1 }
}

/// The options of every daemon.
package struct DaemonOptions: ParsableArguments {
    @Option(help: "The instance directory: configuration, sockets, spool and mail are below it.")
    package var instance = "."

    @Option(help: "The configuration file, relative to the instance directory.")
    package var config = "etc/martlet.toml"

    @Option(help: "The descriptor on which readiness is announced by a newline (s6's notification-fd).")
    package var readyFd: CInt?

    /// Instead of serving: says for each path whether it can be opened once rights are given up.
    @Option(parsing: .upToNextOption, help: .hidden)
    package var probeRights: [String] = []

    package init() {}
}

extension DaemonProgram {
    /// Loads the configuration, prepares, gives up rights, serves; ends the process.
    package func run(_ options: DaemonOptions) -> Never {
        signal(SIGPIPE, SIG_IGN)
        ProcessSignals.block()
        umask(0o077)
        raiseDescriptorLimit()
        CLinux_limit_arenas(2)
        tzset()
        do {
            try start(options)
        } catch let error as ConfigurationError {
            end(.configuration, "\(error)")
        } catch let error as SetupError {
            end(error.code, "\(error)")
        } catch {
            end(.temporary, "\(error)")
        }
    }

    private func start(_ options: DaemonOptions) throws -> Never {
        guard chdir(options.instance) == 0 else { throw SetupError("change to \(options.instance)") }
        let configuration = try Configuration.load(options.config)
        let lines = LogLines(descriptor: STDERR_FILENO)
        let logger = Logger(label: name.rawValue) { _ in LogfmtHandler(level: configuration.logLevel, lines: lines) }
        let counters = CounterRegistry()
        MetricsSystem.bootstrap(counters)

        let isProbe = !options.probeRights.isEmpty
        let setup = Setup(configuration: configuration, file: options.config, daemon: name, isProbe: isProbe)
        let readiness = Readiness(descriptor: options.readyFd)
        let statusSocket = try setup.listen(unix: name.statusSocket)
        let prepared = try prepare(setup)
        preload()
        // How many cores there are is read from files, too.
        let wanted = threads(configuration)
        let threads = wanted == 0 ? System.coreCount : wanted
        let isRooted = setup.rights.root != nil && getuid() == 0
        try setup.rights.apply(
            user: configuration.systemUsers[name],
            calls: SystemCalls(name),
            mode: configuration.seccomp[name],
            logger: logger
        )
        if isProbe { probe(options.probeRights) }

        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let loop = group.next()
        TaskRedirection.install(on: loop)
        let signals = ProcessSignals()
        let context = DaemonContext(
            configuration: configuration,
            configurationFile: options.config,
            logger: logger,
            group: group,
            isRooted: isRooted,
            readiness: readiness,
            signals: signals
        )
        let status = StatusService(name: name, counters: counters)
        Task(executorPreference: LoopExecutor.of(loop)) {
            do {
                try await status.serve(on: statusSocket, group: group, logger: logger)
                try await serve(prepared, context)
                logger.info("stopped")
                lines.flush()
                exit(DaemonExit.success.rawValue)
            } catch {
                lines.flush()
                end(.temporary, "\(error)")
            }
        }
        signals.wait()
    }

    private func end(_ code: DaemonExit, _ text: String) -> Never {
        let line = "\(name.rawValue): \(text)\n"
        _ = write(STDERR_FILENO, line, line.utf8.count)
        exit(code.rawValue)
    }

    private func probe(_ paths: [String]) -> Never {
        for path in paths {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            let line = descriptor >= 0 ? "\(path): open\n" : "\(path): \(String(cString: strerror(errno)))\n"
            if descriptor >= 0 { close(descriptor) }
            _ = write(STDOUT_FILENO, line, line.utf8.count)
        }
        exit(DaemonExit.success.rawValue)
    }

    private func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
