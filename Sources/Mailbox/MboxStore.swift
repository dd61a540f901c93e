#if canImport(Glibc)
import Glibc
#endif

/// A mailbox that is one file in mbox format: an INBOX and nothing else.
package final class MboxStore: MailStore {
    let location: MailboxLocation
    let directory: DirectoryAccess
    /// The file's name in `directory`.
    let name: String

    init(_ location: MailboxLocation, in mailDirectory: DirectoryAccess) throws(MailboxError) {
        self.location = location
        let parts = location.path.split(separator: "/")
        name = parts.last.map(String.init) ?? location.path
        let above = parts.dropLast().joined(separator: "/")
        if !above.isEmpty { try mailDirectory.makeDirectories(above) }
        directory = above.isEmpty ? mailDirectory : try DirectoryAccess(above, in: mailDirectory.descriptor)
    }

    package func folders() throws(MailboxError) -> [FolderEntry] {
        [FolderEntry(name: .inbox, isSelectable: true, hasChildren: false)]
    }

    package func open(_ name: FolderName, readOnly: Bool = false) throws(MailboxError) -> any MailFolder {
        guard name.isInbox else { throw .notFound }
        return try MboxFolder(self, readOnly: readOnly)
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

    package func usage() throws(MailboxError) -> MailboxUsage {
        let folder = try MboxFolder(self, readOnly: true)
        let size = (try? directory.status(name)).map { Int($0.st_size) } ?? 0
        return MailboxUsage(octets: size, messages: folder.messages.count)
    }

    package func lockSession() throws(MailboxError) -> SessionLock {
        try SessionLock("\(name).pop3-lock", in: directory)
    }
}
