import DNS

/// Signs messages of one conversation: a request, or the answers to a request, of which there may be many in a stream
/// (RFC 8945 §5.1, §5.3).
package struct TSIGSigner: Sendable {
    /// Who signed the request, or is to sign; nil where the request's signature counted for nothing.
    package var signer: DomainName? { key?.name }

    private let key: TSIGKey?
    private let keyName: DomainName
    private let algorithmName: DomainName
    private let problem: TSIGRecord.Problem
    /// Given back with BADTIME instead of our own time (RFC 8945 §5.2.3).
    private let requestTime: UInt64?
    private let serverTime: UInt64
    /// The code of the message before, which the next one's covers.
    private var before: [UInt8]
    /// Messages that went out without a code since.
    private var pending: [UInt8] = []
    private var unsignedCount = 0
    private var isFirst = true
    private let answers: Bool

    /// Signs a request.
    package init(requestWith key: TSIGKey) {
        self.key = key
        keyName = key.name
        algorithmName = key.algorithm.name
        problem = .none
        requestTime = nil
        serverTime = 0
        before = []
        answers = false
    }

    /// Signs the answers to a request whose signature was right.
    init(answering request: TSIGRecord, key: TSIGKey) {
        self.key = key
        keyName = request.keyName
        algorithmName = request.algorithmName
        problem = .none
        requestTime = nil
        serverTime = 0
        before = request.code
        answers = true
    }

    /// Answers a request whose signature was wrong; without a code where there is no key to trust.
    init(refusing request: TSIGRecord, _ problem: TSIGRecord.Problem, key: TSIGKey? = nil, now: UInt64 = 0) {
        self.key = key
        keyName = request.keyName
        algorithmName = request.algorithmName
        self.problem = problem
        requestTime = problem == .badTime || key == nil ? request.timeSigned : nil
        serverTime = now
        before = request.code
        answers = true
    }

    /// The most octets that signing adds to a message.
    package var overhead: Int {
        var record = TSIGRecord(key: keyName, algorithm: algorithmName, time: 0, originalID: 0)
        record.code = [UInt8](repeating: 0, count: key?.codeLength ?? 0)
        record.otherData = [UInt8](repeating: 0, count: 6)
        return record.wire.count
    }

    /// The code of the last message that was signed. A request's is what its answers' cover.
    package var lastCode: [UInt8] { before }

    /// The message with a signature.
    ///
    /// - Parameter now: seconds since 1970.
    package mutating func sign(_ message: [UInt8], now: UInt64) -> [UInt8] {
        let id = TSIGMessage.id(message)
        var record = TSIGRecord(key: keyName, algorithm: algorithmName, time: requestTime ?? now, originalID: id)
        record.error = problem.rawValue
        if problem == .badTime { record.otherData.append(time: serverTime & TSIGRecord.maximumTime) }
        if let key {
            var octets: [UInt8] = []
            if answers || !isFirst {
                octets.append(integer: UInt16(truncatingIfNeeded: before.count))
                octets += before
            }
            octets += pending
            octets += message
            octets += isFirst ? record.variables : record.timers
            record.code = Array(key.code(of: octets).prefix(key.codeLength))
        }
        before = record.code
        pending = []
        unsignedCount = 0
        isFirst = false
        return TSIGMessage.join(message, record)
    }

    /// How many messages may stand between two that are signed (RFC 8945 §5.3.1).
    package static let maximumUnsigned = 99

    /// The next message of a stream: signed where it's the first, the last, or every so many; as it is otherwise, and then
    /// covered by the next signature.
    package mutating func signInStream(_ message: [UInt8], isLast: Bool, every interval: Int = 1, now: UInt64)
        -> [UInt8]
    {
        guard !isFirst, !isLast, unsignedCount + 1 < min(interval, Self.maximumUnsigned + 1), key != nil else {
            return sign(message, now: now)
        }
        unsignedCount += 1
        pending += message
        return message
    }
}
