import Recursion
import DNS
import Daemon
import NIOCore
import NIOHTTP1
import NIOHTTP2
import Network

/// The last handler of an HTTP/2 stream, or of an HTTP/1.1 connection: requests come in, one at a time, and their
/// responses go out.
final class HTTPSExchange: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        case idle
        /// The request isn't complete. nil: it was refused already, and the rest is thrown away.
        case receiving(Result<HTTPSRequest, HTTPSRequest.Refusal>?)
        case answering
    }

    private let session: HTTPSSession
    /// Whether other requests pass beside this one: it's an HTTP/2 stream.
    private let isMultiplexed: Bool
    private var state = State.idle
    private var version = HTTPVersion.http1_1
    private var keepsAlive = true
    private var held = 0
    private var isCounted = false
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?

    init(_ session: HTTPSSession, isMultiplexed: Bool) {
        self.session = session
        self.isMultiplexed = isMultiplexed
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        settle()
    }

    func channelInactive(context: ChannelHandlerContext) {
        settle()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): begin(head, context)
        case .body(let piece): take(piece, context)
        case .end: complete(context)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // Most requests arrive at once.
        if case .receiving = state, timer == nil { startTimer() }
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !isMultiplexed else {
            // The stream is reset.
            context.close(promise: nil)
            return
        }
        guard let error = error as? HTTPParserError else { return context.fireErrorCaught(error) }
        if case .answering = state { return context.fireErrorCaught(error) }
        keepsAlive = false
        let isTooLarge = error == .headerOverflow
        send(
            HTTPSResponse(
                HTTPSRequest.Refusal(
                    status: isTooLarge ? .requestHeaderFieldsTooLarge : .badRequest,
                    reason: isTooLarge ? "the head of the request is too large" : "that is no HTTP request"
                )
            ),
            context
        )
    }

    // MARK: The request

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        session.requestBegan()
        isCounted = true
        version = head.version
        keepsAlive = head.isKeepAlive
        do {
            let request = try HTTPSRequest(head, path: session.path)
            guard hold(request.octets) else {
                state = .receiving(.failure(Self.busy))
                return
            }
            state = .receiving(.success(request))
            if !isMultiplexed, head.headers["expect"].contains(where: { $0.lowercased() == "100-continue" }) {
                context.writeAndFlush(
                    wrapOutboundOut(.head(HTTPResponseHead(version: version, status: .continue))),
                    promise: nil
                )
            }
        } catch {
            state = .receiving(.failure(error))
            // Nobody needs to send what won't be read.
            if error == HTTPSRequest.tooLarge { refuse(error, context) }
        }
    }

    private func take(_ piece: ByteBuffer, _ context: ChannelHandlerContext) {
        guard case .receiving(let result) = state, case .success(var request)? = result else { return }
        do {
            let before = request.octets
            try request.take(piece)
            guard hold(request.octets - before) else { return refuse(Self.busy, context) }
            state = .receiving(.success(request))
        } catch {
            refuse(error, context)
        }
    }

    private func hold(_ octets: Int) -> Bool {
        guard session.hold(octets) else { return false }
        held += octets
        return true
    }

    private static let busy = HTTPSRequest.Refusal(
        status: .serviceUnavailable,
        reason: "too much is under way on this connection"
    )

    private func complete(_ context: ChannelHandlerContext) {
        guard case .receiving(let result) = state, let result else { return }
        stopTimer()
        state = .answering
        do throws(HTTPSRequest.Refusal) {
            let query = try result.get().query()
            guard !session.isBusy else { throw Self.busy }
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            session.answer(query) { answer in
                let exchange = bound.value
                guard let context = exchange.context, context.channel.isActive else { return }
                exchange.send(answer.map(HTTPSResponse.init(answer:)) ?? HTTPSResponse(Self.busy), context)
            }
        } catch {
            send(HTTPSResponse(error), context)
        }
    }

    /// Refuses before the request has arrived as a whole; what else comes is thrown away.
    private func refuse(_ refusal: HTTPSRequest.Refusal, _ context: ChannelHandlerContext) {
        state = .receiving(nil)
        keepsAlive = false
        send(HTTPSResponse(refusal), context)
    }

    // MARK: The response

    private func send(_ response: HTTPSResponse, _ context: ChannelHandlerContext) {
        stopTimer()
        let closes = !isMultiplexed && (!keepsAlive || session.isEnding)
        let date = HTTPDate.text(session.engine.settings.clock.wallClock())
        let head = response.head(version: version, date: date, closes: closes)
        let octets = response.body.readableBytes
        session.responseBegan(octets)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(response.body))), promise: nil)
        let sent = context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let session = session
        let isSent = NIOLoopBoundBox(false, eventLoop: context.eventLoop)
        sent.futureResult.whenComplete { _ in
            isSent.value = true
            session.responseEnded(octets)
            bound.value.responseSent(closes: closes)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent)
        if !isSent.value { startTimer() }
    }

    private func responseSent(closes: Bool) {
        stopTimer()
        settle()
        if closes { return session.connection.close() }
        if case .receiving = state { resetStream() }
        state = .idle
    }

    /// Tells the client not to send the rest of a request that was answered (RFC 9113 §8.1).
    private func resetStream() {
        guard isMultiplexed,
            let codec = try? context?.pipeline.syncOperations.context(
                handlerType: HTTP2FramePayloadToHTTP1ServerCodec.self
            )
        else { return }
        codec.writeAndFlush(NIOAny(HTTP2Frame.FramePayload.rstStream(.noError)), promise: nil)
    }

    /// The request is over, whether it was answered or not.
    private func settle() {
        stopTimer()
        session.release(held)
        held = 0
        if isCounted { session.requestEnded() }
        isCounted = false
    }

    /// Gives the client so long to send its request, or to take the response.
    private func startTimer() {
        guard let context else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: session.idleTimeout) { bound.value.timeIsUp() }
    }

    private func stopTimer() {
        timer?.cancel()
        timer = nil
    }

    private func timeIsUp() {
        timer = nil
        guard let context else { return }
        if isMultiplexed { context.close(promise: nil) } else { session.connection.abort() }
    }
}
