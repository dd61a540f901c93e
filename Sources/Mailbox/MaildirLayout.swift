import Files

#if canImport(Glibc)
import Glibc
#endif

/// How the folders of a Maildir lie in directories.
enum MaildirLayout: Sendable {
    /// Maildir++: `.Work.Reports` beside `cur`, with a file `maildirfolder`.
    case plus
    /// Dovecot's `LAYOUT=fs`: `Work/Reports`, each with a `cur` of its own or without where it only has others in it.
    case tree

    /// What stands between the parts of names.
    var delimiter: UInt8 {
        switch self {
        case .plus: FolderName.delimiter
        case .tree: UInt8(ascii: "/")
        }
    }

    /// No tree is followed deeper than this.
    private static let maximumDepth = 64

    /// The folders that there are below a Maildir's root, in no order.
    func folders(in root: DirectoryAccess) throws(MailboxError) -> [FolderName] {
        switch self {
        case .plus:
            var names: [FolderName] = []
            for entry in try root.names() {
                guard let name = FolderName(directory: entry) else { continue }
                if try Self.hasCurrent(entry, in: root) { names.append(name) }
            }
            return names
        case .tree:
            var names: [FolderName] = []
            try search("", depth: 0, in: root, &names)
            return names
        }
    }

    /// Whether a directory has a `cur`; what can't have one is no failure.
    private static func hasCurrent(_ entry: String, in root: DirectoryAccess) throws(MailboxError) -> Bool {
        do throws(MailboxError) { return try root.statusIfPresent("\(entry)/cur") != nil } catch {
            guard case .system(_, let code) = error, [ENOTDIR, ELOOP, EACCES].contains(code) else { throw error }
            return false
        }
    }

    private func search(
        _ path: String,
        depth: Int,
        in root: DirectoryAccess,
        _ names: inout [FolderName]
    ) throws(MailboxError) {
        let entries: [String]
        do throws(MailboxError) { entries = try root.names(path.isEmpty ? "." : path) } catch {
            // Removed meanwhile.
            if depth > 0, error == .notFound { return }
            throw error
        }
        for entry in entries {
            let below = path.isEmpty ? entry : "\(path)/\(entry)"
            guard let name = FolderName(below, delimiter: delimiter), name.description == below,
                try root.isDirectory(below)
            else { continue }
            if !name.isInbox, try root.statusIfPresent("\(below)/cur") != nil { names.append(name) }
            if depth < Self.maximumDepth { try search(below, depth: depth + 1, in: root, &names) }
        }
    }

    // MARK: Changing

    /// Makes a folder that isn't there, durably.
    ///
    /// - Parameter parts: of a Maildir, in the order of their creation.
    func make(_ name: FolderName, parts: [String], in root: DirectoryAccess) throws(MailboxError) {
        // Made aside, so that no half a folder is ever to be seen.
        let aside = "tmp/\(root.disk.uniqueName()).folder"
        try root.makeDirectory(aside)
        do throws(MailboxError) {
            for part in parts { try root.makeDirectory("\(aside)/\(part)") }
            switch self {
            case .plus: _ = try root.open("\(aside)/maildirfolder", [.writing, .creating])
            case .tree: try makeParents(of: name, in: root)
            }
            try root.sync(aside)
            let hasDirectory = try root.statusIfPresent(name.directory) != nil
            if self == .tree, hasDirectory {
                // Of two that make it at the same time one must not take the other's for what was left of a deletion.
                try root.withLock(Maildir.lockFile) { () throws(MailboxError) in
                    guard try root.statusIfPresent("\(name.directory)/cur") == nil else { throw .exists }
                    try fill(name, from: aside, parts: parts, in: root)
                }
            } else {
                try root.rename(aside, to: name.directory)
            }
        } catch {
            try? root.removeTree(aside)
            throw error
        }
        try syncParents(of: name, in: root)
    }

