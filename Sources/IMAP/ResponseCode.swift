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
    /// RFC 4315; a set of UIDs as text where several messages were added (RFC 3502).
    case appendUID(validity: UInt32, uids: String)
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
    /// RFC 3516 §4.3
    case unknownCTE
    /// RFC 4469 §4: the URL that can't be read.
    case badURL([UInt8])
    /// RFC 5182 §2.1
    case notSaved
    /// RFC 4978 §3
    case compressionActive
    /// RFC 5530
    case noPermission
    case clientBug
    /// RFC 6154 §3
    case useAttribute
    /// RFC 9585 §3: the command's tag; how far it is, and how far it will be.
    case inProgress(tag: String, done: Int, of: Int)
    /// RFC 9738 §3.1: how many messages a command may be about; the lowest UID of those that it was about.
    case messageLimit(Int, lowest: UInt32?)
    /// RFC 5464 §4.2.1: octets of the largest value that wasn't told.
    case longEntries(Int)
    /// RFC 5464 §4.3: octets that a value may have; there are too many annotations.
    case metadataMaximumSize(Int)
    case metadataTooMany
    /// RFC 9586 §3.2
    case uidRequired
    /// RFC 8474 §4
    case mailboxID(String)
    /// RFC 7162 §3.1.2
    case highestModSequence(UInt64)
    case noModSequence
    /// RFC 7162 §3.1.3: a set of message numbers or UIDs as text.
    case modified(String)

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
        case .appendUID(let validity, let uids): "APPENDUID \(validity) \(uids)"
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
        case .unknownCTE: "UNKNOWN-CTE"
        case .badURL(let url): "BADURL \"" + Self.quoted(url) + "\""
        case .notSaved: "NOTSAVED"
        case .compressionActive: "COMPRESSIONACTIVE"
        case .noPermission: "NOPERM"
        case .clientBug: "CLIENTBUG"
        case .useAttribute: "USEATTR"
        case .inProgress(let tag, let done, let all): "INPROGRESS (\"\(tag)\" \(done) \(all))"
        case .messageLimit(let limit, let lowest): "MESSAGELIMIT \(limit)" + (lowest.map { " \($0)" } ?? "")
        case .longEntries(let octets): "METADATA LONGENTRIES \(octets)"
        case .metadataMaximumSize(let octets): "METADATA MAXSIZE \(octets)"
        case .metadataTooMany: "METADATA TOOMANY"
        case .uidRequired: "UIDREQUIRED"
        case .mailboxID(let identifier): "MAILBOXID (\(identifier))"
        case .highestModSequence(let sequence): "HIGHESTMODSEQ \(sequence)"
        case .noModSequence: "NOMODSEQ"
        case .modified(let set): "MODIFIED \(set)"
        }
    }

    /// What may stand between quotes in a code, which goes on a line.
    private static func quoted(_ octets: [UInt8]) -> String {
        String(
            decoding: octets.filter { (0x21...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C && $0 != 0x5D },
            as: UTF8.self
        )
    }
}
