import DNS
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

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
        guard let descriptor = connectedSocket(server, random) else { return nil }
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

    /// A socket bound to a port of our own choice: the system chooses from fewer.
    ///
    /// - Parameter source: the address to come from, where it matters.
    static func connectedSocket(
        _ server: SocketAddress,
        from source: SocketAddress? = nil,
        _ random: RandomReserve = RandomReserve()
    ) -> CInt? {
        var random = random
        let isV6 = server.protocol == .inet6
        let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let socket = Glibc.socket(isV6 ? AF_INET6 : AF_INET, type, 0)
        guard socket >= 0 else { return nil }
        for _ in 0..<8 {
            guard var local = try? source ?? SocketAddress(ipAddress: isV6 ? "::" : "0.0.0.0", port: 0) else {
                continue
            }
            local.port = Int.random(in: 1024...65535, using: &random)
            if local.withSockAddr({ bind(socket, $0, socklen_t($1)) }) == 0 { break }
        }
        // Where no attempt found a free port, the system chooses one now.
        guard server.withSockAddr({ connect(socket, $0, socklen_t($1)) }) == 0 else {
            Glibc.close(socket)
            return nil
        }
        return socket
    }
}
