import Bus
import Logging
import NIOCore
import Network

/// The way to one deliverer. Belongs to the queue's event loop.
protocol DelivererLink: AnyObject, Sendable {
    /// Whether requests are taken now.
    var isThere: Bool { get }

    /// Starts to look for the deliverer, and goes on until it's there.
    func connect()

    /// Sends a request. What comes back goes to the handler, which returns whether that was the last of it; a failure is
    /// the last.
    func send(_ request: Frame, _ handler: @escaping BusClient.ReplyHandler)

    /// Sends what the deliverer asked for.
    func answer(_ frame: Frame)

    func close()
}

/// The connection to a deliverer's socket: says whether it's there, and comes back to it when it was away. That it's away
/// is no failed attempt for any message.
final class SocketLink: DelivererLink, @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let client: BusClient
    private let loop: any EventLoop
    private let logger: Logger
    private let path: String
    private var isConnecting = false
    private var isClosed = false
    private var wait: Int64 = firstWait
    private let onReturn: () -> Void

    /// Milliseconds.
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

    func send(_ request: Frame, _ handler: @escaping BusClient.ReplyHandler) { client.start(request, handler) }

    func answer(_ frame: Frame) { client.write(frame) }

    func connect() {
        loop.assertInEventLoop()
        guard !isConnecting, !isClosed, !client.isConnected else { return }
        isConnecting = true
        Task(executorPreference: LoopExecutor.of(loop)) { await self.keepTrying() }
    }

    private func keepTrying() async {
        loop.assertInEventLoop()
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
        loop.assertInEventLoop()
        isClosed = true
        client.close()
    }
}
