import Files

/// How a mailbox is kept on disk.
package enum MailboxFormat: String, Sendable {
    /// A Maildir whose folders are Maildir++.
    case maildir
    /// A Maildir whose folders are directories in each other: Dovecot's `LAYOUT=fs`.
    case maildirTree = "maildir-fs"
    case mbox
}

/// Where one user's mail is, as authd says it (docs/protocols.md, `REDEEM` and `EXPAND`).
package struct MailboxLocation: Hashable, Sendable {
    /// Below the mail directory.
    package let path: String
    package let format: MailboxFormat
    /// Octets; 0 for no limit.
    package let quota: Int

    /// What stands between the parts of its folders' names.
    package var delimiter: UInt8 {
        switch format {
        case .maildir, .mbox: FolderName.delimiter
        case .maildirTree: MaildirLayout.tree.delimiter
        }
    }

    /// Nil where the path could lead out of the mail directory: absolute, empty, or with empty, `.` or `..` parts.
    package init?(path: String, format: MailboxFormat, quota: Int = 0) {
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard path.utf8.count <= 1024, !path.utf8.contains(0), quota >= 0 else { return nil }
        for part in parts where part.isEmpty || part.elementsEqual(".".utf8) || part.elementsEqual("..".utf8) {
            return nil
        }
        self.path = path
        self.format = format
        self.quota = quota
    }
}

extension MailboxLocation {
    /// The file for what was worked out of the mailbox's messages, a cache alone.
    ///
    /// - Parameter mailDirectory: the path of the mail directory.
    package func indexFile(in mailDirectory: String) -> String {
        switch format {
        case .maildir, .maildirTree: "\(mailDirectory)/\(path)/martlet-index"
        case .mbox: "\(mailDirectory)/\(path).martlet-index"
        }
    }
}

/// One user's folders. Every call may block on the disk.
package protocol MailStore: AnyObject, Sendable {
    /// What stands between the parts of names.
    var delimiter: UInt8 { get }

    /// All folders, and names that only have folders below them; `INBOX` first, the rest by name.
    func folders() throws(MailboxError) -> [FolderEntry]

    /// Opens a folder and refreshes it.
    ///
    /// - Parameters:
    ///   - readOnly: leaves messages recent for the next session (EXAMINE).
    ///   - tracksChanges: see there.
    func open(
        _ name: FolderName,
        readOnly: Bool,
        tracksChanges: Bool
    ) throws(MailboxError) -> any MailFolder

    /// Opens a folder that messages are to be put into.
    func openForInserting(_ name: FolderName) throws(MailboxError) -> any MailFolder

    /// - Throws: `exists`.
    func create(_ name: FolderName) throws(MailboxError)

    /// The same, where others' rights to it are to be those that they have to another one.
    func create(_ name: FolderName, below parent: FolderName) throws(MailboxError)

    /// Removes a folder and its messages, not those below it.
    func delete(_ name: FolderName) throws(MailboxError)

    /// Renames a folder and all below it. Renaming `INBOX` moves its messages to a new folder (RFC 3501 §6.3.5).
    func rename(_ name: FolderName, to new: FolderName) throws(MailboxError)

    /// Names may be of folders that don't exist.
    func subscriptions() throws(MailboxError) -> [FolderName]
    func subscribe(_ name: FolderName) throws(MailboxError)
    func unsubscribe(_ name: FolderName) throws(MailboxError)

    /// What folders are for (RFC 6154), such as `\Sent`, where a client has said so.
    func specialUses(of names: [FolderName]) throws(MailboxError) -> [FolderName: [String]]

    /// Says what a folder is for; durably.
    ///
    /// - Throws: `unsupported` where the format can't keep it.
    func setSpecialUses(_ uses: [String], of name: FolderName) throws(MailboxError)

    /// What has been noted about a folder, or about the server (RFC 5464).
    ///
    /// - Throws: `notFound`, also for a name that only has folders below it.
    func annotations(of target: AnnotationTarget) throws(MailboxError) -> Annotations

    /// Changes some of it, durably: all or nothing. Values that are nil are removed.
    func annotate(
        _ target: AnnotationTarget,
        _ changes: [AnnotationKey: [UInt8]?]
    ) throws(MailboxError) -> AnnotationOutcome

    /// What the user may do with a folder; nothing for one that he may not know of.
    ///
    /// - Throws: `notFound`.
    func rights(to name: FolderName) throws(MailboxError) -> MailboxRights

    /// Who else may do what with a folder.
    func accessList(of name: FolderName) throws(MailboxError) -> AccessControlList

    /// Changes that, durably.
    ///
    /// - Throws: `overQuota` where there would be too many entries, `unsupported`.
    func changeAccess(
        to name: FolderName,
        of identifier: AccessIdentifier,
        _ change: AccessChange
    ) throws(MailboxError)

    /// Whether a folder is the user's own.
    func isPersonal(_ name: FolderName) -> Bool

    /// The account that a folder is in, and its name there; nil where that isn't known.
    func home(of name: FolderName) -> (location: MailboxLocation, name: FolderName)?

    var namespaces: Namespaces { get }

    /// Octets and messages in all folders.
    func usage() throws(MailboxError) -> MailboxUsage

    /// Locks the mailbox for a POP3 session until the lock is released; deliveries and IMAP are not affected.
    ///
    /// - Throws: `locked` when another session has it.
    func lockSession() throws(MailboxError) -> SessionLock
}

