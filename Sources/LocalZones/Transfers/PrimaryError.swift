import DNS
import Network
import TSIG
import ZoneTransfer

/// Why a primary was of no use.
enum PrimaryError: Error, CustomStringConvertible {
    case connection(ConnectionError)
    case malformed(MessageError)
    case signature(TSIGVerifier.Fault)
    /// The key that was named for it is gone: it isn't asked without.
    case key(MissingTSIGKey)
    case transfer(TransferError)
    /// It answers, but isn't an authority for the zone.
    case notAuthoritative
    /// It has a version before ours.
    case older(SerialNumber)
    /// Its differences aren't those of our version.
    case misfit(VersionMismatch)
    /// What it sent is no zone.
    case invalid(MasterFileError)

    var description: String {
        switch self {
        case .connection(.timedOut): "timed out"
        case .connection(.closed): "closed the connection"
        case .connection(.failed(let reason)): reason
        case .connection(let error): "\(error)"
        case .malformed(let error): "a malformed message (\(error))"
        case .signature(let fault): "\(fault)"
        case .key(let error): "\(error)"
        case .transfer(let error): "\(error)"
        case .notAuthoritative: "it is no authority for the zone"
        case .older(let serial): "it has an older version, \(serial)"
        case .misfit(let error): "its differences are wrong: \(error)"
        case .invalid(let error): "what it sent is no zone: \(error.reason)"
        }
    }

    /// Whether the whole zone may be had where differences weren't.
    var isWorthFullTransfer: Bool {
        switch self {
        case .transfer(.tooLarge), .connection, .signature, .key, .notAuthoritative, .older: false
        case .transfer, .malformed, .misfit, .invalid: true
        }
    }
}
