import Bus
import Logging
import NIOCore
import Network

/// The way to one deliverer. Belongs to the queue's event loop.
package protocol DelivererLink: AnyObject, Sendable {
    /// Whether requests are taken now.
    var isConnected: Bool { get }

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
    /// Connections that could not be made, or ended without an answer, in a row.
    private var failures = 0
    /// Whether the log says that it's away.
    private var isAway = false
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

    var isConnected: Bool { client.isConnected }

    func send(_ request: Frame, _ handler: @escaping BusClient.ReplyHandler) {
        client.start(request) { [weak self] result in
            if case .success = result { self?.failures = 0 }
            return handler(result)
        }
    }

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
            // A deliverer that ends with every request is not asked without a pause.
            if failures > 0 { await loop.pause(.milliseconds(wait)) }
            do {
                try await client.connect()
                if isAway { logger.info("deliverer is back", metadata: ["socket": "\(path)"]) }
                isAway = false
                failures += 1
                loop.execute { self.onReturn() }
                return
            } catch {
                failures += 1
                if !isAway { logger.warning("deliverer is away: mail waits", metadata: ["reason": "\(error)"]) }
                isAway = true
            }
        }
    }

    private var wait: Int64 { min(Self.firstWait << Int64(min(failures - 1, 10)), Self.longestWait) }

    func close() {
        loop.assertInEventLoop()
        isClosed = true
        client.close()
    }
}