    /// Makes a folder of a directory that has others in it. `cur`, which makes it one, comes when the rest can't be lost.
    private func fill(
        _ name: FolderName,
        from aside: String,
        parts: [String],
        in root: DirectoryAccess
    ) throws(MailboxError) {
        for part in parts.sorted(by: >) {
            if part == "cur" { try root.sync(name.directory) }
            let place = "\(name.directory)/\(part)"
            do throws(MailboxError) {
                try root.rename("\(aside)/\(part)", to: place)
            } catch {
                guard error == .exists else { throw error }
                // There are files in it, of a folder that was deleted when the process died or the power failed.
                try root.rename(place, to: "\(aside)/\(part).deleted")
                try root.rename("\(aside)/\(part)", to: place)
            }
        }
        try root.sync(name.directory)
        try? root.removeTree(aside)
    }

    private func makeParents(of name: FolderName, in root: DirectoryAccess) throws(MailboxError) {
        guard let parent = name.ancestors.last else { return }
        try root.makeDirectories(parent.isInbox ? parent.description : parent.directory)
    }

    /// Waits until the names of a folder and of those above it are on stable storage.
    func syncParents(of name: FolderName, in root: DirectoryAccess) throws(MailboxError) {
        if self == .tree {
            for parent in name.ancestors.reversed() { try root.sync(parent.description) }
        }
        try root.sync()
    }

    /// Takes a folder away, durably, and leaves those below it.
    ///
    /// - Returns: where it is now, to be removed.
    func takeAway(_ name: FolderName, in root: DirectoryAccess) throws(MailboxError) -> String {
        let aside = "tmp/\(root.disk.uniqueName()).deleted"
        guard self == .tree else {
            try root.rename(name.directory, to: aside)
            try root.sync()
            return aside
        }
        guard try root.statusIfPresent("\(name.directory)/cur") != nil else { throw .notFound }
        let hasChildren = try folders(in: root).contains { $0.isBelow(name) }
        if hasChildren {
            try root.makeDirectory(aside)
            // Without `cur` it's no folder any more.
            try root.rename("\(name.directory)/cur", to: "\(aside)/cur")
            try root.sync(name.directory)
            for entry in try root.names(name.directory) {
                let below = "\(name.directory)/\(entry)"
                // What is another folder stays.
                let isDirectory = try root.isDirectory(below)
                guard !isDirectory || entry == "new" || entry == "tmp" else { continue }
                try? root.rename(below, to: "\(aside)/\(entry)")
            }
        } else {
            try root.rename(name.directory, to: aside)
            try root.sync(name.ancestors.last?.description ?? ".")
            try removeEmptyParents(of: name, in: root)
        }
        return aside
    }

    /// Directories that only had this folder in them.
    private func removeEmptyParents(of name: FolderName, in root: DirectoryAccess) throws(MailboxError) {
        for parent in name.ancestors.reversed() {
            do throws(MailboxError) { try root.removeEmptyDirectory(parent.description) } catch { return }
        }
    }

    /// Gives folders other names: all of them, or none.
    ///
    /// - Parameter moves: the folder and all those below it, the folder first where it is one itself.
    func rename(
        _ name: FolderName,
        to new: FolderName,
        _ moves: [(from: FolderName, to: FolderName)],
        in root: DirectoryAccess
    ) throws(MailboxError) {
        switch self {
        case .plus:
            var done = 0
            do throws(MailboxError) {
                for move in moves {
                    try root.rename(move.from.directory, to: move.to.directory)
                    done += 1
                }
                try root.sync()
            } catch {
                for move in moves[..<done].reversed() {
                    try? root.rename(move.to.directory, to: move.from.directory)
                }
                throw error
            }
        case .tree:
            try makeParents(of: new, in: root)
            // Takes the place of an empty directory, such as the parent of a folder that was never finished, and of no other.
            try root.rename(name.directory, to: new.directory)
            try syncParents(of: new, in: root)
            try root.sync(name.ancestors.last?.description ?? ".")
            try removeEmptyParents(of: name, in: root)
        }
    }
}
