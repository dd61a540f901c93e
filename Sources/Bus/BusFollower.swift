import Logging
import NIOCore
import Network

/// Follows one request that another daemon answers at once and again with each change. Comes back to a daemon that was away. Belongs
/// to one event loop; every call must come from its thread.
package final class BusFollower: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let request: Frame
    private let daemon: String
    private let path: String
    private let client: BusClient
    private let loop: any EventLoop
    private let logger: Logger?
    private let onAnswer: (Frame) -> Void
    private var isClosed = false
    /// Since when the daemon is away; nil while it's there.
    private var awaySince: NIODeadline?
    /// Whether the log says that the daemon is away.
    private var isAway = false
    private let patience: TimeAmount

    /// Milliseconds.
    private static let firstWait: Int64 = 20
    private static let longestWait: Int64 = 1000

    /// - Parameters:
    ///   - daemon: its name, for the log.
    ///   - path: of its socket, as this process sees it.
    ///   - patience: how long it may be away before the log says so: at a start of all daemons it's a moment.
    ///   - logger: for one who waits for the daemon's word; nil where others hear of its absence when they ask it.
    ///   - onAnswer: is told of every answer that is OK: the first one after each return of the daemon, and every change.
    package init(
        _ request: Frame,
        of daemon: String,
        path: String,
        on loop: any EventLoop,
        patience: TimeAmount = .seconds(3),
        logger: Logger? = nil,
        onAnswer: @escaping (Frame) -> Void
    ) {
        self.request = request
        self.daemon = daemon
        self.path = path
        self.loop = loop
        self.patience = patience
        self.logger = logger
        self.onAnswer = onAnswer
        client = BusClient(path: path, on: loop)
    }

    /// Begins, from any thread. Ends by `close`.
    package func start() {
        let (loop, client, request, daemon) = (loop, client, request, daemon)
        Task(executorPreference: LoopExecutor.of(loop)) { [weak self] in
            var wait = Self.firstWait
            while true {
                let end = await Self.follow(request, of: daemon, client) { self?.heard($0) }
                guard self?.lost(end) ?? false else { break }
                wait = end.wasThere ? Self.firstWait : min(wait * 2, Self.longestWait)
                await loop.pause(.milliseconds(wait))
            }
        }
    }

    package func close() {
        loop.assertInEventLoop()
        isClosed = true
        client.close()
    }

    /// How a connection ended.
    private struct End {
        let reason: BusError
        /// Whether the daemon had answered.
        var wasThere = false
    }

    /// Follows the daemon over one connection; returns when that has ended.
    private static func follow(
        _ request: Frame,
        of daemon: String,
        _ client: BusClient,
        _ heard: @escaping (Frame) -> Void
    ) async -> End {
        do throws(BusError) {
            try await client.connect()
        } catch {
            return End(reason: error)
        }
        return await withCheckedContinuation { continuation in
            var wasThere = false
            client.start(request) { result in
                switch result {
                case .success(let frame):
                    guard frame.replyKind == .ok else {
                        let reason = BusError.malformed("\(daemon): \(frame["text"] ?? frame.verb)")
                        continuation.resume(returning: End(reason: reason))
                        return true
                    }
                    wasThere = true
                    heard(frame)
                    return false
                case .failure(let error):
                    continuation.resume(returning: End(reason: error, wasThere: wasThere))
                    return true
                }
            }
        }
    }

    private func heard(_ frame: Frame) {
        loop.assertInEventLoop()
        guard !isClosed else { return }
        if isAway { logger?.info("\(daemon) is back", metadata: ["socket": "\(path)"]) }
        isAway = false
        awaySince = nil
        onAnswer(frame)
    }

    /// Whether to try again.
    private func lost(_ end: End) -> Bool {
        loop.assertInEventLoop()
        let now = NIODeadline.now()
        let since = awaySince ?? now
        awaySince = since
        if !isAway, !isClosed, now - since >= patience {
            logger?.warning("\(daemon) is away", metadata: ["reason": "\(end.reason)"])
            isAway = true
        }
        return !isClosed
    }
}
