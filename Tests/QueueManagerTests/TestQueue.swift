import Daemon
import Bus
import Deliverer
import Files
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Spool

@testable import QueueManager

/// A request that a pretended deliverer got, and where to answer it.
struct DeliveryRequest: Sendable {
    let frame: Frame
    let connection: Connection

    /// The message that came with it, with what is added in front.
    var message: String { frame.body.map { String(buffer: $0) } ?? "" }

    /// Asks for a piece of the message; it comes as the deliverer's next frame.
    func read(_ offset: Int, _ length: Int) {
        send(PieceRequest(tag: frame["tag"] ?? "", offset: offset, length: length).frame)
    }

    func answer(_ kind: ReplyKind, _ status: String, _ fields: [Frame.Field] = []) {
        send(Frame.reply(kind, status: status, tag: frame["tag"], fields))
    }

    private func send(_ frame: Frame) {
        connection.eventLoop.execute {
            connection.write(frame)
            Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { try? await connection.flush() }
        }
    }
}

/// A deliverer that hands its requests to the test.
final class TestDeliverer: Sendable {
    let requests: AsyncStream<DeliveryRequest>
    private let server: BusServer

    init(_ path: String, group: any EventLoopGroup, logger: Logger) async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: DeliveryRequest.self)
        requests = stream
        server = BusServer(group: group, logger: logger)
        try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
            continuation.yield(DeliveryRequest(frame: frame, connection: connection))
        }
    }

    func stop() async { await server.shutDown(grace: .milliseconds(1)) }

    func next() async throws -> DeliveryRequest {
        var iterator = requests.makeAsyncIterator()
        guard let request = await iterator.next() else { throw CancellationError() }
        return request
    }
}

/// A queue manager in a directory of its own, with a clock that the test moves.
final class TestQueue: Sendable {
    let directory = "/tmp/martlet-queue-\(UInt64.random(in: 0 ... .max))"
    let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    /// Milliseconds since 1970.
    let now = NIOLockedValueBox<Int64>(1_795_447_200_000)
    /// How slices of long work come after each other.
    let turn = NIOLockedValueBox<@Sendable (any EventLoop, @escaping @Sendable () -> Void) -> Void>(
        QueueClock.system.turn
    )
    private let running = NIOLockedValueBox<QueueManager?>(nil)

    init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// What the spool said that it can't go on for.
    let failure = NIOLockedValueBox<SpoolError?>(nil)

    /// - Parameter disk: another one than the machine's, which has the spool in `spool`.
    func start(disk: (any FileSystem)? = nil, _ change: (inout QueueSettings) -> Void = { _ in }) async throws {
        var settings = QueueSettings(hostname: "mail.example.test", domains: ["example.test"], try .standard)
        settings.deliverSocket = path("deliver.sock")
        settings.relaySocket = path("relay.sock")
        settings.retryMinimum = 1_000_000
        settings.retryMaximum = 8_000_000
        change(&settings)
        var options = Spool.Options()
        options.journalSegment = 2 << 20
        options.reserve = 0
        let now = now
        failure.withLockedValue { $0 = nil }
        let manager = try QueueManager(
            settings: settings,
            spool: disk == nil ? path("spool") : "spool",
            options: options,
            loop: loop,
            disk: disk,
            clock: QueueClock(now: { now.withLockedValue { $0 } }, chance: { 0.5 }, turn: turn.withLockedValue { $0 }),
            logger: logger,
            onFailure: { [failure] error in failure.withLockedValue { $0 = error } }
        )
        try await manager.start(
            queueSocket: try UnixSocket.listen(path("queue.sock")),
            controlSocket: try UnixSocket.listen(path("control.sock"))
        )
        running.withLockedValue { $0 = manager }
    }

    func stop() async {
        let manager = running.withLockedValue { running in
            defer { running = nil }
            return running
        }
        await manager?.shutDown(grace: .milliseconds(1))
    }

    func deliverer() async throws -> TestDeliverer {
        try await TestDeliverer(path("deliver.sock"), group: loop, logger: logger)
    }

    func relay() async throws -> TestDeliverer {
        try await TestDeliverer(path("relay.sock"), group: loop, logger: logger)
    }

    func advance(_ milliseconds: Int64) async {
        now.withLockedValue { $0 += milliseconds }
        await running.withLockedValue { $0 }?.runDueWork()
    }

    /// When the queue wakes up by itself. Milliseconds since 1970.
    func alarm() async throws -> Int64? {
        let manager = running.withLockedValue { $0 }
        // A turn later, when all that was to be done is done.
        try await loop.submit {}.get()
        return try await loop.submit { manager?.queue.timer?.time }.get()
    }

    /// Speaks on a socket from the loop.
    func talk<Value: Sendable>(
        _ socket: String,
        _ body: @escaping @Sendable (Connection) async throws -> Value
    ) async throws -> Value {
        let (loop, path) = (loop, path(socket))
        return try await Task(executorPreference: LoopExecutor.of(loop)) {
            let connection = try await Connection.connect(unix: path, on: loop)
            defer { connection.close() }
            return try await body(connection)
        }.value
    }

    /// Hands a message in, in one frame; the reply.
    func submit(
        from sender: String = "<alice@example.test>",
        to recipients: [String],
        _ text: String = "Subject: hello\r\n\r\nHello.\r\n",
        fields: [Frame.Field] = [.init("protocol", "ESMTP")]
    ) async throws -> Frame {
        var frame = Frame("SUBMIT", [.init("sender", sender)] + recipients.map { .init("recipient", $0) } + fields)
        frame.body = ByteBuffer(string: text)
        return try await exchange([frame, Frame("END")])
    }

    /// Sends frames that make one message, and gives the reply to it.
    func exchange(_ frames: [Frame]) async throws -> Frame {
        try await talk("queue.sock") { connection in
            var parser = FrameParser()
            guard try await connection.readFrame(&parser)?["next"] != nil else { throw CancellationError() }
            for frame in frames { connection.write(frame) }
            try await connection.flush()
            guard let reply = try await connection.readFrame(&parser) else { throw CancellationError() }
            return reply
        }
    }

    /// Asks on control.sock; all replies.
    func control(_ verb: String, _ fields: [Frame.Field] = []) async throws -> [Frame] {
        try await talk("control.sock") { connection in
            var parser = FrameParser()
            connection.write(Frame(verb, fields))
            try await connection.flush()
            var replies: [Frame] = []
            while let reply = try await connection.readFrame(&parser) {
                replies.append(reply)
                if reply.replyKind != nil { break }
            }
            return replies
        }
    }

    /// Messages in the queue, once the condition holds.
    func list(until condition: ([Frame]) -> Bool = { _ in true }) async throws -> [Frame] {
        while true {
            let messages = try await control("LIST").filter { $0.verb == "MESSAGE" }
            if condition(messages) { return messages }
            await Task.yield()
        }
    }

    /// Waits until a file is there.
    func waitForFile(_ name: String) async throws {
        while !FileManager.default.fileExists(atPath: path(name)) { try await Task.sleep(for: .milliseconds(5)) }
    }
}
