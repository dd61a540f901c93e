import Files

#if canImport(Glibc)
import Glibc
#endif

/// Why something on disk could not be done.
package enum MailboxError: Error, Equatable {
    /// There is no such folder or message (any more).
    case notFound
    /// The folder that was open is gone: deleted by another session, which may have made one of that name since; or its UIDs
    /// were given anew, under another UIDVALIDITY, and those that were known may be other messages'. Nothing more can be done
    /// with this `MailFolder`; a session that has it selected must end or have none selected (RFC 2180 §3.3). A folder that
    /// was only renamed stays open.
    case vanished
    /// A folder of that name is there already.
    case exists
    /// Not a name that a folder or mailbox may have.
    case invalidName
    /// The disk is full, or the system's quota is.
    case noSpace
    /// The mailbox has as much in it as it may have.
    case overQuota
    /// The user may not do that with the folder (RFC 4314).
    case noPermission
    /// Another POP3 session has the mailbox.
    case locked
    /// Another session, delivery or program has it locked right now: try again shortly (`BusyWait`).
    case busy
    /// This format can't do that (an mbox has no folders).
    case unsupported
    /// A file is not what it should be; which and why.
    case corrupt(String)
    /// The last step failed, so it's unknown whether what was written will persist: the operation and its errno. The message
    /// may be there in full; a retry must check first.
    case uncertain(String, CInt)
    /// Any other failure: the operation and its errno.
    case system(String, CInt)

    init(_ error: FileError) {
        switch error.code {
        case ENOENT: self = .notFound
        case EEXIST, ENOTEMPTY: self = .exists
        case ENOSPC, EDQUOT: self = .noSpace
        default: self = .system(error.operation, error.code)
        }
    }

    /// Whether what is there can be read all the same: nothing can be written, for want of space or of leave to.
    var leavesReading: Bool {
        switch self {
        case .noSpace: true
        case .system(_, let code): code == EROFS
        case .notFound, .vanished, .exists, .invalidName, .overQuota, .noPermission, .locked, .busy, .unsupported,
            .corrupt,
            .uncertain:
            false
        }
    }

    /// The same failure where what was done before it may persist.
    var asUncertain: MailboxError {
        switch self {
        case .system(let operation, let code): .uncertain(operation, code)
        case .notFound: .uncertain("sync", ENOENT)
        case .noSpace: .uncertain("sync", ENOSPC)
        case .vanished, .exists, .invalidName, .overQuota, .noPermission, .locked, .busy, .unsupported, .corrupt,
            .uncertain:
            self
        }
    }
}

extension MailboxError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notFound: return "not found"
        case .vanished: return "the folder is gone"
        case .exists: return "exists already"
        case .invalidName: return "invalid name"
        case .noSpace: return "no space left"
        case .overQuota: return "over quota"
        case .noPermission: return "not allowed"
        case .locked: return "locked"
        case .busy: return "in use by another program"
        case .unsupported: return "not possible with this mailbox format"
        case .corrupt(let what): return what
        case .system(let operation, let code), .uncertain(let operation, let code):
            return "\(operation): \(String(cString: strerror(code)))"
        }
    }
}
