import Cryptography
import DNS

/// A way to make message authentication codes for DNS messages (RFC 8945 §6).
package enum TSIGAlgorithm: String, CaseIterable, Hashable, Sendable {
    case hmacSHA256 = "hmac-sha256"
    case hmacSHA384 = "hmac-sha384"
    case hmacSHA512 = "hmac-sha512"

    /// The algorithm that a TSIG record names; nil for one that we don't have.
    package init?(name: DomainName) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }

    /// What TSIG records call it.
    package var name: DomainName {
        // One label of letters, which is always a name.
        (try? DomainName(labels: [Array(rawValue.utf8)])) ?? .root
    }

    var function: HashFunction {
        switch self {
        case .hmacSHA256: .sha256
        case .hmacSHA384: .sha384
        case .hmacSHA512: .sha512
        }
    }

    /// The octets of a whole code.
    package var codeLength: Int { function.digestLength }

    /// The fewest octets of a code that anybody may accept (RFC 8945 §5.2.2.1).
    package var minimumCodeLength: Int { max(10, codeLength / 2) }
}
