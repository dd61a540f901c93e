import Reporting

/// Why a domain's MTA-STS policy isn't known although there is one.
enum MTASTSFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// The host of the policy can't be talked to, or has none.
    case notFetched(String)
    /// Its certificate isn't good (RFC 8461 §3.3).
    case notVerified(String)
    /// What it has is no policy.
    case invalid(String)

    var description: String {
        switch self {
        case .notFetched(let reason), .notVerified(let reason): reason
        case .invalid(let reason): "it is no policy: \(reason)"
        }
    }

    /// As reports name it (RFC 8460 §4.3.2.2).
    var reported: TLSSessionResult.Failure {
        switch self {
        case .notFetched: .stsFetch
        case .notVerified: .stsWebPKI
        case .invalid: .stsInvalid
        }
    }
}
