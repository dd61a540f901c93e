import DNS
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A name server of another's whose behaviour a test decides, by UDP and TCP on one port.
final class FakeUpstream: Sendable {
    enum Reaction: Sendable {
        case answer(DNSMessage)
        case octets([UInt8])
        case silence
        /// From another port than the one that was asked.
        case answerFromElsewhere(DNSMessage)
        /// One after the other.
        case several([Reaction])
    }

    struct Query: Sendable {
        var message: DNSMessage
        var isStream: Bool
        var port: Int
    }

    typealias Behaviour = @Sendable (Query) async -> Reaction

    private let channels = NIOLockedValueBox<[any Channel]>([])
    private let log = NIOLockedValueBox<[Query]>([])
    private let behaviour: Behaviour
    let address: SocketAddress

    /// What was asked up to now.
    var queries: [Query] { log.withLockedValue { $0 } }

    private init(_ behaviour: @escaping Behaviour, address: SocketAddress) {
        self.behaviour = behaviour
        self.address = address
    }

    /// - Parameter port: 0 for any that is free.
    static func start(
        on group: any EventLoopGroup,
        host: String = "127.0.0.1",
        port: Int = 0,
        _ behaviour: @escaping Behaviour
    ) async throws -> FakeUpstream {
        let host = try SocketAddress(ipAddress: host, port: port)
        for _ in 0..<20 {
            let box = NIOLockedValueBox<FakeUpstream?>(nil)
            let datagrams = try await DatagramBootstrap(group: group)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(DatagramSide(box))
                    }
                }
                .bind(to: host).get()
            guard let address = datagrams.localAddress else { continue }
            let upstream = FakeUpstream(behaviour, address: address)
            box.withLockedValue { $0 = upstream }
            let streams = try? await ServerBootstrap(group: group)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(StreamSide(upstream))
                    }
                }
                .bind(to: address).get()
            upstream.channels.withLockedValue { $0 = [datagrams] + (streams.map { [$0] } ?? []) }
            if streams != nil { return upstream }
            // The port is taken for TCP: another one.
            await upstream.stop()
        }
        throw ChannelError.operationUnsupported
    }

    func stop() async {
        for channel in channels.withLockedValue({ $0 }) { try? await channel.close() }
    }

    private func react(_ message: DNSMessage, isStream: Bool, port: Int) async -> Reaction {
        let query = Query(message: message, isStream: isStream, port: port)
        log.withLockedValue { $0.append(query) }
        return await behaviour(query)
    }

    private final class DatagramSide: ChannelInboundHandler, Sendable {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        private let upstream: NIOLockedValueBox<FakeUpstream?>

        init(_ upstream: NIOLockedValueBox<FakeUpstream?>) { self.upstream = upstream }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = unwrapInboundIn(data)
            guard let upstream = upstream.withLockedValue({ $0 }),
                let message = try? DNSMessage(decoding: envelope.data)
            else { return }
            let channel = context.channel
            let remote = envelope.remoteAddress
            Task {
                let reaction = await upstream.react(message, isStream: false, port: remote.port ?? 0)
                await Self.perform(reaction, channel, remote)
            }
        }

        private static func perform(_ reaction: Reaction, _ channel: any Channel, _ remote: SocketAddress) async {
            let octets: [UInt8]
            switch reaction {
            case .answer(let answer): octets = answer.encode()
            case .octets(let raw): octets = raw
            case .silence: return
            case .several(let reactions):
                for reaction in reactions { await perform(reaction, channel, remote) }
                return
            case .answerFromElsewhere(let answer):
                let other = try? await DatagramBootstrap(group: channel.eventLoop).bind(host: "127.0.0.1", port: 0)
                    .get()
                let data = ByteBuffer(bytes: answer.encode())
                try? await other?.writeAndFlush(AddressedEnvelope(remoteAddress: remote, data: data))
                try? await other?.close()
                return
            }
            let envelope = AddressedEnvelope(remoteAddress: remote, data: ByteBuffer(bytes: octets))
            try? await channel.writeAndFlush(envelope)
        }
    }

    private final class StreamSide: ChannelInboundHandler, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        private let upstream: FakeUpstream
        private var input = ByteBuffer()

        init(_ upstream: FakeUpstream) { self.upstream = upstream }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var octets = unwrapInboundIn(data)
            input.writeBuffer(&octets)
            guard let query = input.readLengthPrefixedSlice(as: UInt16.self),
                let message = try? DNSMessage(decoding: query)
            else { return }
            let channel = context.channel
            let upstream = upstream
            Task {
                guard case .answer(let answer) = await upstream.react(message, isStream: true, port: 0) else { return }
                var buffer = ByteBuffer()
                let octets = answer.encode()
                buffer.writeInteger(UInt16(octets.count))
                buffer.writeBytes(octets)
                try? await channel.writeAndFlush(buffer)
            }
        }
    }
}
