import CLinux

#if canImport(Glibc)
import Glibc
#endif

/// Which files a daemon may read once it has given up its rights, as far as owners, modes and access lists decide.
package struct FileReach {
    /// What stands between a daemon and a file.
    package enum Obstacle: Equatable, Sendable {
        /// There is nothing of that name.
        case missing(String)
        /// A directory on the way must not be searched by it.
        case directory(String)
        /// The file must not be read by it.
        case file(String)
        /// Anything else: `errno`.
        case other(String, CInt)
    }

    /// nil for the calling user, as which daemons run that weren't started by root.
    private let user: (uid: uid_t, gid: gid_t)?

    /// - Returns: nil where there is no such user.
    package init?(user: String) {
        guard getuid() == 0 else {
            self.user = nil
            return
        }
        guard let entry = getpwnam(user)?.pointee else { return nil }
        self.user = (entry.pw_uid, entry.pw_gid)
    }

    init(uid: uid_t, gid: gid_t) { user = (uid, gid) }

    /// The first thing on the way to a file that keeps the daemon from reading it; nil where nothing does. Relative paths
    /// begin at the working directory, as the daemon's do.
    package func obstacle(to path: String) -> Obstacle? {
        for place in Self.directories(of: path) + [path] {
            if let code = failure(place, reads: false) {
                return code == EACCES ? .directory(Self.parent(of: place)) : Self.obstacle(place, code)
            }
        }
        guard let code = failure(path, reads: true) else { return nil }
        return code == EACCES ? .file(path) : Self.obstacle(path, code)
    }

    private static func obstacle(_ path: String, _ code: CInt) -> Obstacle {
        code == ENOENT || code == ENOTDIR ? .missing(path) : .other(path, code)
    }

    /// `errno` of an attempt to find a file, or to read it; nil where it went well.
    private func failure(_ path: String, reads: Bool) -> CInt? {
        let result =
            if let user {
                CLinux_reaches(user.uid, user.gid, path, reads)
            } else {
                access(path, reads ? R_OK : F_OK)
            }
        return result == 0 ? nil : errno
    }

    /// The directories on the way to a file, from the first one on.
    private static func directories(of path: String) -> [String] {
        path.indices.filter { path[$0] == "/" && $0 != path.startIndex }.map { String(path[..<$0]) }
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
