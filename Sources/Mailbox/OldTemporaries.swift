import Files

extension DirectoryAccess {
    /// Seconds, as the Maildir specification has it.
    private static let temporaryLifetime = 36 * 3600

    /// Removes from a Maildir's `tmp/` what was last written 36 hours ago: it never gets finished.
    func removeOldTemporaries() {
        guard let names = try? names("tmp") else { return }
        let limit = Int64(disk.seconds - Self.temporaryLifetime)
        for name in names {
            guard let status = try? status("tmp/\(name)"), status.modified < limit else { continue }
            if status.kind == .directory {
                try? removeTree("tmp/\(name)")
            } else {
                try? remove("tmp/\(name)")
            }
        }
    }
}
