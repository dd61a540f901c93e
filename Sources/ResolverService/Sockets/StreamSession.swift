import CoreMetrics
import DNS
import LocalZones
import Logging
import NIOCore
import Network

/// Answers queries on a TCP or Unix-domain connection: each behind its length in two octets, several at a time, in the
/// order in which their answers come (RFC 1035 §4.2.2, RFC 7766 §6.2.1.1).
final class StreamSession: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    let connection: Connection
    private let engine: QueryEngine
    private let client: QueryEngine.Client

    private var answers: [ByteBuffer] = []
    /// Queries whose answers aren't begun before there is room for them.
    private var starters: [CheckedContinuation<Void, Never>] = []
    /// What `answers` and those being sent have. Octets.
    private var waitingOctets = 0
    /// Queries that were read and whose answers aren't sent yet.
    private var open = 0
    private var hasEnded = false
    private var writer: CheckedContinuation<Void, Never>?
    private var reader: CheckedContinuation<Void, Never>?
    /// Nothing more can be sent.
    private var isBroken = false
    /// Transfers that go on when what is in `answers` is on its way.
    private var transfers: [CheckedContinuation<Void, Never>] = []

    /// How many queries of one connection may be worked on; then the next ones wait in the socket.
    static let maximumOpen = 64
    /// How much may wait for a client that doesn't read: from half of it on no query is taken up, and the answers to
    /// those that were don't go beyond it. Octets.
    static let maximumWaitingOctets = 1 << 20

    init(_ connection: Connection, _ engine: QueryEngine, _ transport: QueryEngine.Transport) {
        self.connection = connection
        self.engine = engine
        client = QueryEngine.Client(
            standing: ClientStanding(engine.settings, connection.remoteAddress),
            transport: transport,
            idleTimeout: connection.idleTimeout,
            address: connection.remoteAddress
        )
    }

    /// Serves until either side ends.
    func run() async {
        connection.eventLoop.assertInEventLoop()
        await withDiscardingTaskGroup { group in
            group.addTask { await self.send() }
            await read(&group)
            hasEnded = true
            wakeWriter()
        }
    }

    private func read(_ group: inout DiscardingTaskGroup) async {
        while !hasEnded {
            guard let query = nextQuery() else {
                guard let more = try? await connection.receive(), more else { return }
                continue
            }
            guard query.readableBytes >= DNSMessage.headerOctets else { return }
            engine.counters.queries.increment()
            open += 1
            if case .answer(let ready) = engine.readyAnswer(query, client) {
                engine.counters.fastHits.increment()
                finish(ready)
            } else if let transfer = engine.transfer(query, client) {
                group.addTask {
                    await self.send(transfer)
                    self.finish(nil)
                }
            } else {
                group.addTask {
                    await self.room()
                    await self.finish(self.engine.answer(query, self.client))
                }
            }
            while isFull, !hasEnded { await withCheckedContinuation { reader = $0 } }
        }
    }

    private var isFull: Bool { open >= Self.maximumOpen || waitingOctets >= Self.maximumWaitingOctets / 2 }

    private func nextQuery() -> ByteBuffer? {
        guard let length = connection.input.getInteger(at: connection.input.readerIndex, as: UInt16.self),
            connection.input.readableBytes >= 2 + Int(length)
        else { return nil }
        connection.input.moveReaderIndex(forwardBy: 2)
        // A copy: the input's buffer must not stay because of one query that waits.
        return connection.input.readSlice(length: Int(length)).map { ByteBuffer(bytes: $0.readableBytesView) }
    }

    private func finish(_ answer: ByteBuffer?) {
        if let answer, takes(answer) {
            waitingOctets += answer.readableBytes
            answers.append(answer)
        } else {
            settle(1)
        }
        wakeWriter()
    }

    /// Waits until another answer is worth making: what is large is made when the client has taken what was before it.
    private func room() async {
        while waitingOctets >= Self.maximumWaitingOctets / 2, !isBroken {
            await withCheckedContinuation { starters.append($0) }
        }
    }

    /// Whether one more answer may wait. Where many large ones come from other servers at once for a client that doesn't
    /// read, the connection ends.
    private func takes(_ answer: ByteBuffer) -> Bool {
        guard waitingOctets + answer.readableBytes > Self.maximumWaitingOctets else { return true }
        abandon()
        return false
    }

    /// Sends answers as they come, all that are there with one flush, until reading has ended and nothing is open.
    private func send() async {
        while true {
            let batch = answers
            let waiting = transfers
            answers = []
            transfers = []
            for answer in batch {
                connection.write { $0.writeInteger(UInt16(truncatingIfNeeded: answer.readableBytes)) }
                connection.write(answer)
            }
            do {
                if !batch.isEmpty { try await connection.flush() }
            } catch {
                hasEnded = true
                isBroken = true
            }
            waitingOctets -= batch.reduce(0) { $0 + $1.readableBytes }
            let ready = starters
            starters = []
            for starter in ready { starter.resume() }
            settle(batch.count)
            for transfer in waiting { transfer.resume() }
            if hasEnded, open == 0 { return }
            if answers.isEmpty { await withCheckedContinuation { writer = $0 } }
        }
    }

    private func settle(_ count: Int) {
        open -= count
        guard !isFull || hasEnded, let waiting = reader else { return }
        reader = nil
        waiting.resume()
    }

    /// Puts one of several messages behind what waits to be sent, and waits until it's on its way.
    ///
    /// - Returns: false where the client can't be reached any more.
    func sendInTurn(_ message: ByteBuffer) async -> Bool {
        guard !isBroken else { return false }
        open += 1
        waitingOctets += message.readableBytes
        answers.append(message)
        wakeWriter()
        await withCheckedContinuation { transfers.append($0) }
        return !isBroken
    }

    var logger: Logger { engine.logger }

    /// How long one transfer may take.
    var transferTime: TimeAmount { engine.settings.zones.transferTime }

    /// Closes the connection in the middle of an answer.
    func abandon() {
        isBroken = true
        hasEnded = true
        connection.abort()
    }

    private func wakeWriter() {
        guard let waiting = writer else { return }
        writer = nil
        waiting.resume()
    }
}
