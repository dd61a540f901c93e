import Files

#if canImport(Glibc)
import Glibc
#endif

/// Why the spool did not do what it was asked.
package enum SpoolError: Error, Equatable, CustomStringConvertible {
    /// No space, or no more files (ENOSPC, EDQUOT, or less free than the reserve).
    case full
    /// A system call failed: what was tried, and errno. Nothing is known of what was asked for.
    case failed(String, code: Int32)
    /// A file is not what was written: the reason.
    case corrupt(String)
    /// There is no such message.
    case missing
    /// The journal failed before: nothing can be promised until the daemon has started again.
    case broken
    /// Another process owns the spool: who.
    case owned(String)
    /// A later Martlet has written the spool: its format. Nothing was touched.
    case newer(Int)

    /// What a failed call means for the spool.
    init(_ error: FileError) {
        if error.isFull {
            self = .full
        } else if error.isMissing {
            self = .missing
        } else {
            self = .failed(error.operation, code: error.code)
        }
    }

    /// For log lines.
    package var description: String {
        switch self {
        case .full: "no space in the spool"
        case .failed(let what, let code): "\(what): \(String(cString: strerror(code)))"
        case .corrupt(let reason): "corrupt: \(reason)"
        case .missing: "no such message"
        case .broken: "the journal failed"
        case .owned(let owner): "the spool is in use by \(owner)"
        case .newer(let format):
            "the spool has format \(format), and this version of Martlet knows up to \(SpoolVersion.current): "
                + "it was left as it is; start the version that wrote it"
        }
    }
}
