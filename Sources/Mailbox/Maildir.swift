import Files

/// A user's Maildir with its folders (docs/mailbox.md).
package final class Maildir: MailStore {
    static let lockFile = "martlet-store.lock"
    private static let validityFile = "dovecot-uidvalidity"
    /// Of earlier versions: decimal digits.
    private static let olderValidityFile = "martlet-uidvalidity"

    let root: DirectoryAccess
    let quota: MaildirQuota
    let layout: MaildirLayout

    package var delimiter: UInt8 { layout.delimiter }

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
        layout = location.format == .maildirTree ? .tree : .plus
        quota = MaildirQuota(root: root, limit: location.quota, layout: layout)
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
        let names = Set(try layout.folders(in: root))
        var parents: Set<FolderName> = []
        for name in names { parents.formUnion(name.ancestors) }
        let all = names.union(parents).subtracting([.inbox]).sorted { $0.description < $1.description }
        return [FolderEntry(name: .inbox, isSelectable: true, hasChildren: parents.contains(.inbox))]
            + all.map { FolderEntry(name: $0, isSelectable: names.contains($0), hasChildren: parents.contains($0)) }
    }

    package func open(
        _ name: FolderName,
        readOnly: Bool,
        tracksChanges: Bool
    ) throws(MailboxError) -> any MailFolder {
        try openMaildir(name, readOnly: readOnly, tracksChanges: tracksChanges)
    }

    func openMaildir(
        _ name: FolderName,
        readOnly: Bool = false,
        tracksChanges: Bool = false
    ) throws(MailboxError) -> MaildirFolder {
        try MaildirFolder(name, of: self, readOnly: readOnly, tracksChanges: tracksChanges)
    }

    /// A new folder has the list of rights of the one above it (RFC 4314 §4, CREATE).
    package func create(_ name: FolderName) throws(MailboxError) {
        try make(name)
        for parent in name.ancestors.reversed() where try root.statusIfPresent("\(parent.directory)/cur") != nil {
            return try inheritAccess(name, from: parent)
        }
    }

    package func create(_ name: FolderName, below parent: FolderName) throws(MailboxError) {
        try make(name)
        try inheritAccess(name, from: parent)
    }

    private func make(_ name: FolderName) throws(MailboxError) {
        guard !name.isInbox else { throw .exists }
        let sign = layout == .tree ? "\(name.directory)/cur" : name.directory
        guard try root.statusIfPresent(sign) == nil else { throw .exists }
        try layout.make(name, parts: Self.parts, in: root)
    }

    package func delete(_ name: FolderName) throws(MailboxError) {
        guard !name.isInbox else { throw .invalidName }
        let aside = try layout.takeAway(name, in: root)
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
        try layout.rename(name, to: new, moves, in: root)
    }

    private func moveInbox(to new: FolderName) throws(MailboxError) {
        try create(new)
        try copyInboxAnnotations(to: new)
        let inbox = try openMaildir(.inbox)
        let uids = inbox.messages.map(\.uid)
        _ = try inbox.copy(uids, to: try openMaildir(new))
        _ = try inbox.expunge(uids)
    }

    package func subscriptions() throws(MailboxError) -> [FolderName] { try readSubscriptions().names }

    private func readSubscriptions() throws(MailboxError) -> MaildirSubscriptions {
        MaildirSubscriptions(
            try root.contents(MaildirSubscriptions.path, maximum: 1 << 24),
            delimiter: layout.delimiter
        )
    }

    package func subscribe(_ name: FolderName) throws(MailboxError) {
        try changeSubscriptions { $0.insert(name) }
    }

    package func unsubscribe(_ name: FolderName) throws(MailboxError) {
        try changeSubscriptions { $0.remove(name) }
    }

    private func changeSubscriptions(_ change: (inout MaildirSubscriptions) -> Void) throws(MailboxError) {
        try root.withLock(Self.lockFile) { () throws(MailboxError) in
            let lock = try MboxLock.DotLock.acquire(MaildirSubscriptions.path, in: root)
            defer { withExtendedLifetime(lock) {} }
            let before = try readSubscriptions()
            var after = before
            change(&after)
            guard after != before else { return }
            try root.replace(MaildirSubscriptions.path, with: after.octets)
        }
    }

    package func usage() throws(MailboxError) -> MailboxUsage { try quota.usage() }

    package func lockSession() throws(MailboxError) -> SessionLock {
        try SessionLock("martlet-pop3.lock", in: root)
    }

    /// A UIDVALIDITY that no folder of this Maildir had before, so that a folder made again is not taken for the old one.
    ///
    /// The last one that was given is in the name of a file that Dovecot renames for each new one, and in the file
    /// `dovecot-uidvalidity`, both as eight hexadecimal digits.
    func newUIDValidity() throws(MailboxError) -> UInt32 {
        try root.withLock(Self.lockFile) { () throws(MailboxError) in
            for _ in 0..<5 {
                if let validity = try giveUIDValidity() { return validity }
            }
            throw .busy
        }
    }

    /// Nil where Dovecot has given one just now.
    private func giveUIDValidity() throws(MailboxError) -> UInt32? {
        var last: UInt32 = 0
        var markers: [String] = []
        for name in try root.names() where name.hasPrefix(Self.validityFile + ".") {
            guard let value = Self.validity(name.dropFirst(Self.validityFile.count + 1)) else { continue }
            markers.append(name)
            last = max(last, value)
        }
        let text = try root.contents(Self.validityFile, maximum: 64) ?? []
        last = max(last, Self.validity(String(decoding: text, as: UTF8.self)[...]) ?? 0)
        let older = try root.contents(Self.olderValidityFile, maximum: 64)
        if let digits = older?.prefix(while: { $0 != UInt8(ascii: "\n") }) {
            last = max(last, MaildirFileName.number(digits).flatMap { UInt32(exactly: $0) } ?? 0)
        }
        let now = UInt32(clamping: root.disk.seconds)
        let validity = last < .max ? max(now, last + 1) : now
        let digits = String(validity, radix: 16)
        let padded = String(repeating: "0", count: 8 - digits.count) + digits
        let marker = "\(Self.validityFile).\(padded)"
        if markers.isEmpty {
            _ = try root.open(marker, [.writing, .creating], mode: 0o444)
        } else {
            for old in markers where old != marker {
                do throws(MailboxError) { try root.rename(old, to: marker) } catch {
                    guard error == .notFound else { throw error }
                    return nil
                }
            }
        }
        try root.replace(Self.validityFile, with: Array(padded.utf8))
        if older != nil { try? root.remove(Self.olderValidityFile) }
        return validity
    }

    private static func validity(_ digits: Substring) -> UInt32? {
        digits.utf8.count == 8 ? UInt32(digits, radix: 16) : nil
    }
}

extension Maildir {
    /// - Throws: `notFound` where there is no such folder.
    func requireFolder(_ name: FolderName) throws(MailboxError) {
        guard try root.statusIfPresent("\(name.directory)/cur") != nil else { throw .notFound }
    }
}
