import NIOCore
import NIOPosix
import Network

extension BusClient {
    /// Sends one request on a connection of its own; for commands.
    package static func ask(_ path: String, _ frame: Frame, timeout: TimeAmount = .seconds(10)) async throws -> Frame {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return try await Task(executorPreference: LoopExecutor.of(loop)) {
            let client = BusClient(path: path, on: loop, timeout: timeout)
            defer { client.close() }
            return try await client.request(frame)
        }.value
    }
}
