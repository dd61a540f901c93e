import CLinux
import NIOCore
import NIOPosix
import TLS

/// One byte-stream connection (TCP, Unix-domain, with or without TLS) for straight-line code.
///
/// A session is a task whose preferred executor is the connection's event loop (`LoopExecutor`); every call here must
/// come from that loop's thread. One task may wait in `receive` and any number in `flush` at the same time.
package final class Connection: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check at every way in.
    package let channel: any Channel
    package let eventLoop: any EventLoop
    /// The peer's address; nil for Unix-domain sockets.
    package let remoteAddress: SocketAddress?
    /// The local address; nil for Unix-domain sockets.
    package let localAddress: SocketAddress?
    /// The peer's uid, for Unix-domain sockets.
    package internal(set) var peerUser: UInt32?
    /// Who accepted it.
    var listener: Listener?
    /// What TLS agreed on; nil without TLS.
    package internal(set) var tls: TLSInfo?
    /// What was wrong with the server's certificate, where a handshake failed for that.
    package private(set) var certificateFault: CertificateFault?
    /// Whether TLS has failed for want of a signature of ours.
    package private(set) var hasNoSignature = false

    /// Octets that have arrived and were not consumed: parse here and move the reader index.
    package var input = ByteBuffer()
    /// How long `receive` and `flush` wait for the peer without any progress; nil for no limit.
    package var idleTimeout: TimeAmount?
    /// When the connection must be over, whatever happens; nil for no limit.
    package var deadline: NIODeadline?
    /// How much may arrive unasked before reading from the socket pauses. Octets.
    package var inputLimit = 128 * 1024
    /// Whether the peer has said that it's done, as with QUIT: it has nothing more to send, and `close` doesn't wait for it.
    package var peerIsDone = false

    private let executor: LoopExecutor
    private var output = ByteBuffer()
    private var flushesAtEndOfTurn = false
    private var reader: CheckedContinuation<Void, Never>?
    private var writers: [CheckedContinuation<Void, Never>] = []
    private var hasNews = false
    /// The session runs within the channel's report of what it has read.
    private var isReporting = false
    private var atEnd = false
    private var failure: ConnectionError?
    private var isClosing = false
    private var hasEndedOutput = false
    private var heldRead = false
    /// The session waits for more although `input` is full already, as for the end of a long line.
    private var wantsMore = false
    private var waitUntil: NIODeadline?
    private var alarm: Scheduled<Void>?
    private var alarmTime: NIODeadline?
    /// Ends a connection that is closing, whatever the peer does.
    private var lingering: Scheduled<Void>?
    /// Wait until a connection that is closing has sent what was written.
    private var leavers: [CheckedContinuation<Void, Never>] = []
    private var isDraining = false
    private var isShakingHands = false
    private var isHandedOver = false

    /// How long `close` waits for a peer that takes nothing of what was written.
    var drainTime = TimeAmount.seconds(10)
    /// The longest that `close` waits for one that takes some of it now and then.
    private static let drainLimit = TimeAmount.seconds(60)

    /// The most that is collected in the output buffer before it's handed to the channel. Octets.
    private static let outputChunk = 64 * 1024
    /// How long a closed connection may linger until the peer has taken the last reply.
    private static let linger = TimeAmount.seconds(2)

    init(channel: any Channel) {
        self.channel = channel
        eventLoop = channel.eventLoop
        executor = LoopExecutor.of(eventLoop)
        remoteAddress = channel.remoteAddress.flatMap { $0.pathname == nil ? $0 : nil }
        localAddress = channel.localAddress.flatMap { $0.pathname == nil ? $0 : nil }
    }

    deinit { alarm?.cancel() }

    // MARK: Receiving

    /// Waits until more octets are in `input`.
    ///
    /// - Returns: false at the end of the stream.
    /// - Throws: `timedOut`, `shuttingDown`, `closed`, `failed`, `tls`.
    package func receive() async throws(ConnectionError) -> Bool {
        eventLoop.assertInEventLoop()
        while true {
            // Also one that never stops talking.
            if failure == .dismissed { throw .dismissed }
            if hasNews {
                hasNews = false
                return true
            }
            // When both directions have ended, the channel closes as a whole.
            if let failure, !(hasEndedOutput && failure == .closed) { throw failure }
            if atEnd { return false }
            if input.readableBytes == 0 { input = ByteBuffer() }
            resumeReading()
            startWaiting()
            await withCheckedContinuation { reader = $0 }
        }
    }

    /// Makes the session's next wait for octets, or the one it is in, return though none may have come. Call on the loop.
    package func endWait() {
        eventLoop.assertInEventLoop()
        hasNews = true
        resumeReader()
    }

    /// What arrives counts again: a layer on the connection had ended, not the connection.
    package func reopenInput() {
        eventLoop.assertInEventLoop()
        if failure == nil { atEnd = false }
    }

    /// Reads a line and takes its end (LF, or CRLF) off.
    ///
    /// - Parameter maximum: octets allowed in the line, without its end.
    /// - Returns: nil at the end of the stream; a last line without an end is dropped.
    /// - Throws: `lineTooLong` after the whole overlong line was skipped; what `receive` throws.
    package func readLine(maximum: Int) async throws(ConnectionError) -> ByteBuffer? {
        eventLoop.assertInEventLoop()
        var searched = 0
        var overflowed = false
        while true {
            let view = input.readableBytesView
            // Another task may have closed the connection, which empties the input.
            searched = min(searched, view.count)
            if let end = view[view.startIndex.advanced(by: searched)...].firstIndex(of: UInt8(ascii: "\n")) {
                let length = end - view.startIndex
                guard var line = input.readSlice(length: length) else { return nil }
                input.moveReaderIndex(forwardBy: 1)
                if line.readableBytesView.last == UInt8(ascii: "\r") {
                    line.moveWriterIndex(to: line.writerIndex - 1)
                }
                if overflowed || line.readableBytes > maximum { throw .lineTooLong }
                return line
            }
            searched = input.readableBytes
            // One more octet than the maximum may be the CR of the line's end.
            if searched > maximum + 1 {
                overflowed = true
                input.clear()
                searched = 0
            }
            guard try await receive() else { return nil }
        }
    }

    /// Reads exactly so many octets; waits until all have arrived, so only for small counts.
    ///
    /// - Throws: `closed` when the stream ends before; what `receive` throws.
    package func readExactly(_ count: Int) async throws(ConnectionError) -> ByteBuffer {
        while true {
            if let octets = input.readSlice(length: count) { return octets }
            guard try await receive() else { throw .closed }
        }
    }

    // MARK: Sending

    /// Adds octets to what the next `flush` sends.
    package func write(_ octets: ByteBuffer) {
        eventLoop.assertInEventLoop()
        if output.readableBytes + octets.readableBytes > Self.outputChunk {
            passOutput()
            if octets.readableBytes >= Self.outputChunk / 4 {
                channel.write(octets, promise: nil)
                return
            }
        }
        output.writeImmutableBuffer(octets)
    }

    /// Adds octets to what the next `flush` sends.
    package func write(_ text: StaticString) { output.writeStaticString(text) }

    /// Adds octets to what the next `flush` sends.
    package func write(_ text: String) { output.writeString(text) }

    /// Adds octets to what the next `flush` sends.
    package func write(_ octets: some Sequence<UInt8>) { output.writeBytes(octets) }

    /// Lets an encoder write straight into the output buffer.
    package func write(with encode: (inout ByteBuffer) -> Void) {
        eventLoop.assertInEventLoop()
        encode(&output)
        if output.readableBytes > Self.outputChunk { passOutput() }
    }

    /// Whether something was written and not flushed.
    package var hasOutput: Bool { output.readableBytes > 0 }

    /// Sends what was written. Returns as soon as the backlog is small again, which is the backpressure on fast writers.
    ///
    /// - Throws: `timedOut` when the peer takes nothing for the idle time; `closed`, `failed`, `tls`.
    package func flush() async throws(ConnectionError) {
        eventLoop.assertInEventLoop()
        passOutput()
        channel.flush()
        while !channel.isWritable {
            if let failure { throw failure }
            startWaiting()
            await withCheckedContinuation { writers.append($0) }
        }
        if let failure, failure != .shuttingDown, failure != .dismissed { throw failure }
    }

    /// Sends what was written, and what else is written in this turn of the loop, at the turn's end. Waits for nobody: for
    /// answers whose number the peer's requests bound.
    package func flushSoon() {
        eventLoop.assertInEventLoop()
        guard !flushesAtEndOfTurn else { return }
        flushesAtEndOfTurn = true
        eventLoop.execute { [self] in
            flushesAtEndOfTurn = false
            passOutput()
            channel.flush()
        }
    }

    private func passOutput() {
        guard output.readableBytes > 0 else { return }
        channel.write(output, promise: nil)
        output = ByteBuffer()
    }

    // MARK: TLS

    /// Becomes the server's side of TLS: throws away what was received and not consumed (nobody may speak before the
    /// handshake what counts after it), sends the reply, and waits for the handshake.
    ///
    /// - Parameter isBegun: what was received belongs to the handshake, because somebody else's words stood before it.
    package func startTLS(
        server context: TLSContext,
        reply: ByteBuffer?,
        isBegun: Bool = false
    ) async throws(ConnectionError) {
        eventLoop.assertInEventLoop()
        let received = isBegun ? input : ByteBuffer()
        input.clear()
        hasNews = false
        if let reply { output.writeImmutableBuffer(reply) }
        passOutput()
        channel.flush()
        try await addTLS(received: received) { (promise) throws(TLSError) in
            try TLSHandler(context, handshake: promise)
        }
    }

    /// Becomes the client's side of TLS and waits for the handshake.
    ///
    /// - Parameters:
    ///   - verification: what the server must show.
    ///   - identity: what it's shown where it asks for a certificate.
    ///   - resumption: where there may be a session to resume with a destination of that name.
    package func startTLS(
        client context: TLSContext,
        serverName: String?,
        verification: ServerVerification = .asContext,
        identity: TLSIdentity? = nil,
        resumption: (store: TLSResumption, destination: String)? = nil
    ) async throws(ConnectionError) {
        eventLoop.assertInEventLoop()
        input.clear()
        hasNews = false
        try await addTLS { (promise) throws(TLSError) in
            try TLSHandler(
                context,
                serverName: serverName,
                verification: verification,
                identity: identity,
                resumption: resumption,
                handshake: promise
            )
        }
    }

    private func addTLS(
        received: ByteBuffer = ByteBuffer(),
        _ make: (EventLoopPromise<TLSInfo>) throws(TLSError) -> TLSHandler
    ) async throws(ConnectionError) {
        if failure == .dismissed { throw .dismissed }
        isShakingHands = true
        defer { isShakingHands = false }
        let promise = eventLoop.makePromise(of: TLSInfo.self)
        do {
            guard !atEnd else { throw TLSError.unexpectedEnd }
            let handler = try make(promise)
            try channel.pipeline.syncOperations.addHandler(handler, position: .first)
            if received.readableBytes > 0 {
                channel.pipeline.fireChannelRead(received)
                channel.pipeline.fireChannelReadComplete()
            }
        } catch {
            promise.fail(error)
        }
        // The handshake as a whole has the time that one answer has.
        let timer = idleTimeout.map { timeout in
            eventLoop.scheduleTask(in: timeout) { [self] in
                fail(.timedOut)
                channel.close(promise: nil)
            }
        }
        defer { timer?.cancel() }
        do {
            tls = try await promise.futureResult.get()
        } catch {
            switch error as? TLSError {
            case .certificate(let fault, _): certificateFault = fault
            case .keys: hasNoSignature = true
            default: break
            }
            let reason =
                failure == .timedOut || failure == .dismissed ? failure ?? .timedOut : .tls(String(describing: error))
            failure = reason
            channel.close(promise: nil)
            throw reason
        }
    }

    // MARK: Handing over

    /// Gives all that arrives from now on, and what arrived and wasn't consumed, to handlers that turn octets into
    /// something else and back; the last of them must pass no reads on. What is left here is the connection's end:
    /// `receive`, `deadline`, `close`.
    package func handOver(to handlers: [any ChannelHandler]) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandlers(handlers, position: .before(try pipeline.handler(type: ConnectionHandler.self)))
        isHandedOver = true
        hasNews = false
        guard input.readableBytes > 0 else { return }
        let octets = NIOAny(input)
        input = ByteBuffer()
        if tls != nil {
            let context = try pipeline.context(handlerType: TLSHandler.self)
            context.fireChannelRead(octets)
            context.fireChannelReadComplete()
        } else {
            pipeline.fireChannelRead(octets)
            pipeline.fireChannelReadComplete()
        }
    }

    // MARK: Ending

    /// Sends what was written and closes. Returns at once; the socket stays until the peer has taken what was written, or
    /// takes nothing for `drainTime`, and lets it take the last reply before it goes.
    package func close() {
        eventLoop.assertInEventLoop()
        guard !isClosing else { return }
        isClosing = true
        passOutput()
        channel.flush()
        alarm?.cancel()
        alarm = nil
        // For octets behind the peer's last word, such as the end of its TLS, the kernel would send a reset, and the peer
        // might never see our last reply.
        if input.readableBytes > 0 { peerIsDone = false }
        input = ByteBuffer()
        if unsent == 0 { part() } else { startDraining() }
    }

    /// Tells the peer that nothing more will come from here, behind what was written. What it still says is received.
    package func endOutput() {
        eventLoop.assertInEventLoop()
        // Where both directions are over, a channel closes as a whole, and throws away what wasn't sent.
        guard !atEnd else { return close() }
        guard !hasEndedOutput else { return }
        hasEndedOutput = true
        passOutput()
        channel.flush()
        channel.close(mode: .output, promise: nil)
    }

    /// Ends the connection when all that was written is with the kernel.
    private func part() {
        if atEnd || failure == .closed || peerIsDone && tls == nil {
            closeChannel()
        } else {
            channel.close(mode: .output, promise: nil)
            lingering = eventLoop.scheduleTask(in: Self.linger) { [channel] in channel.close(promise: nil) }
            resumeReading()
        }
    }

    /// Waits until the kernel has all that was written: closing a channel throws away what it still holds.
    private func startDraining() {
        isDraining = true
        limitDrain(unsent, until: .now() + Self.drainLimit)
        let sent = eventLoop.makePromise(of: Void.self)
        sent.futureResult.whenComplete { [self] _ in drained() }
        if isHandedOver {
            // Other handlers take no octets from here: it's only seen that none are left.
            lookWhetherSent(sent)
        } else {
            channel.writeAndFlush(ByteBuffer(), promise: sent)
        }
        resumeReading()
    }

    private func lookWhetherSent(_ sent: EventLoopPromise<Void>) {
        guard unsent > 0, channel.isActive else { return sent.succeed(()) }
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(50)) { [self] in lookWhetherSent(sent) }
    }

    private func drained() {
        eventLoop.assertInEventLoop()
        isDraining = false
        lingering?.cancel()
        lingering = nil
        if channel.isActive { part() }
        let waiting = leavers
        leavers = []
        for leaver in waiting { leaver.resume() }
    }

    /// Closes when the peer has taken nothing since `before` was left.
    private func limitDrain(_ before: Int, until end: NIODeadline) {
        lingering = eventLoop.scheduleTask(in: drainTime) { [self] in
            guard unsent < before, .now() < end else { return channel.close(promise: nil) }
            limitDrain(unsent, until: end)
        }
    }

    /// After `close`: waits until the peer has taken what was written, or the connection is over.
    func finishSending() async {
        eventLoop.assertInEventLoop()
        guard isDraining else { return }
        await withCheckedContinuation { leavers.append($0) }
    }

    /// Never in the middle of the channel's report of what it has read.
    private func closeChannel() {
        if isReporting {
            eventLoop.execute { [channel] in channel.close(promise: nil) }
        } else {
            channel.close(promise: nil)
        }
    }

    /// What the channel holds and the kernel hasn't taken. Octets.
    private var unsent: Int { (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    /// Closes at once, without sending what was written.
    package func abort() {
        eventLoop.assertInEventLoop()
        isClosing = true
        closeChannel()
    }

    /// Whether nothing more can come from the peer: it closed, or the connection failed.
    package var hasEnded: Bool { atEnd || failure != nil }

    /// Makes the session's next wait (or the one it is in) throw `shuttingDown`; writing goes on working. Call on the loop.
    package func announceShutdown() { fail(.shuttingDown) }

    /// Likewise with `dismissed`: another needs the place.
    func dismiss() {
        fail(.dismissed)
        // Nothing can be said in the middle of a handshake.
        if isShakingHands { channel.close(promise: nil) }
    }

    /// Says how much the connection has to lose, for when its listener has no place left.
    package func note(_ standing: ConnectionStanding) { listener?.note(standing, of: self) }

    /// How many connections the client has to the listener, this one included; 0 where no limit holds for it.
    package var clientConnections: Int { listener?.count(ofClientOf: self) ?? 0 }

    /// Says who the client behind a proxy is, for the listener's limits.
    ///
    /// - Returns: why it has no place.
    package func recount(as address: SocketAddress) -> Listener.Refusal? { listener?.recount(self, as: address) }

    // MARK: What the channel reports

    func received(_ octets: ByteBuffer) {
        eventLoop.assertInEventLoop()
        if isClosing { return }
        if input.readableBytes == 0 {
            input = octets
        } else {
            // What was read stays in the buffer otherwise, for as long as something is always left over.
            if input.readerIndex > input.readableBytes { input.discardReadBytes() }
            input.writeImmutableBuffer(octets)
        }
        hasNews = true
        wantsMore = false
    }

    func receivedBatch() {
        guard hasNews else { return }
        isReporting = true
        executor.perform(resumeReader)
        isReporting = false
    }

    func inputEnded() {
        eventLoop.assertInEventLoop()
        atEnd = true
        if isClosing, !isDraining { closeChannel() }
        resumeReader()
    }

    func closed() {
        eventLoop.assertInEventLoop()
        atEnd = true
        if failure == nil { failure = .closed }
        lingering?.cancel()
        lingering = nil
        resumeReader()
        resumeWriter()
    }

    func failed(_ error: any Error) {
        if failure == nil {
            if let error = error as? TLSError {
                failure = .tls(error.description)
            } else {
                failure = .failed(String(describing: error))
            }
        }
        channel.close(promise: nil)
    }

    func writabilityChanged() {
        if channel.isWritable { resumeWriter() }
    }

    /// Whether a read may go to the socket now; otherwise it's remembered until `input` was consumed.
    func mayRead() -> Bool {
        if isClosing || wantsMore || reader != nil || input.readableBytes < inputLimit { return true }
        heldRead = true
        return false
    }

    private func resumeReading() {
        guard heldRead else { return }
        heldRead = false
        wantsMore = true
        channel.read()
    }

    private func resumeReader() {
        guard let waiting = reader else { return }
        reader = nil
        waitUntil = nil
        waiting.resume()
    }

    private func resumeWriter() {
        guard !writers.isEmpty else { return }
        let waiting = writers
        writers = []
        if reader == nil { waitUntil = nil }
        for writer in waiting { writer.resume() }
    }

    private func fail(_ reason: ConnectionError) {
        eventLoop.assertInEventLoop()
        if failure == nil { failure = reason }
        resumeReader()
        resumeWriter()
    }

    // MARK: Waiting no longer than allowed

    private func startWaiting() {
        guard idleTimeout != nil || deadline != nil else { return }
        let idle = idleTimeout.map { NIODeadline.now() + $0 } ?? .distantFuture
        let until = min(idle, deadline ?? .distantFuture)
        waitUntil = until
        if let alarmTime, alarmTime <= until { return }
        setAlarm(until)
    }

    /// One timer a connection: it's moved when it fires, not at every command.
    private func setAlarm(_ time: NIODeadline) {
        alarm?.cancel()
        alarmTime = time
        alarm = eventLoop.scheduleTask(deadline: time) { [weak self] in self?.alarmFired() }
    }

    private func alarmFired() {
        alarm = nil
        alarmTime = nil
        guard let until = waitUntil, reader != nil || !writers.isEmpty else { return }
        if until <= .now() {
            fail(.timedOut)
        } else {
            setAlarm(until)
        }
    }
}
