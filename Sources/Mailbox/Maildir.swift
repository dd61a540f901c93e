import Files

/// A user's Maildir with its folders in the manner of Maildir++ (docs/mailbox.md).
package final class Maildir: MailStore {
    static let lockFile = "martlet-store.lock"
    private static let validityFile = "martlet-uidvalidity"
    private static let subscriptionsFile = "subscriptions"

    let root: DirectoryAccess
    let quota: MaildirQuota

    /// Opens the Maildir; makes it where it's missing.
    init(_ location: MailboxLocation, in mailDirectory: DirectoryAccess) throws(MailboxError) {
        do throws(MailboxError) {
            let found = try DirectoryAccess(location.path, in: mailDirectory)
            for part in Self.parts { _ = try found.status(part) }
            root = found
        } catch {
            guard error == .notFound else { throw error }
            try Self.make(location.path, in: mailDirectory)
            root = try DirectoryAccess(location.path, in: mailDirectory)
        }
        quota = MaildirQuota(root: root, limit: location.quota)
    }

    /// In order of creation.
    private static let parts = ["cur", "new", "tmp"]

    /// Creates a Maildir (mode 0700) durably. `tmp` is created last, once everything else is on stable storage, so a Maildir
    /// that has it is complete even if its creation was interrupted.
    static func make(_ path: String, in mailDirectory: DirectoryAccess) throws(MailboxError) {
        try mailDirectory.makeDirectories(path)
        for part in parts.dropLast() { try mailDirectory.makeDirectories("\(path)/\(part)") }
        try mailDirectory.sync(path)
        var above = path[...]
        while let slash = above.lastIndex(of: "/") {
            above = above[..<slash]
            try mailDirectory.sync(String(above))
        }
        try mailDirectory.sync()
        try mailDirectory.makeDirectories("\(path)/tmp")
    }

    package func folders() throws(MailboxError) -> [FolderEntry] {
        var names: Set<FolderName> = []
        for entry in try root.names() {
            guard let name = FolderName(directory: entry) else { continue }
            if (try? root.status("\(entry)/cur")) != nil { names.insert(name) }
        }
        var parents: Set<FolderName> = []
        for name in names { parents.formUnion(name.ancestors) }
        let all = names.union(parents).subtracting([.inbox]).sorted { $0.description < $1.description }
        return [FolderEntry(name: .inbox, isSelectable: true, hasChildren: parents.contains(.inbox))]
            + all.map { FolderEntry(name: $0, isSelectable: names.contains($0), hasChildren: parents.contains($0)) }
    }

    package func open(_ name: FolderName, readOnly: Bool = false) throws(MailboxError) -> any MailFolder {
        try openMaildir(name, readOnly: readOnly)
    }

    func openMaildir(_ name: FolderName, readOnly: Bool = false) throws(MailboxError) -> MaildirFolder {
        let directory = name.isInbox ? root : try DirectoryAccess(name.directory, in: root)
        return try MaildirFolder(directory, of: self, readOnly: readOnly)
    }

    package func create(_ name: FolderName) throws(MailboxError) {
        guard !name.isInbox else { throw .exists }
        guard (try? root.status(name.directory)) == nil else { throw .exists }
        // Made aside, so that no half a folder is ever to be seen.
        let aside = "tmp/\(root.disk.uniqueName()).folder"
        try root.makeDirectory(aside)
        do throws(MailboxError) {
            for part in Self.parts { try root.makeDirectory("\(aside)/\(part)") }
            _ = try root.open("\(aside)/maildirfolder", [.writing, .creating])
            try root.sync(aside)
            try root.rename(aside, to: name.directory)
        } catch {
            try? root.removeTree(aside)
            throw error
        }
        try root.sync()
    }

    package func delete(_ name: FolderName) throws(MailboxError) {
        guard !name.isInbox else { throw .invalidName }
        let aside = "tmp/\(root.disk.uniqueName()).deleted"
        try root.rename(name.directory, to: aside)
        try root.sync()
        quota.invalidate()
        // It's deleted. What of it can't be removed now goes with other old files in `tmp/`.
        try? root.removeTree(aside)
    }

    package func rename(_ name: FolderName, to new: FolderName) throws(MailboxError) {
        guard !new.isInbox, !new.isBelow(name) else { throw .invalidName }
        if name.isInbox { return try moveInbox(to: new) }
        let existing = try folders().filter(\.isSelectable).map(\.name)
        guard existing.contains(where: { $0 == name || $0.isBelow(name) }) else { throw .notFound }
        guard !existing.contains(new) else { throw .exists }
        var moves: [(from: FolderName, to: FolderName)] = []
        for folder in existing where folder == name || folder.isBelow(name) {
            guard let target = folder.replacing(name, by: new) else { throw .invalidName }
            guard !existing.contains(target) else { throw .exists }
            moves.append((folder, target))
        }
        var done = 0
        do throws(MailboxError) {
            for move in moves {
                try root.rename(move.from.directory, to: move.to.directory)
                done += 1
            }
            try root.sync()
        } catch {
            // All of them, or none.
            for move in moves[..<done].reversed() { try? root.rename(move.to.directory, to: move.from.directory) }
            throw error
        }
    }

    private func moveInbox(to new: FolderName) throws(MailboxError) {
        try create(new)
        let inbox = try openMaildir(.inbox)
        let uids = inbox.messages.map(\.uid)
        _ = try inbox.copy(uids, to: try openMaildir(new))
        _ = try inbox.expunge(uids)
    }

    package func subscriptions() throws(MailboxError) -> [FolderName] {
        let octets = try root.contents(Self.subscriptionsFile, maximum: 1 << 24) ?? []
        return octets.split(separator: UInt8(ascii: "\n")).compactMap {
            FolderName(String(decoding: $0, as: UTF8.self))
        }
    }

    package func subscribe(_ name: FolderName) throws(MailboxError) {
        try changeSubscriptions { names in
            if !names.contains(name) { names.append(name) }
        }
    }

    package func unsubscribe(_ name: FolderName) throws(MailboxError) {
        try changeSubscriptions { names in names.removeAll { $0 == name } }
    }

    private func changeSubscriptions(_ change: (inout [FolderName]) -> Void) throws(MailboxError) {
        try root.withLock(Self.lockFile) { () throws(MailboxError) in
            let before = try subscriptions()
            var names = before
            change(&names)
            guard names != before else { return }
            let text = names.map { "\($0)\n" }.joined()
            try root.replace(Self.subscriptionsFile, with: Array(text.utf8))
        }
    }

    package func usage() throws(MailboxError) -> MailboxUsage { try quota.usage() }

    package func lockSession() throws(MailboxError) -> SessionLock {
        try SessionLock("martlet-pop3.lock", in: root)
    }

    /// A UIDVALIDITY that no folder of this Maildir had before, so that a folder made again is not taken for the old one.
    func newUIDValidity() throws(MailboxError) -> UInt32 {
        try root.withLock(Self.lockFile) { () throws(MailboxError) -> UInt32 in
            let text = try root.contents(Self.validityFile, maximum: 64) ?? []
            let last = UInt32(String(decoding: text.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)) ?? 0
            let now = UInt32(clamping: root.disk.seconds)
            let validity = last < .max ? max(now, last + 1) : now
            try root.replace(Self.validityFile, with: Array("\(validity)\n".utf8))
            return validity
        }
    }
}
