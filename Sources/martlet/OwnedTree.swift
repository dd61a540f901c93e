import Files

#if canImport(Glibc)
import Glibc
#endif

/// A directory with all that is in it, which one system user has to own. Goes by descriptors and never through a symbolic
/// link, for the user who owns it may be hostile.
struct OwnedTree {
    let path: String
    let user: uid_t
    let group: gid_t

    /// What was found.
    struct Result {
        /// The first that belongs to somebody else, and how many do.
        var first: (path: String, user: uid_t)?
        var count = 0
        /// What could not be looked at or mended: the path and `errno`.
        var failure: (path: String, code: CInt)?
    }

    private static let maximumDepth = 64
    /// So much is looked at.
    private static let maximumEntries = 50_000_000
    /// Not in the C library's Swift module (open(2), fchownat(2)).
    private static let onlyPath: CInt = 0o10_000_000
    private static let emptyPath: CInt = 0x1000

    /// Looks for what belongs to others.
    ///
    /// - Parameter mending: gives it to the owner. Files with several names are left alone: they may be somebody else's.
    func look(mending: Bool) -> Result {
        var result = Result()
        var left = Self.maximumEntries
        // The top may be a link, which only root can have made.
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            result.failure = (path, errno)
            return result
        }
        look(descriptor, path, mending, depth: 0, &left, &result)
        return result
    }

    /// Takes the descriptor over.
    private func look(
        _ descriptor: CInt,
        _ path: String,
        _ mending: Bool,
        depth: Int,
        _ left: inout Int,
        _ result: inout Result
    ) {
        defer { close(descriptor) }
        let names: [[UInt8]]
        do throws(FileError) {
            names = try KernelFileSystem().names(".", in: FileHandle(descriptor))
        } catch {
            result.failure = result.failure ?? (path, error.code)
            return
        }
        var top = stat()
        guard fstat(descriptor, &top) == 0 else { return }
        // What is mounted below is somebody else's.
        let device = top.st_dev
        for octets in names where left > 0 {
            let name = String(decoding: octets, as: UTF8.self)
            left -= 1
            // What is looked at is what is changed, whatever its owner does to the name meanwhile.
            let entry = openat(descriptor, name, Self.onlyPath | O_NOFOLLOW | O_CLOEXEC)
            guard entry >= 0 else { continue }
            defer { close(entry) }
            var status = stat()
            guard fstat(entry, &status) == 0 else { continue }
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            // On overlayfs a file's device may be another than its directory's.
            if isDirectory, status.st_dev != device { continue }
            // Nothing else is a daemon's.
            guard isDirectory || status.st_mode & S_IFMT == S_IFREG else { continue }
            if status.st_uid != user {
                if result.first == nil { result.first = ("\(path)/\(name)", status.st_uid) }
                result.count += 1
                if mending, !isDirectory, status.st_nlink > 1 {
                    result.failure = result.failure ?? ("\(path)/\(name)", EMLINK)
                } else if mending, fchownat(entry, "", user, group, Self.emptyPath) != 0 {
                    result.failure = result.failure ?? ("\(path)/\(name)", errno)
                }
            }
            guard isDirectory else { continue }
            guard depth < Self.maximumDepth else {
                result.failure = result.failure ?? ("\(path)/\(name)", ELOOP)
                continue
            }
            let inner = openat(entry, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard inner >= 0 else {
                result.failure = result.failure ?? ("\(path)/\(name)", errno)
                continue
            }
            look(inner, "\(path)/\(name)", mending, depth: depth + 1, &left, &result)
        }
    }
}
