import Files
import NIOConcurrencyHelpers

/// The indexes of folders that are in use, and of some that were a moment ago: a client that comes back finds its folder as
/// it was left.
final class MaildirIndexes: Sendable {
    /// Of the folders that nobody uses.
    private static let maximumIdle = 100
    /// Octets of their memory, more or less.
    private static let maximumMemory = 48 << 20
    /// How long they are kept. Seconds.
    private static let maximumAge = 600

    struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    private struct Entry {
        let index: MaildirIndex
        var users: Int
        /// When the last user went. Seconds since 1970.
        var left = 0
        /// By then.
        var memory = 0
    }

    private let entries = NIOLockedValueBox<[Identity: Entry]>([:])

    /// An index in use; given back with the object.
    final class Use: Sendable {
        let index: MaildirIndex
        let identity: Identity
        private let indexes: MaildirIndexes

        fileprivate init(_ index: MaildirIndex, _ identity: Identity, of indexes: MaildirIndexes) {
            self.index = index
            self.identity = identity
            self.indexes = indexes
        }

        deinit { indexes.giveBack(identity, at: index.directory.disk.seconds) }
    }

    /// The index of a folder.
    ///
    /// - Parameter directory: the folder's, open. The index keeps the first one, so that its inode isn't used again.
    func use(_ directory: DirectoryAccess) throws(MailboxError) -> Use {
        let status = try directory.file.status()
        let identity = Identity(device: status.device, inode: status.inode)
        let index = entries.withLockedValue { entries in
            let known = entries[identity]?.index ?? MaildirIndex(directory)
            entries[identity, default: Entry(index: known, users: 0)].users += 1
            return known
        }
        return Use(index, identity, of: self)
    }

    private func giveBack(_ identity: Identity, at now: Int) {
        let dropped = entries.withLockedValue { entries -> [Entry] in
            guard var entry = entries[identity] else { return [] }
            entry.users -= 1
            if entry.users == 0 {
                entry.left = now
                entry.memory = entry.index.memory
            }
            entries[identity] = entry
            return Self.dropIdle(from: &entries, now: now)
        }
        // Outside of the lock: it closes directories.
        withExtendedLifetime(dropped) {}
    }

    private static func dropIdle(from entries: inout [Identity: Entry], now: Int) -> [Entry] {
        let idle = entries.filter { $0.value.users == 0 }.sorted { $0.value.left > $1.value.left }
        var dropped: [Entry] = []
        var memory = 0
        for (number, entry) in idle.enumerated() {
            memory += entry.value.memory
            let isKept = number < maximumIdle && memory <= maximumMemory && now - entry.value.left <= maximumAge
            if !isKept {
                dropped.append(entry.value)
                entries[entry.key] = nil
            }
        }
        return dropped
    }
}
