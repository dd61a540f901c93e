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
    /// The last step failed, and nobody knows whether what was written stays: the operation and its errno. A message may
    /// be there, whole; who delivers it again looks first.
    case uncertain(String, CInt)
    /// Any other failure: the operation and its errno.
    case system(String, CInt)

    /// The last failed system call.
    static func last(_ operation: String) -> MailboxError { of(errno, operation) }

    /// The same failure, after something was done that may stay.
    var afterwards: MailboxError {
        switch self {
        case .system(let operation, let code): .uncertain(operation, code)
        case .notFound: .uncertain("sync", ENOENT)
        case .noSpace: .uncertain("sync", ENOSPC)
        case .exists, .invalidName, .overQuota, .locked, .unsupported, .corrupt, .uncertain: self
        }
    }

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
        case .system(let operation, let code), .uncertain(let operation, let code):
            return "\(operation): \(String(cString: strerror(code)))"
        }
    }
}
