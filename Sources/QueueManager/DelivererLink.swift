import Bus
import Logging
import NIOCore
import Network

/// The connection to a delivery daemon: says whether it's there, and comes back to it when it was away. That it's away
/// is no failed attempt for any message.
final class DelivererLink: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private let client: BusClient
    private let loop: any EventLoop
    private let logger: Logger
    private let path: String
    private var isConnecting = false
    private var isClosed = false
    private var wait: Int64 = firstWait
    private let onReturn: () -> Void

    private static let firstWait: Int64 = 20
    private static let longestWait: Int64 = 1000

    /// - Parameter onReturn: told when the deliverer is there (again).
    init(path: String, on loop: any EventLoop, logger: Logger, onReturn: @escaping () -> Void) {
        self.path = path
        self.loop = loop
        self.logger = logger
        self.onReturn = onReturn
        client = BusClient(path: path, on: loop)
    }

    var isThere: Bool { client.isConnected }

    func send(_ frame: Frame, _ handler: @escaping BusClient.ReplyHandler) { client.start(frame, handler) }

    /// Starts to look for the deliverer, and goes on until it's there.
    func connect() {
        guard !isConnecting, !isClosed, !client.isConnected else { return }
        isConnecting = true
        Task(executorPreference: LoopExecutor.of(loop)) { await self.keepTrying() }
    }

    private func keepTrying() async {
        defer { isConnecting = false }
        while !isClosed {
            do {
                try await client.connect()
                if wait > Self.firstWait { logger.info("deliverer is back", metadata: ["socket": "\(path)"]) }
                wait = Self.firstWait
                loop.execute { self.onReturn() }
                return
            } catch {
                if wait == Self.firstWait {
                    logger.warning("deliverer is away: mail waits", metadata: ["reason": "\(error)"])
                }
            }
            await loop.pause(.milliseconds(Int64(wait)))
            wait = min(wait * 2, Self.longestWait)
        }
    }

    func close() {
        isClosed = true
        client.close()
    }
}
