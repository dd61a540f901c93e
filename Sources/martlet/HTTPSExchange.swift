import DNS
import NIOCore
import NIOHTTP1
import NIOHTTP2
import Network
import TLS

/// One question of DNS over HTTPS (RFC 8484 §4.1) and its answer, by HTTP/2 or HTTP/1.1.
final class HTTPSExchange: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    /// What is spoken, for ALPN.
    static let protocols = ["h2", "http/1.1"]
    private static let mediaType = "application/dns-message"

    private let octets: [UInt8]
    private let path: String
    private let authority: String
    private var head: HTTPResponseHead?
    private var body = ByteBuffer()
    private var promise: EventLoopPromise<[UInt8]>?

    init(_ octets: [UInt8], path: String, authority: String) {
        self.octets = octets
        self.path = path
        self.authority = authority
    }

    /// Sends the question on a fresh connection, and waits for the answer.
    ///
    /// - Throws: `DNSStub.Failure` for anything but an answer.
    func run(on connection: Connection, time: TimeAmount) async throws -> [UInt8] {
        let loop = connection.eventLoop
        let promise = loop.makePromise(of: [UInt8].self)
        self.promise = promise
        let timer = loop.scheduleTask(in: time) { promise.fail(DNSStub.Failure("no answer")) }
        defer { timer.cancel() }
        if connection.tls?.applicationProtocol == "h2" {
            let handler = NIOHTTP2Handler(
                mode: .client,
                eventLoop: loop,
                connectionConfiguration: .init(),
                streamConfiguration: .init()
            ) { $0.close() }
            try connection.handOver(to: [handler, HTTP2End(self)])
            let multiplexer = try handler.syncMultiplexer()
            let bound = NIOLoopBound(self, eventLoop: loop)
            multiplexer.createStreamChannel(promise: nil) { stream in
                stream.eventLoop.makeCompletedFuture {
                    try stream.pipeline.syncOperations.addHandlers([
                        HTTP2FramePayloadToHTTP1ClientCodec(httpProtocol: .https), bound.value,
                    ])
                }
            }
        } else {
            try connection.handOver(to: [
                HTTPRequestEncoder(), ByteToMessageHandler(HTTPResponseDecoder()), self,
            ])
        }
        return try await promise.futureResult.get()
    }

    // MARK: What the channel says

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { send(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        send(context)
        context.fireChannelActive()
    }

    private func send(_ context: ChannelHandlerContext) {
        let headers: HTTPHeaders = [
            "host": authority, "content-type": Self.mediaType, "accept": Self.mediaType,
            "content-length": String(octets.count),
        ]
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: path, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: octets)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(let piece):
            guard body.readableBytes + piece.readableBytes <= DNSMessage.maximumOctets else {
                return fail("the answer is too long")
            }
            body.writeImmutableBuffer(piece)
        case .end: complete()
        }
    }

    private func complete() {
        guard let head, head.status == .ok else {
            return fail(
                "the server answers \(head.map { "\($0.status.code) \(shown($0.status.reasonPhrase))" } ?? "nothing")"
            )
        }
        let type = head.headers.first(name: "content-type")?.split(separator: ";").first?.lowercased()
        guard type == Self.mediaType else { return fail("what the server answers is no DNS message") }
        promise?.succeed(Array(body.readableBytesView))
    }

    func fail(_ reason: String) { promise?.fail(DNSStub.Failure(reason)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail("what the server answers is no HTTP (\(error))")
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { fail("the server closed") }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail("the server closed")
        context.fireChannelInactive()
    }
}

/// What is left of HTTP/2 outside of the stream.
private final class HTTP2End: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    private let exchange: HTTPSExchange

    init(_ exchange: HTTPSExchange) { self.exchange = exchange }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        exchange.fail("what the server answers is no HTTP (\(error))")
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { exchange.fail("the server closed") }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        exchange.fail("the server closed")
        context.fireChannelInactive()
    }
}
