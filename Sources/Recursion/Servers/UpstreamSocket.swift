import DNS
import NIOCore
import NIOPosix
import Network

/// A UDP socket that is connected to one server and comes from a random port. It carries one query at a time, so that a
/// forger must hit the port, the ID and the case of that very query; the system drops what comes from elsewhere.
final class UpstreamSocket: ChannelInboundHandler, NIOScheduledCallbackHandler, @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    /// How a query ended.
    enum Result: Sendable {
        case answer(DNSMessage)
        case doubtful
        case malformed
        case timedOut
        /// The system says that nobody is there.
        case unreachable
    }

    /// How many queries one socket carries before another port takes its place.
    static let maximumUses = 16

    private var channel: (any Channel)?
    private var query: UpstreamQuery?
    private var waiter: CheckedContinuation<Result, Never>?
    private var timer: NIOScheduledCallback?
    private(set) var uses = 0

    private init() {}

    /// A new socket; nil when the system gives none.
    static func open(
        to server: SocketAddress,
        on loop: any EventLoop,
        _ random: RandomReserve
    ) async -> UpstreamSocket? {
        guard let descriptor = InternetSocket.connectedDatagram(to: server, random) else { return nil }
        let socket = UpstreamSocket()
        do {
            let channel = try await DatagramBootstrap(group: loop)
                .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
                // There is one answer to a query: no second look for another.
                .channelOption(.maxMessagesPerRead, value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(socket)
                    }
                }
                .withBoundSocket(descriptor).get()
            socket.channel = channel
            // It is connected; the channel comes to know of it by this alone.
            try await channel.connect(to: server).get()
            return socket
        } catch {
            socket.close()
            return nil
        }
    }

    /// Sends a query and waits for its answer.
    func exchange(_ query: UpstreamQuery, timeout: TimeAmount) async -> Result {
        guard let channel, channel.isActive else { return .unreachable }
        channel.eventLoop.assertInEventLoop()
        uses += 1
        self.query = query
        return await withCheckedContinuation { continuation in
            waiter = continuation
            do {
                timer = try channel.eventLoop.scheduleCallback(in: timeout, handler: self)
            } catch {
                return finish(.unreachable)
            }
            // Without the address, which the socket has: the system then knows the way without a look.
            channel.writeAndFlush(channel.allocator.buffer(bytes: query.octets), promise: nil)
        }
    }

    func close() { channel?.close(promise: nil) }

    /// Whether it can carry another query.
    var isReusable: Bool { uses < Self.maximumUses && channel?.isActive == true }

    private func finish(_ result: Result) {
        timer?.cancel()
        timer = nil
        query = nil
        waiter?.resume(returning: result)
        waiter = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let query else { return }
        switch query.judge(unwrapInboundIn(data).data) {
        case .answer(let message): finish(.answer(message))
        case .doubtful: finish(.doubtful)
        case .malformed: finish(.malformed)
        case .foreign: break
        }
    }

    func handleScheduledCallback(eventLoop: some EventLoop) { finish(.timedOut) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { finish(.unreachable) }

    func channelInactive(context: ChannelHandlerContext) { finish(.unreachable) }
}
