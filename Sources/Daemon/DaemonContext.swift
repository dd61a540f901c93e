import Logging
import NIOCore
import NIOPosix

/// What a daemon has while it serves.
package struct DaemonContext: Sendable {
    package let configuration: Configuration
    /// Where it was read, relative to the instance directory.
    package let configurationFile: String
    package let logger: Logger
    package let group: MultiThreadedEventLoopGroup
    /// Whether `run/` has become the root.
    let isRooted: Bool
    let readiness: Readiness
    let signals: ProcessSignals

    /// The path of a socket in `run/`, as this process sees it.
    package func socket(_ name: String) -> String { isRooted ? "/\(name)" : "run/\(name)" }

    /// Tells the supervisor that the daemon serves. Once, when everything listens.
    package func announceReadiness() {
        logger.info("ready")
        readiness.announce()
    }

    /// Returns when the supervisor has asked the daemon to end (SIGTERM, SIGINT).
    package func untilShutdown() async { await signals.untilEnd() }

    /// Runs the closure at each SIGHUP until the daemon ends.
    package func onReload(_ reload: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        let reloads = signals.reloads()
        return Task { for await _ in reloads { await reload() } }
    }
}
