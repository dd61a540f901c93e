import Files

extension DirectoryAccess {
    /// Seconds. From the Maildir specification.
    private static let temporaryLifetime = 36 * 3600

    /// Removes files from a Maildir's `tmp/` that nothing was done to for more than 36 hours: abandoned deliveries. A file that
    /// is about to be moved into place may have been given the date of an old message just now.
    func removeOldTemporaries() {
        guard let names = try? names("tmp") else { return }
        for name in names {
            guard let status = oldEntry("tmp/\(name)") else { continue }
            if status.kind == .directory {
                try? removeTree("tmp/\(name)")
            } else {
                try? remove("tmp/\(name)")
            }
        }
        removeOldParts()
    }

    /// The same for what `replace` and lock files leave beside a Maildir's own files where their writer is killed.
    private func removeOldParts() {
        guard let names = try? names() else { return }
        for name in names where Self.isPart(name) {
            if oldEntry(name)?.kind == .file { try? remove(name) }
        }
    }

    private static func isPart(_ name: String) -> Bool {
        let files = [
            "dovecot-uidlist", "dovecot-keywords", "dovecot-uidvalidity", "subscriptions", "martlet-uidlist",
            MaildirIndex.changesFile,
        ]
        return files.contains { file in
            name.hasPrefix("\(file).lock.") || name.hasPrefix("\(file).") && name.hasSuffix(".new")
        }
    }

    /// What is known of an entry, not of what it may lead to; nil where something was done to it lately.
    private func oldEntry(_ path: String) -> FileStatus? {
        guard let status = try? statusOfEntry(path),
            max(status.changed, status.modified) < Int64(disk.seconds - Self.temporaryLifetime)
        else { return nil }
        return status
    }
}
