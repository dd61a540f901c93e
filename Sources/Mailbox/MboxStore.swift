import Files
import NIOConcurrencyHelpers

/// A mailbox that is one file in mbox format: an INBOX and nothing else.
package final class MboxStore: MailStore {
    let location: MailboxLocation
    let directory: DirectoryAccess
    private let mailDirectory: DirectoryAccess
    /// The file's name in `directory`.
    let name: String

    init(_ location: MailboxLocation, in mailDirectory: DirectoryAccess) throws(MailboxError) {
        self.location = location
        self.mailDirectory = mailDirectory
        let parts = location.path.split(separator: "/")
        name = parts.last.map(String.init) ?? location.path
        let above = parts.dropLast().joined(separator: "/")
        if !above.isEmpty { try mailDirectory.makeDirectories(above) }
        directory = above.isEmpty ? mailDirectory : try DirectoryAccess(above, in: mailDirectory)
    }

    private struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    /// Directories whose names this process knows to be on stable storage, and those above them.
    private static let durable = NIOLockedValueBox<Set<Identity>>([])
    private static let maximumDurable = 10_000

    /// Syncs the names of the mbox and of the directories above it: whoever made them may have died before he did.
    ///
    /// - Parameter isNew: the mbox was made just now, so that nothing is known.
    func syncDirectories(isNew: Bool) throws(MailboxError) {
        let status = try directory.file.status()
        let identity = Identity(device: status.device, inode: status.inode)
        guard isNew || !Self.durable.withLockedValue({ $0.contains(identity) }) else { return }
        try directory.sync()
        var above = location.path[...]
        while let slash = above.lastIndex(of: "/") {
            above = above[..<slash]
            if let slash = above.lastIndex(of: "/") { try mailDirectory.sync(String(above[..<slash])) }
        }
        if location.path.contains("/") { try mailDirectory.sync() }
        Self.durable.withLockedValue { durable in
            if durable.count >= Self.maximumDurable { durable = [] }
            durable.insert(identity)
        }
    }

    package func folders() throws(MailboxError) -> [FolderEntry] {
        [FolderEntry(name: .inbox, isSelectable: true, hasChildren: false)]
    }

    package func open(
        _ name: FolderName,
        readOnly: Bool,
        tracksChanges: Bool
    ) throws(MailboxError) -> any MailFolder {
        guard name.isInbox else { throw .notFound }
        return try MboxFolder(self, readOnly: readOnly, tracksChanges: tracksChanges)
    }

    package func create(_ name: FolderName) throws(MailboxError) { throw name.isInbox ? .exists : .unsupported }

    package func delete(_ name: FolderName) throws(MailboxError) { throw name.isInbox ? .invalidName : .notFound }

    package func rename(_ name: FolderName, to new: FolderName) throws(MailboxError) {
        throw name.isInbox ? .unsupported : .notFound
    }

    package func subscriptions() throws(MailboxError) -> [FolderName] { [.inbox] }
    package func subscribe(_ name: FolderName) throws(MailboxError) {
        guard name.isInbox else { throw .unsupported }
    }
    package func unsubscribe(_ name: FolderName) throws(MailboxError) {}

    /// Nothing of an mbox is shared.
    package func accessList(of name: FolderName) throws(MailboxError) -> AccessControlList {
        guard name.isInbox else { throw .notFound }
        return AccessControlList()
    }

    package func changeAccess(
        to name: FolderName,
        of identifier: AccessIdentifier,
        _ change: AccessChange
    ) throws(MailboxError) { throw .unsupported }

    package func usage() throws(MailboxError) -> MailboxUsage {
        let folder = try MboxFolder(self, readOnly: true, tracksChanges: false)
        let size = (try? directory.status(name)).map(\.size) ?? 0
        return MailboxUsage(octets: size, messages: folder.messages.count)
    }

    package func lockSession() throws(MailboxError) -> SessionLock {
        try SessionLock("\(name).pop3-lock", in: directory)
    }
}
