/// The code in a status response, in brackets (RFC 3501 §7.1, RFC 5530 and the extensions named).
package enum ResponseCode: Sendable, Equatable {
    case alert
    case badCharset([String])
    case capability([String])
    case parse
    case permanentFlags([Flag])
    case readOnly
    case readWrite
    case tryCreate
    case uidNext(UInt32)
    case uidValidity(UInt32)
    case unseen(UInt32)
    /// RFC 4315
    case appendUID(validity: UInt32, uid: UInt32)
    /// RFC 4315; both are sets of UIDs as text.
    case copyUID(validity: UInt32, source: String, target: String)
    /// RFC 7888 §4
    case tooBig
    // RFC 5530
    case unavailable
    case authenticationFailed
    case privacyRequired
    case alreadyExists
    case nonexistent
    case overQuota
    case cannot
    case inUse
    case limit
    case serverBug
    case expungeIssued
    /// RFC 3691's successor in RFC 7162 §3.2.11: the former mailbox is closed.
    case closed

    /// What is between the brackets.
    package var text: String {
        switch self {
        case .alert: "ALERT"
        case .badCharset(let names): "BADCHARSET (" + names.joined(separator: " ") + ")"
        case .capability(let names): "CAPABILITY " + names.joined(separator: " ")
        case .parse: "PARSE"
        case .permanentFlags(let flags): "PERMANENTFLAGS (" + flags.map(\.name).joined(separator: " ") + ")"
        case .readOnly: "READ-ONLY"
        case .readWrite: "READ-WRITE"
        case .tryCreate: "TRYCREATE"
        case .uidNext(let uid): "UIDNEXT \(uid)"
        case .uidValidity(let validity): "UIDVALIDITY \(validity)"
        case .unseen(let number): "UNSEEN \(number)"
        case .appendUID(let validity, let uid): "APPENDUID \(validity) \(uid)"
        case .copyUID(let validity, let source, let target): "COPYUID \(validity) \(source) \(target)"
        case .tooBig: "TOOBIG"
        case .unavailable: "UNAVAILABLE"
        case .authenticationFailed: "AUTHENTICATIONFAILED"
        case .privacyRequired: "PRIVACYREQUIRED"
        case .alreadyExists: "ALREADYEXISTS"
        case .nonexistent: "NONEXISTENT"
        case .overQuota: "OVERQUOTA"
        case .cannot: "CANNOT"
        case .inUse: "INUSE"
        case .limit: "LIMIT"
        case .serverBug: "SERVERBUG"
        case .expungeIssued: "EXPUNGEISSUED"
        case .closed: "CLOSED"
        }
    }
}
