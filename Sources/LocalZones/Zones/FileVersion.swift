#if canImport(Glibc)
import Glibc
#endif

/// What tells whether a file has changed.
struct FileVersion: Equatable, Sendable {
    private var inode: UInt
    private var octets: Int
    private(set) var modified: Int
    private var modifiedNanoseconds: Int
    /// Of its owner and mode too.
    private var changed: Int
    private var changedNanoseconds: Int

    /// How a file is now; nil where it can't be looked at.
    init?(of name: String, in directory: CInt) {
        var status = stat()
        guard fstatat(directory, name, &status, 0) == 0 else { return nil }
        inode = status.st_ino
        octets = status.st_size
        modified = status.st_mtim.tv_sec
        modifiedNanoseconds = status.st_mtim.tv_nsec
        changed = status.st_ctim.tv_sec
        changedNanoseconds = status.st_ctim.tv_nsec
    }
}
