import NIOCore
import NIOPosix
import Network
import Testing

@testable import RemoteRelay

/// Two addresses of one host (RFC 8305 §5).
@Suite struct ConnectionRaceTests {
    private enum Behaviour {
        case answers, refuses
        /// For so many seconds.
        case isSilent(Int64)
    }

    /// Which of two addresses is taken, and how long that took.
    private func race(_ first: Behaviour, _ second: Behaviour) async throws -> (
        port: Int?, time: TimeAmount, begun: Bool
    ) {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        let server = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let listener = Listener(group: loop)
        try await listener.accept(on: socket) { connection in _ = try? await connection.receive() }
        let addresses = [
            try SocketAddress(ipAddress: "192.0.2.1", port: 1), try SocketAddress(ipAddress: "192.0.2.2", port: 2),
        ]
        let result = await Task(executorPreference: LoopExecutor.of(loop)) {
            let begin = NIODeadline.now()
            let race = ConnectionRace(on: loop) { (address) async throws(ConnectionError) in
                switch address.port == 1 ? first : second {
                case .answers: return try await Connection.connect(to: server, on: loop, timeout: .seconds(10))
                case .refuses: throw .failed("refused by \(address.port ?? 0)")
                case .isSilent(let seconds):
                    await loop.pause(.seconds(seconds))
                    throw .timedOut
                }
            }
            let winner = try? await race.run(addresses[0], addresses[1])
            winner?.connection.abort()
            return (winner?.address.port, NIODeadline.now() - begin, race.hasBegunSecond)
        }.value
        await listener.shutDown(grace: .zero)
        return result
    }

    @Test func firstIsTakenWhereItAnswers() async throws {
        let result = try await race(.answers, .answers)
        #expect(result.port == 1 && !result.begun)
    }

    @Test func secondIsTakenWhereTheFirstIsSilent() async throws {
        let result = try await race(.isSilent(30), .answers)
        #expect(result.port == 2 && result.time >= .milliseconds(250) && result.time < .seconds(30))
    }

    @Test func bothMayFail() async throws {
        let result = try await race(.isSilent(2), .refuses)
        #expect(result.port == nil && result.begun && result.time >= .seconds(2))
    }

    @Test func refusalLeavesTheNextToTheCaller() async throws {
        let result = try await race(.refuses, .answers)
        #expect(result.port == nil && !result.begun)
    }
}
