/// Why a connection can't be used any more. Every case is final for the connection except `lineTooLong`.
package enum ConnectionError: Error, Equatable {
    /// The peer closed the connection, or we did.
    case closed
    /// Nothing arrived, or nothing could be sent, for the idle time; or the deadline passed.
    case timedOut
    /// A line was longer than allowed; the whole line was read and thrown away.
    case lineTooLong
    /// The process is about to end; there is time for a last reply.
    case shuttingDown
    /// There are too many connections, and others have more to lose; there is time for a last reply.
    case dismissed
    /// The TLS handshake or a record failed; the reason.
    case tls(String)
    /// Connecting, reading or writing failed; the system's reason.
    case failed(String)
    /// The local address that a connection should come from can't be used for it; the system's reason.
    case badSource(String)
}

extension ConnectionError {
    /// What happened, in words about the server at the other end.
    package var reason: String {
        switch self {
        case .tls(let reason), .failed(let reason), .badSource(let reason): reason
        case .timedOut: "it did not answer in time"
        case .closed, .lineTooLong, .shuttingDown, .dismissed: "it closed the connection"
        }
    }
}
