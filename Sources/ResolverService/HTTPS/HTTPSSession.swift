import CoreMetrics
import DNS
import NIOCore
import NIOHTTP1
import NIOHTTP2
import Network
import TLS

/// Answers queries that come by HTTP on one connection: HTTP/2 where ALPN chose it, else HTTP/1.1 (RFC 8484 §5.2).
final class HTTPSSession: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    let connection: Connection
    let engine: QueryEngine
    let client: QueryEngine.Client
    let path: String
    /// How long a request may take to arrive, a response to be taken, and the connection to be silent.
    let idleTimeout: TimeAmount

    /// Requests that have begun and whose responses aren't sent yet.
    private var open = 0
    /// Queries that the engine works on, also those whose requests were cancelled meanwhile.
    private var working = 0
    /// What is held of requests that haven't arrived as a whole. Octets.
    private var held = 0
    /// What was answered and isn't taken. Octets.
    private var unsent = 0
    private var lastProgress = NIODeadline.now()
    private(set) var isEnding = false

    /// Requests at the same time on one connection.
    static let maximumStreams = 100
    /// What one connection may have us hold, of requests and of responses. Octets.
    private static let maximumHeld = 256 * 1024
    private static let maximumUnsent = 1 << 20
    /// How many streams a client may reset, and do wrong otherwise, in 30 seconds (CVE-2023-44487).
    private static let maximumResets = 100
    /// How long a connection lasts at most.
    private static let maximumAge = TimeAmount.hours(1)
    /// How long responses that are under way are waited for when the daemon ends.
    private static let grace = TimeAmount.seconds(2)

    init(_ connection: Connection, _ engine: QueryEngine, path: String, idleTimeout: TimeAmount) {
        self.connection = connection
        self.engine = engine
        self.path = path
        self.idleTimeout = idleTimeout
        client = QueryEngine.Client(
            standing: ClientStanding(engine.settings, connection.remoteAddress),
            transport: .https,
            address: connection.remoteAddress
        )
    }

    /// Serves until either side ends.
    func run() async {
        connection.eventLoop.assertInEventLoop()
        let isHTTP2 = connection.tls?.applicationProtocol == Self.http2
        do {
            try connection.handOver(to: isHTTP2 ? multiplexed() : sequential())
        } catch {
            return
        }
        // From here on the requests have times of their own.
        connection.idleTimeout = nil
        connection.deadline = .now() + Self.maximumAge
        watchForSilence()
        do {
            while try await connection.receive() { connection.input.clear() }
            // What the client asked for before it closed its side is answered still.
            await finish(false)
        } catch .shuttingDown {
            await finish(isHTTP2)
        } catch .timedOut, .dismissed {
            await finish(isHTTP2)
        } catch {}
        isEnding = true
    }

    /// The names of what is spoken here, for ALPN.
    static let protocols = [http2, "http/1.1"]
    private static let http2 = "h2"

    private func multiplexed() -> [any ChannelHandler] {
        var limits = NIOHTTP2Handler.ConnectionConfiguration()
        limits.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: Self.maximumStreams),
            HTTP2Setting(parameter: .maxHeaderListSize, value: HTTPSRequest.maximumHead),
            HTTP2Setting(parameter: .enablePush, value: 0),
        ]
        limits.maximumBufferedControlFrames = 1000
        var streams = NIOHTTP2Handler.StreamConfiguration()
        streams.streamResetFrameRateLimit.maximumCount = Self.maximumResets
        streams.streamErrorRateLimit.maximumCount = Self.maximumResets
        let handler = NIOHTTP2Handler(
            mode: .server,
            eventLoop: connection.eventLoop,
            connectionConfiguration: limits,
            streamConfiguration: streams
        ) { [self] stream in
            stream.eventLoop.makeCompletedFuture {
                try stream.pipeline.syncOperations.addHandlers([
                    HTTP2FramePayloadToHTTP1ServerCodec(), HTTPSExchange(self, isMultiplexed: true),
                ])
            }
        }
        return [handler, HTTPSConnectionEnd()]
    }

    private func sequential() -> [any ChannelHandler] {
        [HTTPResponseEncoder(), Self.decoder(), HTTPServerPipelineHandler(), HTTPSExchange(self, isMultiplexed: false)]
    }

    /// What makes requests of the octets of HTTP/1.1, within limits.
    static func decoder() -> ByteToMessageHandler<HTTPRequestDecoder> {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = HTTPSRequest.maximumHead
        limits.maxHeaderListSize = HTTPSRequest.maximumHead
        limits.maxHeaderFieldCount = HTTPSRequest.maximumFields
        let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)
        return ByteToMessageHandler(decoder, maximumBufferSize: 4 * HTTPSRequest.maximumHead)
    }

    /// Ends in good order: no new requests, a moment for those that are under way.
    private func finish(_ isHTTP2: Bool) async {
        isEnding = true
        if isHTTP2 { sayGoodbye() }
        let end = NIODeadline.now() + Self.grace
        while open > 0, connection.channel.isActive, .now() < end {
            await connection.eventLoop.pause(.milliseconds(20))
        }
    }

    private func sayGoodbye() {
        let frame = HTTP2Frame.FramePayload.goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: nil)
        connection.channel.writeAndFlush(HTTP2Frame(streamID: .rootStream, payload: frame), promise: nil)
    }

    /// Closes when no request was under way for the idle time. One timer a connection: it's moved when it fires.
    private func watchForSilence() {
        let time = max(lastProgress + idleTimeout, .now() + .milliseconds(10))
        connection.eventLoop.scheduleTask(deadline: time) { [weak self] in
            guard let self, !isEnding, connection.channel.isActive else { return }
            guard open == 0, lastProgress + idleTimeout <= .now() else {
                // Requests under way have times of their own.
                if open > 0 { lastProgress = .now() }
                return watchForSilence()
            }
            isEnding = true
            if connection.tls?.applicationProtocol == Self.http2 { sayGoodbye() }
            connection.close()
        }
    }

    // MARK: What requests report

    func requestBegan() {
        connection.eventLoop.assertInEventLoop()
        open += 1
    }

    func requestEnded() {
        open -= 1
        lastProgress = .now()
    }

    /// Whether so much more of a request may be held.
    func hold(_ octets: Int) -> Bool {
        guard held + octets <= Self.maximumHeld else { return false }
        held += octets
        return true
    }

    func release(_ octets: Int) { held -= octets }

    func responseBegan(_ octets: Int) { unsent += octets }

    func responseEnded(_ octets: Int) { unsent -= octets }

    /// Whether the client has us do, or keep, as much as one may.
    var isBusy: Bool { working >= Self.maximumStreams || unsent > Self.maximumUnsent }

    /// The answer to a query; nil where there is none. At once where it is kept ready.
    func answer(_ query: ByteBuffer, _ done: @escaping @Sendable (ByteBuffer?) -> Void) {
        engine.counters.queries.increment()
        if case .answer(let ready) = engine.readyAnswer(query, client) {
            engine.counters.fastHits.increment()
            return done(ready)
        }
        working += 1
        Task(executorPreference: LoopExecutor.of(engine.loop)) { [self] in
            let answer = await engine.answer(query, client)
            working -= 1
            done(answer)
        }
    }
}

/// Keeps what concerns HTTP/2 alone from the connection, whose last handler takes octets only.
final class HTTPSConnectionEnd: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What is wrong with one stream is no reason to end the others.
        if error is NIOHTTP2Errors.StreamError { return }
        context.fireErrorCaught(error)
    }
}
