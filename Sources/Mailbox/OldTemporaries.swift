import Files

extension DirectoryAccess {
    /// Seconds. From the Maildir specification.
    private static let temporaryLifetime = 36 * 3600

    /// Removes files from a Maildir's `tmp/` that nothing was done to for more than 36 hours: abandoned deliveries. A file that
    /// is about to be moved into place may have been given the date of an old message just now.
    func removeOldTemporaries() {
        guard let names = try? names("tmp") else { return }
        let limit = Int64(disk.seconds - Self.temporaryLifetime)
        for name in names {
            guard let status = try? status("tmp/\(name)"), max(status.changed, status.modified) < limit else {
                continue
            }
            if status.kind == .directory {
                try? removeTree("tmp/\(name)")
            } else {
                try? remove("tmp/\(name)")
            }
        }
    }
}
