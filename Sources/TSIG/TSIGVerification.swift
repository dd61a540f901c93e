import Cryptography
import DNS

/// What a server makes of a request's signature (RFC 8945 §5.2).
package enum TSIGVerification: Sendable {
    /// There is no TSIG record.
    case unsigned
    /// The signature holds; answers are signed with what is here.
    case signed(TSIGSigner)
    /// The answer is FORMERR without a signature.
    case malformed
    /// The answer is NOTAUTH with a TSIG record that says why, put there by what is here.
    case refused(TSIGSigner)

    /// Checks a request as it came.
    ///
    /// - Parameters:
    ///   - keys: those that count, by name.
    ///   - now: seconds since 1970.
    package static func verify(_ octets: [UInt8], keys: [DomainName: TSIGKey], now: UInt64) -> TSIGVerification {
        let split: TSIGMessage?
        do {
            split = try TSIGMessage.split(octets)
        } catch {
            return .malformed
        }
        guard let message = split else { return .unsigned }
        let record = message.record
        guard let key = keys[record.keyName], key.algorithm.name == record.algorithmName else {
            return .refused(TSIGSigner(refusing: record, .badKey))
        }
        guard (key.algorithm.minimumCodeLength...key.algorithm.codeLength).contains(record.code.count) else {
            // RFC 8945 §5.2.2.1: such a length is an error of form.
            return .malformed
        }
        guard record.isRight(key.code(of: message.unsigned + record.variables)) else {
            return .refused(TSIGSigner(refusing: record, .badSignature))
        }
        guard record.isTimely(now) else {
            return .refused(TSIGSigner(refusing: record, .badTime, key: key, now: now))
        }
        guard record.code.count >= key.codeLength else {
            return .refused(TSIGSigner(refusing: record, .badTruncation, key: key, now: now))
        }
        return .signed(TSIGSigner(answering: record, key: key))
    }
}

extension TSIGRecord {
    /// Whether the record's code is the beginning of this one, in a time that doesn't depend on where they differ.
    func isRight(_ whole: [UInt8]) -> Bool {
        code.count <= whole.count && MessageAuthentication.areEqual(code, Array(whole.prefix(code.count)))
    }

    /// Whether the record was made now, as far as clocks agree.
    func isTimely(_ now: UInt64) -> Bool {
        let distance = now > timeSigned ? now - timeSigned : timeSigned - now
        return distance <= UInt64(fudge)
    }
}
