import Files

/// A Maildir folder kept open for deliveries: its directories are open, so deliveries need no path lookups.
final class DeliveryFolder: Sendable {
    let maildir: Maildir
    /// The prefix of its paths below the Maildir: empty for the inbox, `.folder/` for a folder.
    let place: String
    let tmp: DirectoryAccess
    let new: DirectoryAccess
    /// Of `new`.
    private let identity: FileStatus
    /// Seconds since 1970.
    let opened: Int

    /// Opens the inbox or a folder. Creates the Maildir if it's missing, but no folder.
    ///
    /// - Throws: `notFound` if there is no such folder.
    init(
        _ folder: FolderName,
        of location: MailboxLocation,
        in mailDirectory: DirectoryAccess
    ) throws(MailboxError) {
        maildir = try Maildir(location, in: mailDirectory)
        let root = maildir.root
        place = folder.isInbox ? "" : folder.directory + "/"
        new = try DirectoryAccess("\(place)new", in: root)
        tmp = try DirectoryAccess("\(place)tmp", in: root)
        identity = try new.file.status()
        opened = root.disk.seconds
        if folder.isInbox {
            root.removeOldTemporaries()
        } else {
            // Its creator may have died before the name was on stable storage.
            try root.sync()
            try DirectoryAccess(folder.directory, in: root).removeOldTemporaries()
        }
    }

    var device: UInt64 { identity.device }

    /// Whether the path still leads to the open directory: Maildirs may be removed, moved or restored at any time.
    func isInPlace(_ location: MailboxLocation, in mailDirectory: DirectoryAccess) throws(MailboxError) -> Bool {
        guard let now = try mailDirectory.statusIfPresent("\(location.path)/\(place)new") else { return false }
        return now.inode == identity.inode && now.device == identity.device
    }
}
