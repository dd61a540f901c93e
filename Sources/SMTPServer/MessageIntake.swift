import Bus
import NIOCore
import Network
import SMTP

/// Streams one message from a client to queue-manager: holds back its first octets until the header is known, then
/// passes on what comes.
struct MessageIntake {
    /// Why a message is not accepted.
    enum Fault: Equatable {
        case bareLineEnd
        case tooLarge
        case tooManyHops
        case lineTooLong
        /// queue-manager is gone; the reason.
        case queueLost(String)
    }

    /// What a part of a message holds at most (docs/protocols.md), and how much is held back. Octets.
    private static let chunk = 64 * 1024
    /// Smaller slices are joined, so that many small packets do not become as many frames. Octets.
    private static let worthItsOwnFrame = 16 * 1024

    private let limits: SessionLimits
    private let queue: QueueConnection
    private let envelope: Frame
    /// Makes what stands before the message, once as much of its header as is held was seen.
    private let prefix: (HeaderScanner) -> ByteBuffer

    private var decoder = DataDecoder()
    private var header = HeaderScanner()
    private var held = ByteBuffer()
    private var isSubmitted = false

    /// Octets of the message so far, without what is added.
    private(set) var octets = 0
    /// The first thing that was wrong.
    private(set) var fault: Fault?
    /// What queue-manager said before it closed the connection within the message.
    private(set) var earlyReply: Frame?

    init(
        queue: QueueConnection,
        envelope: Frame,
        limits: SessionLimits,
        prefix: @escaping (HeaderScanner) -> ByteBuffer
    ) {
        self.queue = queue
        self.envelope = envelope
        self.limits = limits
        self.prefix = prefix
    }

    /// Whether the client sends so much more than is allowed that nothing but the end of the connection stops it.
    var isHopeless: Bool { octets / 2 > max(limits.message, 1024 * 1024) }

    /// Takes what is there of the message off the connection's input; true at the end of the message.
    ///
    /// More may arrive while queue-manager is waited for, so the input is never held over a wait.
    mutating func take(from connection: Connection) async -> Bool {
        while let event = decoder.next(&connection.input) {
            guard case .octets(let slice) = event else {
                check()
                if fault == nil { await finish() }
                return true
            }
            octets += slice.readableBytes
            header.scan(slice)
            check()
            if fault == nil { await pass(slice) }
        }
        check()
        return false
    }

    private mutating func check() {
        guard fault == nil else { return }
        if decoder.hasBareLineEnd {
            fault = .bareLineEnd
        } else if octets > limits.message {
            fault = .tooLarge
        } else if header.hops > limits.hops {
            fault = .tooManyHops
        } else if limits.textLine > 0, decoder.longestLine > limits.textLine {
            fault = .lineTooLong
        }
        // What is refused at its end need not wait there in queue-manager.
        if fault != nil {
            queue.abort()
            held = ByteBuffer()
        }
    }

    private mutating func pass(_ slice: ByteBuffer) async {
        if held.readableBytes + slice.readableBytes > Self.chunk { await send() }
        guard fault == nil else { return }
        var rest = slice
        if isSubmitted, held.readableBytes == 0 {
            while rest.readableBytes >= Self.worthItsOwnFrame,
                let part = rest.readSlice(length: min(rest.readableBytes, Self.chunk))
            {
                queue.data(slice: part)
            }
            if rest.readableBytes < slice.readableBytes { await flush() }
        }
        while rest.readableBytes > 0, let part = rest.readSlice(length: min(rest.readableBytes, Self.chunk)) {
            if held.readableBytes + part.readableBytes > Self.chunk { await send() }
            held.writeImmutableBuffer(part)
        }
    }

    /// Sends what is held as a part of the message.
    private mutating func send() async {
        guard fault == nil, held.readableBytes > 0 else { return }
        if !isSubmitted {
            isSubmitted = true
            queue.submit(envelope)
            queue.data(prefix(header))
        }
        queue.data(held)
        held.clear()
        await flush()
    }

    private mutating func flush() async {
        do throws(QueueError) {
            try await queue.flush()
        } catch {
            lose(error)
        }
    }

    private mutating func finish() async {
        if isSubmitted {
            await send()
            queue.end()
        } else {
            queue.submit(envelope, message: (prefix(header), held))
        }
        if fault == nil { await flush() }
    }

    /// Waits for what queue-manager says about the whole message.
    mutating func reply() async -> Frame? {
        do throws(QueueError) {
            return try await queue.reply()
        } catch {
            lose(error)
            return nil
        }
    }

    private mutating func lose(_ error: QueueError) {
        earlyReply = queue.earlyReply()
        queue.abort()
        held = ByteBuffer()
        if fault == nil { fault = .queueLost("\(error)") }
    }
}
