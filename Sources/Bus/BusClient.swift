import NIOCore
import Network

/// A client of one daemon's socket: many requests in flight on one connection, which is made when it's needed and
/// made again when it broke. Belongs to one event loop; every call must come from its thread.
package final class BusClient: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check at every way in.

    /// Receives each reply to one request; returns whether that was the last one. A failure is the last call.
    package typealias ReplyHandler = (Result<Frame, BusError>) -> Bool

    private let path: String
    private let loop: any EventLoop
    private let timeout: TimeAmount
    private var connection: Connection?
    private var connecting: [CheckedContinuation<Void, Never>]?
    private var lastTag: UInt64 = 0
    private var inFlight: [String: ReplyHandler] = [:]

    /// - Parameters:
    ///   - path: of the socket.
    ///   - timeout: how long `request` waits for an answer.
    package init(path: String, on loop: any EventLoop, timeout: TimeAmount = .seconds(30)) {
        self.path = path
        self.loop = loop
        self.timeout = timeout
    }

    /// Requests that were sent and have no last reply yet.
    package var requestsInFlight: Int { inFlight.count }

    /// Whether there is a connection now.
    package var isConnected: Bool { connection != nil }

    /// Sends a request and waits for its one reply.
    package func request(_ frame: Frame) async throws(BusError) -> Frame {
        try await connect()
        var timer: Scheduled<Void>?
        let result: Result<Frame, BusError> = await withCheckedContinuation { continuation in
            var isDone = false
            let tag = start(frame) { result in
                if !isDone {
                    isDone = true
                    continuation.resume(returning: result)
                }
                return true
            }
            guard let tag else { return }
            timer = loop.scheduleTask(in: timeout) { [self] in
                guard let handler = inFlight.removeValue(forKey: tag) else { return }
                _ = handler(.failure(.timedOut))
            }
        }
        timer?.cancel()
        return try result.get()
    }

    /// Connects unless there is a connection.
    ///
    /// - Throws: `unavailable` when nobody listens.
    package func connect() async throws(BusError) {
        loop.assertInEventLoop()
        while connecting != nil {
            await withCheckedContinuation { connecting?.append($0) }
        }
        if connection != nil { return }
        connecting = []
        defer {
            let waiting = connecting ?? []
            connecting = nil
            for continuation in waiting { continuation.resume() }
        }
        do {
            let connection = try await Connection.connect(unix: path, on: loop)
            self.connection = connection
            Task(executorPreference: LoopExecutor.of(loop)) { await self.readReplies(connection) }
        } catch {
            throw .unavailable("\(path): \(error)")
        }
    }

    /// Sends a request whose replies go to the handler, on the connection that there is.
    ///
    /// - Returns: the request's tag; nil, after the handler was told, without a connection.
    @discardableResult
    package func start(_ frame: Frame, _ handler: @escaping ReplyHandler) -> String? {
        loop.assertInEventLoop()
        guard let connection else {
            _ = handler(.failure(.unavailable("\(path): not connected")))
            return nil
        }
        lastTag += 1
        let tag = String(lastTag)
        var frame = frame
        frame["tag"] = tag
        inFlight[tag] = handler
        connection.write(frame)
        // Requests of one turn of the loop leave together.
        connection.flushSoon()
        return tag
    }

    /// Sends what the other side asked for in the course of a request. Does nothing without a connection: the request's
    /// handler is told of that anyway.
    package func write(_ frame: Frame) {
        loop.assertInEventLoop()
        connection?.write(frame)
        connection?.flushSoon()
    }

    private func readReplies(_ connection: Connection) async {
        loop.assertInEventLoop()
        var parser = FrameParser()
        var reason = BusError.unavailable("\(path): connection closed")
        do {
            while let frame = try await connection.readFrame(&parser) {
                guard let tag = frame["tag"], let handler = inFlight[tag] else {
                    if frame["tag"] != nil { continue }  // a reply that came too late
                    throw BusError.malformed("\(path): \(frame["text"] ?? "reply without a tag")")
                }
                if handler(.success(frame)) { inFlight[tag] = nil }
            }
        } catch let error as BusError {
            reason = error
        } catch let error as FrameError {
            reason = .malformed("\(path): \(error.text)")
        } catch {
            reason = .unavailable("\(path): \(error)")
        }
        connection.abort()
        if self.connection === connection { self.connection = nil }
        let lost = inFlight
        inFlight = [:]
        for handler in lost.values { _ = handler(.failure(reason)) }
    }

    /// Closes the connection; requests in flight fail as unavailable.
    package func close() {
        loop.assertInEventLoop()
        connection?.abort()
    }
}
