#if canImport(Glibc)
import Glibc
#endif

/// Why something on disk could not be done.
package enum MailboxError: Error, Equatable {
    /// There is no such folder or message (any more).
    case notFound
    /// A folder of that name is there already.
    case exists
    /// Not a name that a folder or mailbox may have.
    case invalidName
    /// The disk is full, or the system's quota is.
    case noSpace
    /// The mailbox has as much in it as it may have.
    case overQuota
    /// Somebody else holds the lock.
    case locked
    /// This format can't do that (an mbox has no folders).
    case unsupported
    /// A file is not what it should be; which and why.
    case corrupt(String)
    /// Any other failure: the operation and its errno.
    case system(String, CInt)

    /// The last failed system call.
    static func last(_ operation: String) -> MailboxError { of(errno, operation) }

    static func of(_ code: CInt, _ operation: String) -> MailboxError {
        switch code {
        case ENOENT: return .notFound
        case EEXIST, ENOTEMPTY: return .exists
        case ENOSPC, EDQUOT: return .noSpace
        default: return .system(operation, code)
        }
    }
}

extension MailboxError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notFound: return "not found"
        case .exists: return "exists already"
        case .invalidName: return "invalid name"
        case .noSpace: return "no space left"
        case .overQuota: return "over quota"
        case .locked: return "locked"
        case .unsupported: return "not possible with this mailbox format"
        case .corrupt(let what): return what
        case .system(let operation, let code): return "\(operation): \(String(cString: strerror(code)))"
        }
    }
}
