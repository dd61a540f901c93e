import CZlib
import NIOCore

/// COMPRESS=DEFLATE (RFC 4978) on a connection: what the session writes is deflated, what arrives is inflated. However much the
/// peer's octets become, no more of it is made than the session has asked for. Belongs to its channel's event loop.
final class CompressionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Fault: Error {
        /// zlib has no memory.
        case noMemory
        /// What the client sends isn't DEFLATE.
        case malformed
    }

    private let inflater = ZlibStream()
    private let deflater = ZlibStream()
    /// What has arrived and is still to be inflated.
    private var compressed = ByteBuffer()
    /// Whether zlib may hold back inflated octets.
    private var isFull = false
    private var isScheduled = false
    private var hasInputClosed = false
    /// Whether the client has ended its stream: what comes behind it counts only where the session ends the compression too.
    private var hasStreamEnded = false
    private var behind = ByteBuffer()
    /// Whether the client has closed its side.
    private var isClosed = false
    /// Whether the next flush ends what is sent compressed.
    private var isEnding = false
    private var hasSaidEnd = false
    private var isRemoved = false
    /// Whether something was deflated and not flushed.
    private var isDirty = false
    /// Of writes all of which zlib still has: the next piece that it gives out carries them.
    private var unsent: [EventLoopPromise<Void>] = []

    /// What is kept of what comes behind the client's stream. Octets.
    private static let maximumBehind = 256 * 1024
    /// What zlib gives out at once. Octets.
    private static let chunk = 32 * 1024
    /// 8 KiB of window and 64 KiB of hashes: a session takes 100 KiB for what it sends, and 40 for what it receives.
    private static let windowBits: CInt = -13
    private static let memoryLevel: CInt = 7

    init() throws(Fault) {
        let size = CInt(MemoryLayout<z_stream>.size)
        guard inflateInit2_(inflater.pointer, -15, ZLIB_VERSION, size) == Z_OK else { throw .noMemory }
        inflater.end = { inflateEnd($0) }
        let status = deflateInit2_(
            deflater.pointer,
            Z_DEFAULT_COMPRESSION,
            Z_DEFLATED,
            Self.windowBits,
            Self.memoryLevel,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            size
        )
        guard status == Z_OK else { throw .noMemory }
        deflater.end = { deflateEnd($0) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        isRemoved = true
        for promise in unsent { promise.fail(ChannelError.ioOnClosedChannel) }
        unsent = []
    }

    // MARK: Inflating

    private var hasMore: Bool { isFull || compressed.readableBytes > 0 }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let octets = unwrapInboundIn(data)
        guard !hasStreamEnded else {
            if behind.readableBytes < Self.maximumBehind { behind.writeImmutableBuffer(octets) }
            return
        }
        if compressed.readableBytes == 0 { compressed = octets } else { compressed.writeImmutableBuffer(octets) }
        // One piece; the rest when the session wants it.
        if !isScheduled { emit(context) }
    }

    func read(context: ChannelHandlerContext) {
        guard hasMore else { return context.read() }
        // Never within the call: the session asks before it begins to wait.
        guard !isScheduled else { return }
        isScheduled = true
        context.eventLoop.assumeIsolated().execute { [self] in
            isScheduled = false
            guard !isRemoved else { return }
            emit(context)
            context.fireChannelReadComplete()
            // As the channel does after each piece.
            if !isRemoved { context.channel.read() }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            isClosed = true
            if hasMore { hasInputClosed = true } else { endInput(context) }
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    /// Says once that nothing more comes.
    private func endInput(_ context: ChannelHandlerContext) {
        hasInputClosed = false
        guard !hasSaidEnd else { return }
        hasSaidEnd = true
        context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    }

    private func emit(_ context: ChannelHandlerContext) {
        guard hasMore else { return }
        var inflated = ByteBuffer()
        let status = run(inflater, &compressed, into: &inflated) { inflate($0, Z_SYNC_FLUSH) }
        isFull = inflater.pointer.pointee.avail_out == 0
        // The client says no more (RFC 1951 §3.2.3, BFINAL), which is as if it had closed its side.
        if status == Z_STREAM_END {
            hasStreamEnded = true
            hasInputClosed = true
            behind = compressed
            compressed = ByteBuffer()
            isFull = false
        }
        // Nothing to do is no error.
        guard status == Z_OK || status == Z_BUF_ERROR || status == Z_STREAM_END else {
            compressed.clear()
            isFull = false
            context.fireErrorCaught(Fault.malformed)
            return
        }
        if compressed.readableBytes == 0 { compressed = ByteBuffer() }
        if inflated.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(inflated)) }
        if !hasMore, hasInputClosed { endInput(context) }
    }

    /// One call of zlib with the input that there is and room for a chunk. What it gives out is copied: it may be a few octets,
    /// and wait for the peer in a buffer that has no room to spare.
    private func run(
        _ stream: ZlibStream,
        _ input: inout ByteBuffer,
        into output: inout ByteBuffer,
        _ call: (UnsafeMutablePointer<z_stream>) -> CInt
    ) -> CInt {
        var status = Z_OK
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.chunk) { target in
            input.readWithUnsafeMutableReadableBytes { source in
                stream.pointer.pointee.next_in = source.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointer.pointee.avail_in = UInt32(clamping: source.count)
                stream.pointer.pointee.next_out = target.baseAddress
                stream.pointer.pointee.avail_out = UInt32(Self.chunk)
                status = call(stream.pointer)
                return source.count - Int(stream.pointer.pointee.avail_in)
            }
            let count = Self.chunk - Int(stream.pointer.pointee.avail_out)
            output.writeBytes(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: target[..<count])))
        }
        return status
    }

    // MARK: Deflating

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var octets = unwrapOutboundIn(data)
        if octets.readableBytes > 0 { isDirty = true }
        let deflated = deflated(&octets, flush: Z_NO_FLUSH)
        if let promise { unsent.append(promise) }
        pass(deflated, context)
    }

    /// Writes what zlib has given out, if anything: what waits for a peer that reads nothing takes no more than it's long.
    private func pass(_ deflated: ByteBuffer, _ context: ChannelHandlerContext) {
        guard deflated.readableBytes > 0 || !isDirty else { return }
        let promises = unsent
        unsent = []
        for promise in promises.dropFirst() { promises[0].futureResult.cascade(to: promise) }
        if deflated.readableBytes > 0 {
            context.write(wrapOutboundOut(deflated), promise: promises.first)
        } else {
            promises.first?.succeed(())
        }
    }

    /// The next flush is the last one: it ends the stream, together with what was written before it.
    func endAtFlush() { isEnding = true }

    /// Takes what has arrived and isn't inflated, once the session has ended the compression; and whether nothing more can come.
    func takeRest() -> (octets: ByteBuffer, isClosed: Bool) {
        defer { (compressed, behind) = (ByteBuffer(), ByteBuffer()) }
        return (hasStreamEnded ? behind : compressed, isClosed)
    }

    func flush(context: ChannelHandlerContext) {
        if isDirty {
            isDirty = false
            var nothing = ByteBuffer()
            pass(deflated(&nothing, flush: isEnding ? Z_FINISH : Z_SYNC_FLUSH), context)
        }
        context.flush()
    }

    private func deflated(_ octets: inout ByteBuffer, flush: CInt) -> ByteBuffer {
        var output = ByteBuffer()
        repeat {
            // With room and valid states, DEFLATE can't fail.
            _ = run(deflater, &octets, into: &output) { deflate($0, flush) }
        } while octets.readableBytes > 0 || deflater.pointer.pointee.avail_out == 0
        return output
    }
}

/// zlib's state, which points back at itself and so must stay where it is.
private final class ZlibStream {
    let pointer: UnsafeMutablePointer<z_stream>
    /// Frees what zlib has in it.
    var end: ((UnsafeMutablePointer<z_stream>) -> CInt)?

    init() {
        pointer = .allocate(capacity: 1)
        pointer.initialize(to: z_stream())
    }

    deinit {
        _ = end?(pointer)
        pointer.deallocate()
    }
}
