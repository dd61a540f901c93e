import NIOCore
import Network
import SMTP
import Submission

/// Passes one message from a client on to queue-manager as it comes, and watches its header and its limits.
struct MessageIntake {
    /// Why a message is not accepted.
    enum Fault: Equatable {
        case bareLineEnd
        case tooLarge
        case tooManyHops
        case lineTooLong
    }

    private let limits: SessionLimits
    private let submission: MessageSubmission
    private var decoder = DataDecoder()

    /// What was seen of the message's header: all of it at the message's end.
    private(set) var header = HeaderScanner()
    /// Octets of the message so far, without what is added.
    private(set) var octets = 0
    /// The first thing that was wrong.
    private(set) var fault: Fault?

    init(_ submission: MessageSubmission, limits: SessionLimits) {
        self.submission = submission
        self.limits = limits
    }

    /// Whether the client sends so much more than is allowed that nothing but the end of the connection stops it.
    var isHopeless: Bool { octets / 2 > max(limits.message, 1024 * 1024) }

    /// Takes what has arrived of the message off the connection's input; true at the end of the message.
    ///
    /// More may arrive while queue-manager is waited for, so the input is never held over a wait.
    mutating func advance(over connection: Connection) async -> Bool {
        while let event = decoder.next(&connection.input) {
            guard case .octets(let slice) = event else {
                check()
                return true
            }
            octets += slice.readableBytes
            if !header.isComplete { header.scan(slice) }
            check()
            if fault == nil { await submission.append(slice) }
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
        if fault != nil { submission.abort() }
    }
}
