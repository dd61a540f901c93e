import CLinux
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

extension Connection {
    /// Connects over TCP.
    ///
    /// - Parameter source: the local address to come from, where it matters.
    /// - Throws: `timedOut`, or `failed` with the system's reason; `badSource` where it's the local address that can't be used.
    package static func connect(
        to address: SocketAddress,
        from source: SocketAddress? = nil,
        on loop: any EventLoop,
        timeout: TimeAmount
    ) async throws(ConnectionError) -> Connection {
        var bootstrap = ClientBootstrap(group: loop).connectTimeout(timeout)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.recvAllocator, value: Self.receiveAllocator)
            .channelOption(.socketOption(.so_rcvbuf), value: InternetSocket.receiveBuffer)
        if let source { bootstrap = bootstrap.bind(to: source) }
        return try await connect(from: source) {
            try await bootstrap.connect(to: address, channelInitializer: Self.make)
        }
    }

    /// Connects to a Unix-domain socket.
    ///
    /// - Parameter patience: how long it's tried while the kernel takes no more connections there, because as many wait as the
    ///   listener allows.
    /// - Throws: `failed` with the system's reason, such as that nobody listens there.
    package static func connect(
        unix path: String,
        on loop: any EventLoop,
        patience: TimeAmount = .zero
    ) async throws(ConnectionError) -> Connection {
        let bootstrap = ClientBootstrap(group: loop).channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.recvAllocator, value: Self.receiveAllocator)
        let end = NIODeadline.now() + patience
        return try await connect {
            while true {
                do {
                    return try await bootstrap.connect(unixDomainSocketPath: path, channelInitializer: Self.make)
                } catch let error as IOError where error.errnoCode == EAGAIN && .now() < end {
                    await loop.pause(.milliseconds(20))
                }
            }
        }
    }

    private static func connect(
        from source: SocketAddress? = nil,
        _ open: () async throws -> Connection
    ) async throws(ConnectionError) -> Connection {
        do {
            return try await open()
        } catch let error as ChannelError {
            if case .connectTimeout = error { throw .timedOut }
            throw .failed(String(describing: error))
        } catch let error as IOError where source != nil && isAboutSource(error) {
            throw .badSource(Self.reason(error))
        } catch {
            throw .failed(Self.reason(error))
        }
    }

    /// It's not on this machine (EADDRNOTAVAIL), or nothing leads from there to the other address (EINVAL).
    private static func isAboutSource(_ error: IOError) -> Bool {
        error.errnoCode == EADDRNOTAVAIL || error.errnoCode == EINVAL
    }

    /// Buffers that a usual message fits in: not to be read in three calls because commands were short before it.
    static let receiveAllocator = AdaptiveRecvByteBufferAllocator(minimum: 8192, initial: 8192, maximum: 65536)

    /// Makes the connection of a new channel. For channel initializers.
    static func make(_ channel: any Channel) -> EventLoopFuture<Connection> {
        channel.eventLoop.makeCompletedFuture {
            let connection = Connection(channel: channel)
            try channel.pipeline.syncOperations.addHandler(ConnectionHandler(connection))
            return connection
        }
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
        if let error = error as? NIOConnectionError, let first = error.connectionErrors.first {
            return reason(first.error)
        }
        return String(describing: error)
    }
}
