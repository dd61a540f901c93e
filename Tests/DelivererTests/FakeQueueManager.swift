import Bus
import Logging
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

@testable import Deliverer

#if canImport(Glibc)
import Glibc
#endif

/// queue-manager's end of a connection to a deliverer.
final class FakeQueueManager {
    let connection: Connection
    private var parser = FrameParser()

    init(_ connection: Connection) {
        self.connection = connection
        connection.idleTimeout = .seconds(20)
    }

    func send(_ frames: Frame...) async throws {
        for frame in frames { connection.write(frame) }
        try await connection.flush()
    }

    /// The next frame; nil at the end of the connection.
    func receive() async throws -> Frame? { try await connection.readFrame(&parser) }

    /// The next frames that are not `READ`, so many of them, while those are answered from the message.
    ///
    /// - Parameter reads: is told of every `READ`.
    func replies(_ count: Int, giving message: ByteBuffer, reads: (PieceRequest) -> Void = { _ in }) async throws
        -> [Frame]
    {
        var replies: [Frame] = []
        while replies.count < count {
            let frame = try #require(try await receive())
            guard let piece = PieceRequest(frame) else {
                replies.append(frame)
                continue
            }
            reads(piece)
            try await send(piece.answer(try #require(message.getSlice(at: piece.offset, length: piece.length))))
        }
        return replies
    }

    /// A request for recipients of the given names; a message that is too large stays behind.
    static func request(
        _ message: ByteBuffer,
        tag: String = "7",
        to names: [String] = ["b"],
        added: String = ""
    ) throws -> Frame {
        var frame = DeliverRequest(
            id: "aa11",
            attempt: 1,
            arrived: 0,
            mayBeKnown: false,
            sender: EnvelopeSender(.null),
            recipients: try names.map { try EnvelopeRecipient(parsing: "<\($0)@example.test>".utf8) },
            destination: nil,
            added: ByteBuffer(string: added),
            octets: message.readableBytes,
            message: message.readableBytes <= DeliverRequest.inlineLimit ? message : nil
        ).frame
        frame["tag"] = tag
        return frame
    }

    /// Runs the body, on the loop of a deliverer that works as told, over a connection to it.
    static func run(
        maximumRequests: Int = 100,
        work: @escaping DeliveryServer.Work,
        _ body: @escaping @Sendable (FakeQueueManager) async throws -> Void
    ) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let path = "/tmp/martlet-deliverer-\(UInt64.random(in: 0 ... .max)).sock"
        let server = DeliveryServer(
            group: loop,
            settings: .init(event: "test", successCounter: "done", maximumRequests: maximumRequests),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            work: work
        )
        try await server.accept(on: try UnixSocket.listen(path))
        let failure = await Task(executorPreference: LoopExecutor.of(loop)) { () -> (any Error)? in
            do {
                let queue = FakeQueueManager(try await Connection.connect(unix: path, on: loop))
                defer { queue.connection.close() }
                try await body(queue)
                return nil
            } catch {
                return error
            }
        }.value
        await server.shutDown(grace: .seconds(5))
        unlink(path)
        if let failure { throw failure }
    }
}
