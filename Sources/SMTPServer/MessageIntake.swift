import MIME
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
        /// Milters are to look at it, and there's no memory left for it.
        case noRoom
    }

    private let limits: SessionLimits
    private let submission: MessageSubmission
    /// Keeps the message for milters, before it goes to queue-manager; nil where none look at it.
    let held: HeldMessage?
    /// For messages of strangers.
    let authentication: MessageAuthentication?
    /// Takes our own word out of the header where the author isn't checked; nil where that is done already, or where the
    /// one who sends may say it.
    private let filter: ForgedResultsFilter?
    private var decoder = DataDecoder()
    /// Looks at what comes in chunks.
    private var chunks = ChunkScanner()
    /// Whether lines are none of SMTP's, but for those of the header.
    private let isBinary: Bool
    private var binaryHeader = BinaryHeader()

    /// What rules look at; nil where none does.
    private(set) var excerpt: MessageExcerpt?
    /// What is known of the message's header; complete at the end of the message.
    private(set) var header = HeaderScanner()
    /// Octets of the message so far, without what is added.
    private(set) var octets = 0
    /// The first thing that was wrong.
    private(set) var fault: Fault?

    init(
        _ submission: MessageSubmission,
        _ authentication: MessageAuthentication?,
        filter: ForgedResultsFilter? = nil,
        held: HeldMessage? = nil,
        excerpt: MessageExcerpt? = nil,
        limits: SessionLimits,
        isBinary: Bool = false
    ) {
        self.excerpt = excerpt
        self.submission = submission
        self.held = held
        self.authentication = authentication
        self.filter = authentication == nil ? filter : nil
        self.limits = limits
        self.isBinary = isBinary
    }

    /// Whether the message is so far over the limit that the connection is closed instead of reading to the message's end.
    var shouldDisconnect: Bool { octets / 2 > max(limits.message, 1024 * 1024) }

    /// The header of a message whose author isn't checked by SPF and the like, once it has ended.
    var submittedHeader: HeaderBlock? { filter?.header }

    /// Whether some would say that the message did not end there.
    var isEndDoubtful: Bool { decoder.isEndDoubtful }

    /// Takes what has arrived of the message off the connection's input; true at the end of the message.
    ///
    /// More may arrive while queue-manager is waited for, so the input is never held over a wait.
    mutating func advance(over connection: Connection) async -> Bool {
        while let event = decoder.next(&connection.input) {
            guard case .octets(let slice) = event else {
                await passEnd()
                return true
            }
            await take(slice)
        }
        check()
        return false
    }

    /// Takes octets of a message that comes in chunks, of which nothing has to be undone (RFC 3030).
    mutating func append(_ slice: ByteBuffer) async {
        if !isBinary { chunks.scan(slice) }
        await take(slice)
    }

    /// The last chunk was taken.
    mutating func finishChunks() async {
        chunks.finish()
        await passEnd()
    }

    /// Only now may be known that the header is too long.
    private mutating func passEnd() async {
        let rest = authentication?.end() ?? filter?.end()
        check()
        await pass(rest)
        held?.finish()
        check()
    }

    private mutating func take(_ slice: ByteBuffer) async {
        octets += slice.readableBytes
        if !header.isComplete { header.scan(slice) }
        // Bare line ends in a header make fields of their own for some, whatever the body is.
        if isBinary, !header.lacksHeader, let part = binaryHeader.next(slice) { chunks.scan(part) }
        check()
        guard fault == nil else { return }
        excerpt?.append(slice.readableBytesView)
        let passed =
            authentication?.pass(slice) ?? filter?.pass(slice, isHeaderless: header.lacksHeader) ?? slice
        check()
        await pass(passed)
        if held != nil { check() }
    }

    private func pass(_ octets: ByteBuffer?) async {
        guard fault == nil, let octets, octets.readableBytes > 0 else { return }
        if let held { held.append(octets) } else { await submission.append(octets) }
    }

    private mutating func check() {
        guard fault == nil else { return }
        if decoder.hasBareLineEnd || chunks.hasBareLineEnd {
            fault = .bareLineEnd
        } else if octets > limits.message {
            fault = .tooLarge
        } else if header.hops >= limits.hops {
            // The trace field that we add is one more.
            fault = .tooManyHops
        } else if limits.textLine > 0, max(decoder.longestLine, chunks.longestLine) > limits.textLine {
            fault = .lineTooLong
        } else if authentication?.isHeaderTooLong == true || filter?.isHeaderTooLong == true {
            fault = .headerTooLong
        } else if let held, held.isCut {
            fault = .noRoom
        } else if held?.isHeaderTooLong == true {
            fault = .headerTooLong
        }
        // What is refused at its end need not wait there in queue-manager.
        if fault != nil { submission.abort() }
    }
}

/// Finds where the header of a binary message ends: at the first empty line.
private struct BinaryHeader {
    private var isOver = false
    private var isLineEmpty = true

    /// What of the next octets belongs to the header, its end included; nil once it's over.
    mutating func next(_ octets: ByteBuffer) -> ByteBuffer? {
        guard !isOver else { return nil }
        var length = 0
        for octet in octets.readableBytesView {
            length += 1
            switch octet {
            case UInt8(ascii: "\n"):
                isOver = isLineEmpty
                isLineEmpty = true
            // One that doesn't end the line is found by who looks at the lines.
            case UInt8(ascii: "\r"): break
            default: isLineEmpty = false
            }
            if isOver { break }
        }
        return octets.getSlice(at: octets.readerIndex, length: length)
    }
}
