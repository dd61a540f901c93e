import NIOCore
import Network

/// Connects to a host that has addresses of both families: also to the second one where the first doesn't answer at once, and takes
/// whichever is there first (RFC 8305 §5). Belongs to one event loop.
final class ConnectionRace: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    typealias Connect = (SocketAddress) async throws(ConnectionError) -> Connection

    /// Who came first.
    struct Winner {
        let connection: Connection
        let address: SocketAddress
    }

    private let loop: any EventLoop
    private let connect: Connect
    private let promise: EventLoopPromise<(Connection, SocketAddress)>
    private var running = 0
    private var failure: ConnectionError?
    private var isOver = false
    private(set) var hasBegunSecond = false

    /// What the first one has in advance (RFC 8305 §8).
    private static let headStart = TimeAmount.milliseconds(250)

    init(on loop: any EventLoop, _ connect: @escaping Connect) {
        self.loop = loop
        self.connect = connect
        promise = loop.makePromise()
    }

    /// - Throws: why there is no connection: to the first address where that fails before the second one's turn comes, else to both.
    func run(_ first: SocketAddress, _ second: SocketAddress) async throws(ConnectionError) -> Winner {
        loop.assertInEventLoop()
        begin(first)
        let timer = timer(for: second)
        defer { timer.cancel() }
        do {
            let (connection, address) = try await promise.futureResult.get()
            return Winner(connection: connection, address: address)
        } catch {
            throw error as? ConnectionError ?? .failed("\(error)")
        }
    }

    private func timer(for second: SocketAddress) -> Scheduled<Void> {
        loop.assumeIsolated().scheduleTask(in: Self.headStart) { [self] in
            guard !isOver else { return }
            hasBegunSecond = true
            begin(second)
        }
    }

    private func begin(_ address: SocketAddress) {
        running += 1
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            do throws(ConnectionError) {
                let connection = try await connect(address)
                if isOver { return connection.abort() }
                isOver = true
                promise.succeed((connection, address))
            } catch {
                running -= 1
                if failure == nil { failure = error }
                guard running == 0, !isOver else { return }
                isOver = true
                promise.fail(failure ?? error)
            }
        }
    }
}
