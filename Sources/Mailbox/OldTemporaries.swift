#if canImport(Glibc)
import Glibc
#endif

extension DirectoryAccess {
    /// Seconds, as the Maildir specification has it.
    private static let temporaryLifetime = 36 * 3600

    /// Removes from a Maildir's `tmp/` what was last written 36 hours ago: it never gets finished.
    func removeOldTemporaries() {
        guard let names = try? names("tmp") else { return }
        let limit = time(nil) - Self.temporaryLifetime
        for name in names {
            guard let status = try? status("tmp/\(name)"), status.st_mtim.tv_sec < limit else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                try? removeTree("tmp/\(name)")
            } else {
                try? remove("tmp/\(name)")
            }
        }
    }
}
