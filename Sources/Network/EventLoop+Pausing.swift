import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

extension EventLoop {
    /// Waits. By the loop's own clock: `Task.sleep` goes through libdispatch, which a daemon must not wake.
    package func pause(_ time: TimeAmount) async {
        try? await scheduleTask(in: time) {}.futureResult.get()
    }

    /// Lets the loop look after all of its connections before the caller goes on: for long work, between its parts.
    /// `Task.yield` doesn't, since a loop runs all tasks that are ready, and those that these make ready, before it looks
    /// after its sockets. Waits no longer than that takes. Call on the loop.
    package func letOthersGo() async {
        assertInEventLoop()
        await LoopTurns.of(self).next()
    }
}

/// Tells when a loop has looked after its sockets: by a pair of sockets of its own. An octet is written to one of them, and the
/// loop finds it at the other when it looks.
private final class LoopTurns: ChannelInboundHandler, @unchecked Sendable {
    // Unchecked: all state belongs to the loop's thread, which debug builds check.
    typealias InboundIn = ByteBuffer

    private static let known = PerLoop { LoopTurns($0) }

    private let loop: any EventLoop
    private var channel: (any Channel)?
    private var isOpening = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    private init(_ loop: any EventLoop) { self.loop = loop }

    static func of(_ loop: any EventLoop) -> LoopTurns { known[loop] }

    func next() async {
        loop.assertInEventLoop()
        if channel == nil, !isOpening { await open() }
        // Where no sockets can be had, the shortest time after which a loop is sure to have looked is as good.
        guard let channel else { return await loop.pause(.milliseconds(1)) }
        await withCheckedContinuation { continuation in
            waiting.append(continuation)
            // One octet for all that wait.
            if waiting.count == 1 { channel.writeAndFlush(ByteBuffer(bytes: [0]), promise: nil) }
        }
    }

    /// Leaves `channel` nil where the process has no more descriptors, or the loop isn't one of the system's.
    private func open() async {
        isOpening = true
        defer { isOpening = false }
        var ends: [CInt] = [-1, -1]
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        guard let bootstrap = NIOPipeBootstrap(validatingGroup: loop), socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            return
        }
        do {
            channel = try await bootstrap.channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }.takingOwnershipOfDescriptors(input: ends[0], output: ends[1]).get()
        } catch {
            for end in ends { close(end) }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { resume() }

    func channelInactive(context: ChannelHandlerContext) {
        channel = nil
        resume()
        context.fireChannelInactive()
    }

    private func resume() {
        loop.assertInEventLoop()
        let ready = waiting
        waiting = []
        for continuation in ready { continuation.resume() }
    }
}
