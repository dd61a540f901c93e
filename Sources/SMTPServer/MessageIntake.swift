import NIOCore
import Network
import Policy
import SMTP
import Submission

/// Streams one message from a client to queue-manager, scans its header and enforces the limits.
struct MessageIntake {
    /// Why a message is not accepted.
    enum Fault: Equatable {
        case bareLineEnd
        case tooLarge
        case tooManyHops
        case lineTooLong
        /// Nobody can look through it.
        case headerTooLong
    }

    private let limits: SessionLimits
    private let submission: MessageSubmission
    /// For messages of strangers.
    let authentication: MessageAuthentication?
    private var decoder = DataDecoder()
    /// Looks at what comes in chunks; nil where the message is binary: its lines are none of SMTP's.
    private var chunks: ChunkScanner?

    /// What is known of the message's header; complete at the end of the message.
    private(set) var header = HeaderScanner()
    /// Octets of the message so far, without what is added.
    private(set) var octets = 0
    /// The first thing that was wrong.
    private(set) var fault: Fault?

    init(
        _ submission: MessageSubmission,
        _ authentication: MessageAuthentication?,
        limits: SessionLimits,
        isBinary: Bool = false
    ) {
        self.submission = submission
        self.authentication = authentication
        self.limits = limits
        chunks = isBinary ? nil : ChunkScanner()
    }

    /// Whether the message is so far over the limit that the connection is closed instead of reading to the message's end.
    var shouldDisconnect: Bool { octets / 2 > max(limits.message, 1024 * 1024) }

    /// Whether some would say that the message did not end there.
    var isEndDoubtful: Bool { decoder.isEndDoubtful }

    /// Takes what has arrived of the message off the connection's input; true at the end of the message.
    ///
    /// More may arrive while queue-manager is waited for, so the input is never held over a wait.
    mutating func advance(over connection: Connection) async -> Bool {
        while let event = decoder.next(&connection.input) {
            guard case .octets(let slice) = event else {
                check()
                await pass(authentication?.end())
                return true
            }
            await take(slice)
        }
        check()
        return false
    }

    /// Takes octets of a message that comes in chunks, of which nothing has to be undone (RFC 3030).
    mutating func append(_ slice: ByteBuffer) async {
        chunks?.scan(slice)
        await take(slice)
    }

    /// The last chunk was taken.
    mutating func finishChunks() async {
        chunks?.finish()
        check()
        await pass(authentication?.end())
    }

    private mutating func take(_ slice: ByteBuffer) async {
        octets += slice.readableBytes
        if !header.isComplete { header.scan(slice) }
        check()
        if fault == nil { await pass(authentication?.pass(slice) ?? slice) }
    }

    private func pass(_ octets: ByteBuffer?) async {
        guard fault == nil, let octets, octets.readableBytes > 0 else { return }
        await submission.append(octets)
    }

    private mutating func check() {
        guard fault == nil else { return }
        if decoder.hasBareLineEnd || chunks?.hasBareLineEnd == true {
            fault = .bareLineEnd
        } else if octets > limits.message {
            fault = .tooLarge
        } else if header.hops >= limits.hops {
            // The trace field that we add is one more.
            fault = .tooManyHops
        } else if limits.textLine > 0, max(decoder.longestLine, chunks?.longestLine ?? 0) > limits.textLine {
            fault = .lineTooLong
        } else if authentication?.isHeaderTooLong == true {
            fault = .headerTooLong
        }
        // What is refused at its end need not wait there in queue-manager.
        if fault != nil { submission.abort() }
    }
}
