import Files

/// A folder of a Maildir as deliveries need it: its directories are open, so that a delivery looks up no paths.
final class DeliveryFolder: Sendable {
    let maildir: Maildir
    /// `` for the inbox, `.folder/` for a folder: what its paths below the Maildir begin with.
    let place: String
    let tmp: DirectoryAccess
    let new: DirectoryAccess
    /// Of `new`.
    private let identity: FileStatus
    /// When it was opened. Seconds since 1970.
    let opened: Int

    /// Opens the inbox, or a folder; makes the Maildir where it's missing, but no folder.
    ///
    /// - Throws: `notFound` where there is no such folder.
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
            // Who made it may have died before its name was on stable storage.
            try root.sync()
            try DirectoryAccess(folder.directory, in: root).removeOldTemporaries()
        }
    }

    var device: UInt64 { identity.device }

    /// Whether what is open here is still what the path leads to: a Maildir may be removed, moved or restored at any time.
    func isInPlace(_ location: MailboxLocation, in mailDirectory: DirectoryAccess) throws(MailboxError) -> Bool {
        guard let now = try mailDirectory.statusIfPresent("\(location.path)/\(place)new") else { return false }
        return now.inode == identity.inode && now.device == identity.device
    }
}
