import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// Files in authd's own directory, which root reads too: only regular ones, and no links that lead elsewhere.
enum StateFile {
    /// The file's octets, or nil with `errno`; what is no regular file is EINVAL, a link ELOOP, more than the maximum EFBIG.
    static func octets(_ path: String, maximum: Int) -> [UInt8]? {
        // A pipe would keep whoever opens it waiting.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            errno = EINVAL
            return nil
        }
        let octets = WholeFile.octets(of: descriptor, maximum: maximum)
        let code = errno
        close(descriptor)
        errno = code
        return octets
    }
}
