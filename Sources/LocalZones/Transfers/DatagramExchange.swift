import NIOCore
import NIOPosix
import Network

/// One datagram to another server and what comes back, over a socket of its own that is connected: the system drops what
/// comes from elsewhere.
final class DatagramExchange<Answer: Sendable>: ChannelInboundHandler, @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let accepts: @Sendable (ByteBuffer) -> Answer?
    private var waiter: CheckedContinuation<Answer?, Never>?
    private var hasEnded = false

    private init(_ accepts: @escaping @Sendable (ByteBuffer) -> Answer?) { self.accepts = accepts }

    /// Sends octets and waits for an answer.
    ///
    /// - Parameters:
    ///   - source: where to come from, where it matters.
    ///   - accepts: reads an answer; nil for a datagram that is none.
    /// - Returns: nil when none came in time, or the system says that nobody is there.
    static func ask(
        _ octets: [UInt8],
        _ server: SocketAddress,
        from source: SocketAddress?,
        on loop: any EventLoop,
        timeout: TimeAmount,
        accepts: @escaping @Sendable (ByteBuffer) -> Answer?
    ) async -> Answer? {
        guard let socket = InternetSocket.connectedDatagram(to: server, from: source) else { return nil }
        let exchange = DatagramExchange(accepts)
        let bootstrap = DatagramBootstrap(group: loop)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(exchange)
                }
            }
        guard let channel = try? await bootstrap.withBoundSocket(socket).get() else { return nil }
        loop.assertInEventLoop()
        let timer = loop.scheduleTask(in: timeout) { exchange.finish(nil) }
        let answer: Answer? = await withCheckedContinuation { continuation in
            exchange.waiter = continuation
            if exchange.hasEnded { exchange.finish(nil) }
            channel.writeAndFlush(
                AddressedEnvelope(remoteAddress: server, data: ByteBuffer(bytes: octets)),
                promise: nil
            )
        }
        timer.cancel()
        channel.close(promise: nil)
        return answer
    }

    private func finish(_ answer: Answer?) {
        hasEnded = true
        waiter?.resume(returning: answer)
        waiter = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if let answer = accepts(unwrapInboundIn(data).data) { finish(answer) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { finish(nil) }

    func channelInactive(context: ChannelHandlerContext) { finish(nil) }
}
