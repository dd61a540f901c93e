import Files
import NIOCore

/// The INBOX that an mbox is, open for one session. UIDs and flags are kept in files beside it (docs/mailbox.md, "mbox").
package final class MboxFolder: MailFolder, @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private struct Stamp: Equatable {
        var inode: UInt64
        var size: Int
        var seconds: Int64
        var nanoseconds: Int64
    }

    private let store: MboxStore
    private let readOnly: Bool
    private var list: UIDList
    private var file: OpenFile?
    private var entries: [MboxEntry] = []
    private var stamp: Stamp?
    /// Of the file of flags.
    private var flagsStamp: MaildirUIDList.Stamp?
    private var log: ChangeLog
    private var savedFlags: [UInt32: MessageFlags] = [:]
    private var recent: Set<UInt32> = []
    private var countedOctets: [UInt32: Int] = [:]

    package private(set) var messages: [StoredMessage] = []
    package var uidValidity: UInt32 { list.validity }
    package var uidNext: UInt32 { list.next }
    package var keywords: [String] { [] }
    package var accepts = MailboxRights.all.flags
    package var tracksChanges: Bool {
        didSet { if !tracksChanges { changes = nil } }
    }
    package private(set) var changes: FolderChanges?

    private var directory: DirectoryAccess { store.directory }
    private var flagsFile: String { "\(store.name).martlet-flags" }

    init(_ store: MboxStore, readOnly: Bool, tracksChanges: Bool) throws(MailboxError) {
        self.store = store
        self.tracksChanges = tracksChanges
        log = ChangeLog(path: "\(store.name).martlet-changes")
        self.readOnly = readOnly
        list = UIDList(path: "\(store.name).martlet-uidlist")
        _ = try refresh()
    }

    package func refresh() throws(MailboxError) -> Bool {
        if let stamp, currentStamp() == stamp, try flagsOnDisk() == flagsStamp {
            guard tracksChanges else { return false }
            let isLogged = try log.isCurrent(in: directory)
            if isLogged, changes != nil { return false }
        }
        let lock = try MboxLock.acquire(store.name, in: directory)
        defer { withExtendedLifetime(lock) {} }
        let isChanged = try scan(lock.file, lock)
        if tracksChanges { try logChanges() }
        return isChanged
    }

    private func flagsOnDisk() throws(MailboxError) -> MaildirUIDList.Stamp? {
        try directory.statusIfPresent(flagsFile).map { MaildirUIDList.Stamp($0) }
    }

    /// Gives modification sequences to what has changed. Needs the lock, and a scan.
    private func logChanges() throws(MailboxError) {
        let latest = max(Int(stamp?.seconds ?? 0), Int(flagsStamp?.modified ?? 0))
        let current = ChangeLog.Current(validity: list.validity, messages: messages, keywords: [], latest: latest)
        let now = UInt32(clamping: directory.disk.seconds)
        try log.update(current, saved: { _ in now }, in: directory)
        changes = log.changes
    }

    private func currentStamp() -> Stamp? {
        guard let status = try? directory.status(store.name) else { return nil }
        return Stamp(
            inode: status.inode,
            size: status.size,
            seconds: status.modified,
            nanoseconds: status.modifiedNanoseconds
        )
    }

    /// - Parameter opened: the mbox, also where it has just taken the place of the one that was locked.
    private func scan(_ opened: OpenFile, _ lock: MboxLock) throws(MailboxError) -> Bool {
        try list.load(in: directory) { () throws(MailboxError) in UInt32(clamping: directory.disk.seconds) }
        try loadFlags()
        try MboxJournal(store.name, in: directory).recover(opened, lock)
        let found = try MboxIndexer.entries(of: opened, lock)
        let keys = Self.keys(found)
        let unknown = keys.filter { list.uids[$0] == nil }
        try list.assign(unknown, in: directory)
        for key in unknown { if let uid = list.uids[key] { recent.insert(uid) } }
        var pairs: [(message: StoredMessage, entry: MboxEntry)] = []
        for (key, entry) in zip(keys, found) {
            guard let uid = list.uids[key] else { continue }
            let message = StoredMessage(
                uid: uid,
                flags: savedFlags[uid] ?? [],
                keywords: [],
                isRecent: recent.contains(uid),
                octets: countedOctets[uid]
            )
            pairs.append((message, entry))
        }
        pairs.sort { $0.message.uid < $1.message.uid }
        try list.compact(
            keeping: zip(keys, found).compactMap { key, _ in list.uids[key].map { (key, $0) } },
            in: directory
        )
        let updated = pairs.map(\.message)
        let changed = updated != messages
        messages = updated
        entries = pairs.map(\.entry)
        file = opened
        stamp = currentStamp()
        return changed
    }

    /// Entries that begin alike are told apart by their number.
    private static func keys(_ entries: [MboxEntry]) -> [String] {
        var seen: [EntryDigest: Int] = [:]
        return entries.map { entry in
            let count = seen[entry.digest, default: 0]
            seen[entry.digest] = count + 1
            return count == 0 ? entry.digest.text : "\(entry.digest.text)-\(count)"
        }
    }

    private func loadFlags() throws(MailboxError) {
        flagsStamp = try flagsOnDisk()
        let octets = try directory.contents(flagsFile, maximum: 1 << 26) ?? []
        savedFlags = [:]
        for line in octets.split(separator: UInt8(ascii: "\n")) {
            guard let space = line.firstIndex(of: UInt8(ascii: " ")),
                let uid = UInt32(String(decoding: line[..<space], as: UTF8.self))
            else { continue }
            savedFlags[uid] = MessageFlags(line[(space + 1)...].compactMap { MessageFlags(letter: $0) })
        }
    }

    private func saveFlags() throws(MailboxError) {
        let lines = savedFlags.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }
            .map { "\($0.key) \($0.value.letterText)\n" }
        try directory.replace(flagsFile, with: Array(lines.joined().utf8))
        flagsStamp = try flagsOnDisk()
    }

    // MARK: Reading

    package func identity(of uid: UInt32) -> UInt64? {
        messages.index(ofUID: uid).map {
            entries[$0].digest.number ^ UInt64(entries[$0].contentEnd - entries[$0].content)
        }
    }

    package func open(_ uid: UInt32) throws(MailboxError) -> MessageReader {
        _ = try refresh()
        guard let index = messages.index(ofUID: uid), let file else { throw .notFound }
        let entry = entries[index]
        let reader = try MessageReader(
            file,
            range: entry.content..<max(entry.content, entry.contentEnd),
            octets: countedOctets[uid],
            unquotes: true
        )
        countedOctets[uid] = reader.octets
        messages[index].octets = reader.octets
        return reader
    }

    package func octets(of uid: UInt32) throws(MailboxError) -> Int {
        if let known = countedOctets[uid] { return known }
        return try open(uid).octets
    }

    /// The file's own time: an mbox has no time for each message that could be relied on.
    package func internalDate(of uid: UInt32) throws(MailboxError) -> Int {
        guard messages.index(ofUID: uid) != nil else { throw .notFound }
        return Int(try directory.status(store.name).modified)
    }

    package var objectIdentifier: String { MaildirUIDList.identifier(ofValidity: uidValidity) }

    package func contentIdentifier(of uid: UInt32) -> String? {
        messages.index(ofUID: uid).map { entries[$0].digest.text }
    }

    package func saveDate(of uid: UInt32) throws(MailboxError) -> Int? { changes?.saved(uid) }

    // MARK: Changing

    package func store(
        _ change: FlagChange,
        to uids: [UInt32],
        unchangedSince sequence: UInt64?
    ) throws(MailboxError) -> StoredFlags {
        let lock = try MboxLock.acquire(store.name, in: directory)
        defer { withExtendedLifetime(lock) {} }
        let before = flagsStamp
        try loadFlags()
        // What others have changed is for the next look to tell.
        if flagsStamp != before { stamp = nil }
        if sequence != nil {
            _ = try scan(lock.file, lock)
            try logChanges()
            stamp = nil
        }
        var made = StoredFlags()
        for uid in uids {
            guard let index = messages.index(ofUID: uid) else { continue }
            if let sequence, let known = changes?.sequence(of: uid), known > sequence {
                made.conflicts.append(uid)
                continue
            }
            // What others have done to it stays.
            messages[index].flags = savedFlags[uid] ?? []
            change.apply([], to: &messages[index])
            savedFlags[uid] = messages[index].flags
            made.messages.append(messages[index])
        }
        try saveFlags()
        // The next look gives them their sequences.
        changes = nil
        return made
    }

    /// Writes the messages that stay to a new file, which takes the old one's place.
    package func expunge(_ uids: [UInt32]) throws(MailboxError) -> [UInt32] {
        let lock = try MboxLock.acquire(store.name, in: directory)
        defer { withExtendedLifetime(lock) {} }
        _ = try scan(lock.file, lock)
        changes = nil
        let gone = Set(uids)
        let kept = messages.indices.filter { !gone.contains(messages[$0].uid) }.map { entries[$0] }
            .sorted { $0.start < $1.start }
        let temporary = "\(store.name).martlet-new"
        try? directory.remove(temporary)
        let mode = try lock.file.status().permissions
        do throws(MailboxError) {
            let copy = try directory.open(temporary, [.reading, .writing, .creating, .exclusive], mode: mode)
            for entry in kept { try Self.copy(lock, entry.start..<entry.end, to: copy) }
            try copy.sync()
            // Another program may have appended what isn't in the copy.
            guard lock.isHeld else { throw .busy }
            try directory.rename(temporary, to: store.name)
            try directory.sync()
            for uid in gone { savedFlags[uid] = nil }
            try saveFlags()
            _ = try scan(copy, lock)
        } catch {
            try? directory.remove(temporary)
            throw error
        }
        return uids
    }

    private static func copy(_ lock: MboxLock, _ range: Range<Int>, to target: OpenFile) throws(MailboxError) {
        var copied = range.lowerBound
        try lock.read(range) { piece, _ throws(MailboxError) in
            try target.write(piece)
            copied += piece.count
            return true
        }
        guard copied == range.upperBound else { throw .corrupt("the mbox became shorter while it was copied") }
    }

    package func append() throws(MailboxError) -> any MessageAppend { throw .unsupported }

    package func copy(
        _ uids: [UInt32],
        to target: any MailFolder
    ) throws(MailboxError) -> [(source: UInt32, target: UInt32)] { throw .unsupported }
}
