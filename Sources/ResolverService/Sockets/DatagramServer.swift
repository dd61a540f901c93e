import CoreMetrics
import CLinux
import DNS
import NIOCore
import NIOPosix
import Network

#if canImport(Glibc)
import Glibc
#endif

/// Answers queries that come by UDP, on one event loop. What the cache holds ready goes out with one flush a batch.
final class DatagramServer: ChannelInboundHandler, @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let engine: QueryEngine
    private var queries: Int64 = 0
    private var hits: Int64 = 0
    private var hasOutput = false
    /// Whether answers that had to wait will go out with the next flush.
    private var isFlushDue = false
    private let executor: LoopExecutor
    private var lastClient: (address: SocketAddress, standing: ClientStanding)?

    /// The most datagrams that are read at once, and what each may have. Octets.
    private static let batch = 32
    private static let maximumQuery = 4096

    private init(_ engine: QueryEngine) {
        self.engine = engine
        executor = LoopExecutor.of(engine.loop)
    }

    /// Starts to answer on a bound socket, which from now on belongs to the channel.
    static func start(on socket: CInt, _ engine: QueryEngine) async throws -> any Channel {
        try await DatagramBootstrap(group: engine.loop)
            .channelOption(.datagramVectorReadMessageCount, value: batch)
            .channelOption(
                .recvAllocator,
                value: FixedSizeRecvByteBufferAllocator(capacity: batch * maximumQuery)
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramServer(engine))
                }
            }
            .withBoundSocket(socket).get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        engine.loop.assertInEventLoop()
        let envelope = unwrapInboundIn(data)
        queries += 1
        let client = QueryEngine.Client(
            standing: standing(envelope.remoteAddress),
            transport: .udp,
            address: envelope.remoteAddress
        )
        switch engine.readyAnswer(envelope.data, client) {
        case .none: break
        case .withheld: return
        case .answer(let answer):
            hits += 1
            hasOutput = true
            context.write(
                wrapOutboundOut(AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: answer)),
                promise: nil
            )
            return
        }
        let channel = context.channel
        // A copy: the batch's buffer must not stay because of one query that waits.
        let query = ByteBuffer(bytes: envelope.data.readableBytesView)
        let remote = envelope.remoteAddress
        Task(executorPreference: executor) { [engine] in
            guard let answer = await engine.answer(query, client) else { return }
            self.send(AddressedEnvelope(remoteAddress: remote, data: answer), channel)
        }
    }

    /// Sends an answer that had to wait, with all those that are ready at the same time.
    private func send(_ answer: AddressedEnvelope<ByteBuffer>, _ channel: any Channel) {
        channel.write(answer, promise: nil)
        guard !isFlushDue else { return }
        isFlushDue = true
        engine.loop.execute {
            self.isFlushDue = false
            channel.flush()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if hasOutput { context.flush() }
        hasOutput = false
        engine.counters.queries.increment(by: queries)
        if hits > 0 { engine.counters.fastHits.increment(by: hits) }
        queries = 0
        hits = 0
    }

    /// One datagram that can't be sent or received is no reason to stop.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}

    private func standing(_ address: SocketAddress) -> ClientStanding {
        if let lastClient, lastClient.address.hasHost(of: address) { return lastClient.standing }
        let standing = ClientStanding(engine.settings, address)
        lastClient = (address, standing)
        return standing
    }
}

extension ResolverSettings {
    /// Whether questions of a client at an address about other than local zones are answered.
    func mayRecurse(_ octets: [UInt8]) -> Bool { allowRecursion.contains { $0.contains(octets) } }
}

/// UDP sockets that share an address, one for each event loop: the system spreads clients over them.
enum DatagramSockets {
    /// - Throws: `SocketError`-like text of the system.
    static func bind(_ address: SocketAddress, count: Int) throws(DatagramSocketError) -> [CInt] {
        var address = address
        var sockets: [CInt] = []
        for _ in 0..<max(count, 1) {
            let socket = try bound(address, isShared: count > 1)
            sockets.append(socket)
            // With port 0 the first one chooses.
            if address.port == 0 { address.port = InternetSocket.port(of: socket) }
        }
        return sockets
    }

    private static func bound(_ address: SocketAddress, isShared: Bool) throws(DatagramSocketError) -> CInt {
        let isV6 = address.protocol == .inet6
        let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let socket = Glibc.socket(isV6 ? AF_INET6 : AF_INET, type, 0)
        guard socket >= 0 else { throw DatagramSocketError(address) }
        var on: CInt = 1
        let size = socklen_t(MemoryLayout<CInt>.size)
        if isV6 { setsockopt(socket, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &on, size) }
        // A burst shall not be lost while a batch is worked on; the system may give less.
        var room: CInt = 4 << 20
        setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &room, size)
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, size)
        // Nothing on the way makes fragments of answers (DF), and reports of path MTUs, which anybody can forge, neither
        // make us send fragments nor keep answers back: what doesn't pass, the client asks for again by TCP.
        var discovery = isV6 ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE
        if isV6 {
            setsockopt(socket, CInt(IPPROTO_IPV6), IPV6_MTU_DISCOVER, &discovery, size)
        } else {
            setsockopt(socket, CInt(IPPROTO_IP), IP_MTU_DISCOVER, &discovery, size)
        }
        guard !isShared || CLinux_set_reuse_port(socket) == 0,
            address.withSockAddr({ Glibc.bind(socket, $0, socklen_t($1)) }) == 0
        else {
            defer { close(socket) }
            throw DatagramSocketError(address)
        }
        return socket
    }
}

/// Why no UDP socket could be had.
struct DatagramSocketError: Error, CustomStringConvertible {
    let description: String

    init(_ address: SocketAddress) {
        description = "bind \(address) for UDP: \(String(cString: strerror(errno)))"
    }
}
