import Files
import NIOConcurrencyHelpers

/// Tells one batch of deliveries from another.
final class BatchToken: Sendable {}

/// A Maildir folder kept open for deliveries: its directories are open, so deliveries need no path lookups.
final class DeliveryFolder: Sendable {
    let maildir: Maildir
    let name: FolderName
    /// The prefix of its paths below the Maildir: empty for the inbox, `.folder/` for a folder.
    let place: String
    let tmp: DirectoryAccess
    let new: DirectoryAccess
    /// Of `new`.
    private let identity: FileStatus
    /// Seconds since 1970.
    let opened: Int
    private let listing = NIOLockedValueBox<Listing?>(nil)

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
        name = folder
        place = folder.isInbox ? "" : folder.directory + "/"
        new = try DirectoryAccess("\(place)new", in: root)
        tmp = try DirectoryAccess("\(place)tmp", in: root)
        // Without `cur` it's what is left of a folder that was deleted, and nobody would find the message.
        _ = try root.status("\(place)cur")
        identity = try new.file.status()
        opened = root.disk.seconds
        if folder.isInbox {
            root.removeOldTemporaries()
        } else {
            // Its creator may have died before the name was on stable storage.
            try maildir.layout.syncParents(of: folder, in: root)
            try DirectoryAccess(folder.directory, in: root).removeOldTemporaries()
        }
    }

    var device: UInt64 { identity.device }

    /// The beginnings of the names that were in `new` and `cur` once, and of what this process has delivered since. Only
    /// earlier deliveries leave names of their kind, so one that isn't among them need not be looked for again.
    private struct Listing {
        /// In which batch the directories were read.
        let batch: BatchToken
        /// How many dots the beginnings have.
        let dots: Int
        var beginnings: Set<EntryDigest> = []
        /// Whether the directories were synced after they were read.
        var isSynced = false
    }

    /// Whether an earlier attempt has left a message whose name begins so; if so, it's on stable storage when this returns.
    /// The directories are read for the first question, and once a batch when the answer may be yes: the message may have been
    /// removed since.
    ///
    /// - Parameter beginning: ends in a dot.
    func hasMessage(_ beginning: String, batch: BatchToken) throws(MailboxError) -> Bool {
        let dots = beginning.utf8.count { $0 == UInt8(ascii: ".") }
        let digest = EntryDigest(beginning.utf8)
        // The lock is held while the directories are read: what is delivered meanwhile is added behind that.
        return try listing.withLockedValue { listing in
            Result { () throws(MailboxError) in
                if let listing, listing.dots == dots, !listing.beginnings.contains(digest) { return false }
                var known: Listing
                if let listing, listing.dots == dots, listing.batch === batch {
                    known = listing
                } else {
                    known = try list(dots: dots, batch: batch)
                    listing = known
                }
                guard known.beginnings.contains(digest) else { return false }
                guard !known.isSynced else { return true }
                // That attempt may not have got to the sync, and a session may have moved the file since.
                try maildir.root.sync("\(place)new")
                try maildir.root.sync("\(place)cur")
                known.isSynced = true
                listing = known
                return true
            }
        }.get()
    }

    private func list(dots: Int, batch: BatchToken) throws(MailboxError) -> Listing {
        var listing = Listing(batch: batch, dots: dots)
        // In this order, since sessions move files from new to cur.
        try read("new", into: &listing)
        for reading in 1...Self.maximumReadings {
            let now = maildir.root.disk.seconds
            let before = try maildir.root.status("\(place)cur")
            try read("cur", into: &listing)
            let after = try maildir.root.status("\(place)cur")
            let isSame = after.modified == before.modified && after.modifiedNanoseconds == before.modifiedNanoseconds
            // What happened in the same tick of the clock as what was before doesn't show.
            let isSettled = after.modified < Int64(now - Self.settledAfter)
            if isSame, isSettled || reading > 1 { break }
        }
        return listing
    }

    /// A session that renames a file while its directory is read may hide it, under both names (POSIX, readdir): the directory
    /// is read once more where it was changed lately, and again where it's being changed, so many times in all.
    private static let maximumReadings = 3
    /// Seconds.
    private static let settledAfter = 2

    private func read(_ part: String, into listing: inout Listing) throws(MailboxError) {
        for name in try maildir.root.names(place + part) {
            var left = listing.dots
            guard
                let end = name.utf8.firstIndex(where: { octet in
                    if octet == UInt8(ascii: ".") { left -= 1 }
                    return left == 0
                })
            else { continue }
            listing.beginnings.insert(EntryDigest(name.utf8[...end]))
        }
    }

    /// Notes a message that was delivered for certain.
    func add(_ beginning: String) {
        listing.withLockedValue { listing in
            if listing?.dots == beginning.utf8.count(where: { $0 == UInt8(ascii: ".") }) {
                listing?.beginnings.insert(EntryDigest(beginning.utf8))
            } else {
                listing = nil
            }
        }
    }

    /// Has the directories read again for the next question.
    func forgetListing() { listing.withLockedValue { $0 = nil } }

    /// Names that are remembered.
    var remembered: Int { listing.withLockedValue { $0?.beginnings.count ?? 0 } }

    /// Whether the path still leads to the open directory: Maildirs may be removed, moved or restored at any time.
    func isInPlace(_ location: MailboxLocation, in mailDirectory: DirectoryAccess) throws(MailboxError) -> Bool {
        let path = "\(location.path)/\(place)"
        guard let now = try mailDirectory.statusIfPresent("\(path)new"),
            try mailDirectory.statusIfPresent("\(path)cur") != nil
        else { return false }
        return now.inode == identity.inode && now.device == identity.device
    }
}
