import DNS

/// Checks the answers to a signed request (RFC 8945 §5.4), one or a stream of them.
package struct TSIGVerifier: Sendable {
    /// Why an answer isn't to be believed.
    package enum Fault: Error, Hashable, Sendable, CustomStringConvertible {
        case malformed
        /// The first message without a signature, or more without than may be.
        case unsigned
        /// Signed with another key or algorithm.
        case otherKey
        case badSignature
        case badTime
        /// Fewer octets of the code than the key demands.
        case badTruncation
        /// The server refuses the request's signature; with BADTIME and its time, where it says so.
        case refused(UInt16, serverTime: UInt64?)

        package var description: String {
            switch self {
            case .malformed: "a malformed TSIG record"
            case .unsigned: "no signature"
            case .otherKey: "signed with another key"
            case .badSignature: "a wrong signature"
            case .badTime: "signed at another time; do the clocks agree?"
            case .badTruncation: "too short a signature"
            case .refused(let error, let time):
                switch TSIGRecord.Problem(rawValue: error) {
                case .badSignature: "the server finds our signature wrong (BADSIG)"
                case .badKey: "the server doesn't know the key (BADKEY)"
                case .badTime: "the server's clock differs (BADTIME\(time.map { ", \($0)" } ?? ""))"
                case .badTruncation: "the server finds our signature too short (BADTRUNC)"
                case .some(.none), nil: "the server refuses our signature (\(error))"
                }
            }
        }
    }

    private let key: TSIGKey
    private var before: [UInt8]
    private var pending: [UInt8] = []
    private var unsignedCount = 0
    private var isFirst = true

    /// Whether all that was read so far is covered by signatures: a stream must end so.
    package var isComplete: Bool { !isFirst && unsignedCount == 0 }

    /// - Parameter requestCode: `TSIGSigner.lastCode` of the request.
    package init(key: TSIGKey, requestCode: [UInt8]) {
        self.key = key
        before = requestCode
    }

    /// Checks the next message.
    ///
    /// A message of a stream that has no signature itself is believed only once `isComplete` is true again.
    ///
    /// - Returns: the message without its signature.
    package mutating func verify(_ octets: [UInt8], now: UInt64) throws(Fault) -> [UInt8] {
        let split: TSIGMessage?
        do {
            split = try TSIGMessage.split(octets)
        } catch {
            throw .malformed
        }
        guard let message = split else {
            guard !isFirst, unsignedCount < TSIGSigner.maximumUnsigned else { throw .unsigned }
            unsignedCount += 1
            pending += octets
            return octets
        }
        let record = message.record
        guard record.keyName == key.name, record.algorithmName == key.algorithm.name else { throw .otherKey }
        if record.code.isEmpty, record.error != 0 { throw .refused(record.error, serverTime: nil) }
        guard (key.algorithm.minimumCodeLength...key.algorithm.codeLength).contains(record.code.count) else {
            throw .malformed
        }
        var signed: [UInt8] = []
        signed.append(integer: UInt16(truncatingIfNeeded: before.count))
        signed += before
        signed += pending
        signed += message.unsigned
        signed += isFirst ? record.variables : record.timers
        guard record.isRight(key.code(of: signed)) else { throw .badSignature }
        // Signed: the server's word counts, whatever its clock says.
        guard record.error == 0 else { throw .refused(record.error, serverTime: record.serverTime) }
        guard record.isTimely(now) else { throw .badTime }
        guard record.code.count >= key.codeLength else { throw .badTruncation }
        before = record.code
        pending = []
        unsignedCount = 0
        isFirst = false
        return message.unsigned
    }
}
