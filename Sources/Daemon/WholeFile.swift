#if canImport(Glibc)
import Glibc
#endif

/// Small files read at once with plain system calls, for the time before there are threads.
package enum WholeFile {
    /// The file's text, or nil with `errno`; a file larger than the maximum is EFBIG.
    package static func read(_ path: String, maximum: Int) -> String? {
        octets(path, maximum: maximum).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The file's octets, or nil with `errno`; a file larger than the maximum is EFBIG.
    package static func octets(_ path: String, maximum: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return octets(of: descriptor, maximum: maximum)
    }

    /// The file's text by `readGuarded` where it's guarded, else by `read`.
    package static func read(_ path: String, maximum: Int, isGuarded: Bool) -> String? {
        isGuarded ? readGuarded(path, maximum: maximum) : read(path, maximum: maximum)
    }

    /// The text of a file that others may have put there, or nil with `errno`: nothing but a regular file that is no link, which
    /// nobody but its owner may write; anything else is EPERM.
    package static func readGuarded(_ path: String, maximum: Int) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o022 == 0 else {
            errno = EPERM
            return nil
        }
        return octets(of: descriptor, maximum: maximum).map { String(decoding: $0, as: UTF8.self) }
    }

    /// What is left of an open file, or nil with `errno`; more than the maximum is EFBIG.
    package static func octets(of descriptor: CInt, maximum: Int) -> [UInt8]? {
        var octets: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return octets }
            octets += chunk.prefix(count)
            guard octets.count <= maximum else {
                errno = EFBIG
                return nil
            }
        }
    }
}