extension MailStore {
    package var delimiter: UInt8 { FolderName.delimiter }

    package func open(_ name: FolderName, readOnly: Bool = false) throws(MailboxError) -> any MailFolder {
        try open(name, readOnly: readOnly, tracksChanges: false)
    }

    package func openForInserting(_ name: FolderName) throws(MailboxError) -> any MailFolder {
        try open(name, readOnly: true)
    }

    package func create(_ name: FolderName, below parent: FolderName) throws(MailboxError) { try create(name) }

    /// The owner's are all there are.
    package func rights(to name: FolderName) throws(MailboxError) -> MailboxRights {
        _ = try accessList(of: name)
        return .all
    }

    package func isPersonal(_ name: FolderName) -> Bool { true }
    package func home(of name: FolderName) -> (location: MailboxLocation, name: FolderName)? { nil }
    package var namespaces: Namespaces { Namespaces() }

    package func specialUses(of names: [FolderName]) throws(MailboxError) -> [FolderName: [String]] { [:] }

    package func setSpecialUses(_ uses: [String], of name: FolderName) throws(MailboxError) { throw .unsupported }
}

/// How much is in a mailbox.
package struct MailboxUsage: Hashable, Sendable {
    package var octets: Int
    package var messages: Int

    /// Adds the octets of one more message. Sums of sizes that names only claim stop at the largest number that there is.
    mutating func add(octets more: Int) {
        let (sum, isTooLarge) = octets.addingReportingOverflow(more)
        octets = isTooLarge ? .max : sum
    }
}

/// Held by one POP3 session; released with the object or the process.
package final class SessionLock: Sendable {
    private let file: OpenFile

    init(_ path: String, in directory: DirectoryAccess) throws(MailboxError) {
        let file = try directory.open(path, [.reading, .writing, .creating])
        guard try mappingErrors({ () throws(FileError) in try file.disk.files.lock(file.handle) }) else {
            throw .locked
        }
        self.file = file
    }
}

/// The mail directory, opened once by a mailbox process.
package struct MailDirectory: Sendable {
    let directory: DirectoryAccess

    /// Opens the directory that mailboxes' paths are relative to.
    package init(_ path: String, on disk: MailboxDisk = .kernel) throws(MailboxError) {
        directory = try DirectoryAccess(path, on: disk)
    }

    /// Its descriptor, for `Rights`.
    package var descriptor: CInt { directory.file.descriptor }

    /// Whether a mailbox has been made.
    func isThere(_ location: MailboxLocation) throws(MailboxError) -> Bool {
        try directory.statusIfPresent(location.path) != nil
    }

    var shares: ShareList { ShareList(directory: directory) }

    /// Opens a user's mailbox; it is made where it's missing.
    package func open(_ location: MailboxLocation) throws(MailboxError) -> any MailStore {
        switch location.format {
        case .maildir, .maildirTree: return try Maildir(location, in: directory)
        case .mbox: return try MboxStore(location, in: directory)
        }
    }
}
