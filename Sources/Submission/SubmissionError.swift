import Bus

/// Why a message could not be handed to queue-manager.
package enum SubmissionError: Error, Equatable, CustomStringConvertible {
    /// Nobody listens, the connection broke, or the answer did not come in time; the reason.
    case unavailable(String)
    /// What came is not what docs/protocols.md says.
    case malformed(String)

    init(_ error: BusError) {
        switch error {
        case .unavailable(let reason): self = .unavailable(reason)
        case .timedOut: self = .unavailable("no answer in time")
        case .malformed(let reason): self = .malformed(reason)
        }
    }

    /// For logs.
    package var description: String {
        switch self {
        case .unavailable(let reason), .malformed(let reason): reason
        }
    }
}
