#if canImport(Glibc)
import Glibc
#endif

/// A call that failed: what was tried, and the system's reason.
package struct FileError: Error, Hashable, CustomStringConvertible {
    package let operation: String
    /// errno.
    package let code: CInt

    package init(_ operation: String, code: CInt) {
        self.operation = operation
        self.code = code
    }

    /// The call that just failed.
    static func last(_ operation: @autoclosure () -> String) -> FileError {
        let code = errno
        return FileError(operation(), code: code)
    }

    /// There is nothing of that name. The only error that says so: after any other, nothing is known.
    package var isMissing: Bool { code == ENOENT }
    /// Something has that name already.
    package var isExisting: Bool { code == EEXIST || code == ENOTEMPTY }
    /// No space, no more files, or the system's quota is used up.
    package var isFull: Bool { code == ENOSPC || code == EDQUOT || code == EFBIG }

    package var description: String { "\(operation): \(String(cString: strerror(code)))" }
}

extension FileError {
    /// EFBIG.
    package static let tooLarge = EFBIG
}
