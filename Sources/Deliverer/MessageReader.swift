import NIOCore

/// Reads a message once from its beginning, with what is added in front. Asks for a few pieces ahead and for no more, so
/// that a message of any size takes little memory. Belongs to its source's event loop, but for `nextBlocking`.
package final class MessageReader: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    package typealias Piece = Result<ByteBuffer?, MessageSourceError>

    private let source: MessageSource
    private let ahead: Int
    private var ready: CircularBuffer<ByteBuffer> = []
    /// Up to here the message was asked for. Octets.
    private var asked = 0
    private var outstanding = 0
    private var failure: MessageSourceError?
    private var waiter: ((Piece) -> Void)?
    private var timer: Scheduled<Void>?

    /// Pieces that are asked for ahead.
    package static let readAhead = 4
    /// How long queue-manager may take for a piece.
    private static let timeout = TimeAmount.minutes(5)

    init(_ source: MessageSource, ahead: Int) {
        self.source = source
        self.ahead = max(1, ahead)
        if source.added.readableBytes > 0 { ready.append(source.added) }
        if let whole = source.whole, whole.readableBytes > 0 { ready.append(whole) }
        if source.whole != nil { asked = source.octets }
    }

    /// The next piece; nil at the end. What is added is a piece of its own.
    package func next() async throws(MessageSourceError) -> ByteBuffer? {
        let piece: Piece = await withCheckedContinuation { continuation in
            next { continuation.resume(returning: $0) }
        }
        return try piece.get()
    }

    /// The next piece; nil at the end. Blocks: for threads of a pool, never for an event loop's.
    package func nextBlocking() throws(MessageSourceError) -> ByteBuffer? {
        let promise = source.loop.makePromise(of: Piece.self)
        source.loop.execute { self.next { promise.succeed($0) } }
        guard let piece = try? promise.futureResult.wait() else { throw .abandoned }
        return try piece.get()
    }

    /// Gives the next piece to the closure, now or later. One caller waits at a time.
    private func next(_ consume: @escaping (Piece) -> Void) {
        source.loop.assertInEventLoop()
        askAhead()
        if let piece = ready.popFirst() { return consume(.success(piece)) }
        if let failure { return consume(.failure(failure)) }
        if outstanding == 0 { return consume(.success(nil)) }
        waiter = consume
        timer = source.loop.assumeIsolated().scheduleTask(in: Self.timeout) { [weak self] in self?.fail(.timedOut) }
    }

    private func askAhead() {
        while failure == nil, outstanding + ready.count < ahead, asked < source.octets {
            let length = min(DeliverRequest.pieceLimit, source.octets - asked)
            outstanding += 1
            asked += length
            source.ask(offset: asked - length, length: length, for: self)
        }
    }

    func receive(_ piece: ByteBuffer) {
        source.loop.assertInEventLoop()
        outstanding -= 1
        guard failure == nil else { return }
        ready.append(piece)
        wake()
    }

    func fail(_ error: MessageSourceError) {
        source.loop.assertInEventLoop()
        if failure == nil { failure = error }
        wake()
    }

    private func wake() {
        guard let waiter else { return }
        self.waiter = nil
        timer?.cancel()
        timer = nil
        if let piece = ready.popFirst() {
            waiter(.success(piece))
        } else if let failure {
            waiter(.failure(failure))
        }
    }
}
