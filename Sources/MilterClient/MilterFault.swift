import Milter
import Network

/// Why a milter is of no use now.
package enum MilterFault: Error, Equatable, Sendable {
    /// Nobody takes the connection, or it broke; the reason.
    case unreachable(String)
    case timedOut
    /// It breaks the protocol.
    case misbehaving(MilterProtocolError)
    /// What it wants can't be done; the reason.
    case impossible(String)

    init(_ error: ConnectionError) { self = error == .timedOut ? .timedOut : .unreachable(error.reason) }

    /// For the log.
    package var text: String {
        switch self {
        case .unreachable(let reason), .impossible(let reason): reason
        case .timedOut: "it did not answer in time"
        case .misbehaving(let error): error.text
        }
    }
}
