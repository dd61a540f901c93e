import Files
import NIOConcurrencyHelpers

/// What this process knows of one folder of a Maildir, shared by all sessions that have it open, so that none of them reads
/// again what another has read, and a change is in all of them at once.
///
/// Calls may come from any thread. Each holds the index's own lock; what changes the folder also holds a lock of the kernel
/// on `cur`, which our other processes respect, and Dovecot's `dovecot-uidlist.lock` where UIDs are given.
final class MaildirIndex: @unchecked Sendable {
    // Unchecked: whatever reads or changes state holds `mutex`. The state is for this type's own files alone.

    /// Two changes within a timestamp's granularity look like one, so a directory's timestamp tells for certain that nothing
    /// was missed only where it was this old when the directory was read. Nanoseconds.
    static let settling = 1_000_000_000
    /// Where that isn't certain, `cur` is read again at once if that takes no longer than this, and otherwise no more often than
    /// takes a hundredth of the time: what is missed is what another program did in the same few milliseconds. Nanoseconds.
    private static let quick = 500_000
    private static let share = 100
    /// What is found renamed is looked for so many times.
    static let attempts = 5
    /// Changes of a directory that are not as far apart may have the same time. Nanoseconds.
    static let tick = 20_000_000
    /// `tmp/` is cleared so often. Seconds.
    static let clearing = 8 * 3600
    static let olderListFile = "martlet-uidlist"
    static let changesFile = "martlet-changes"

    let directory: DirectoryAccess
    let mutex = NIOLock()
    var list = MaildirUIDList()
    var keywordList = KeywordList()
    var keywordStamp: MaildirUIDList.Stamp?
    /// Names that aren't written as we write them, by UID.
    var irregularNames: [UInt32: [UInt8]] = [:]
    /// The times of the directories as they were read; nil where they are to be read again.
    var newRead: Int?
    var currentRead: Int?
    /// When `cur` was last listed, and how long that took. Nanoseconds.
    var listed = 0
    var listingTook = 0
    /// Whether the records say where the files are; not after the list was read anew.
    var isListed = false
    /// That of the list which the records' places are of.
    var generation = 0
    /// Whether the list has messages of others whose files weren't looked for yet.
    var hasUnsought = false
    /// Whether it was since the present look at the folder began.
    var wasReread = false
    var listing: UInt32 = 0
    /// Rises with every change of messages, flags or keywords.
    var version = 0
    /// Messages that no session has been told as recent, ascending.
    var unclaimed: [UInt32] = []
    var snapshot: [StoredMessage]?
    var cleared = 0
    /// Whether what was in `new/` when it was read can't be moved.
    var isStuck = false
    /// Dovecot's, while we hold it.
    private var listLock: MboxLock.DotLock?
    /// Modification sequences, as of the last time that a session has asked for them, and the version that they are of.
    var log = ChangeLog(path: changesFile)
    var loggedVersion = -1
    /// The name of the folder that is known to be on stable storage.
    var securedName: FolderName?

    init(_ directory: DirectoryAccess) { self.directory = directory }

    /// What a session is shown.
    struct View {
        let version: Int
        let validity: UInt32
        let next: UInt32
        let keywords: [String]
        let messages: [StoredMessage]
        /// Messages that are recent in the session that asked: that are its own from now on, if it may keep them.
        let recent: [UInt32]
        /// Modification sequences, where they were asked for.
        let changes: FolderChanges?
    }

    /// What was done to messages.
    struct Change {
        /// As they are now, without those that are gone.
        var messages: [StoredMessage] = []
        /// Those that were left alone because they had changed.
        var conflicts: [UInt32] = []
        var octets = 0
        var files = 0
        /// All that there are now.
        var keywords: [String] = []
        /// The version that was changed and the one that it became; -1 where others' changes were found as well, which are for
        /// `refresh` to tell.
        var before = -1
        var after = 0
    }

    var memory: Int {
        mutex.withLock { list.memory + log.memory + (snapshot?.count ?? 0) * MemoryLayout<StoredMessage>.stride }
    }

    // MARK: Locks

    func exclusively<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
        mutex.lock()
        defer { mutex.unlock() }
        return try body()
    }

    /// Runs a change with our other processes kept out.
    func changing<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
        try exclusively { () throws(MailboxError) in
            let guardian = try directory.open("cur", [.reading, .directory])
            try mappingErrors { () throws(FileError) in try guardian.disk.files.waitForLock(guardian.handle) }
            defer { withExtendedLifetime(guardian) {} }
            return try body()
        }
    }

    /// Runs what gives UIDs or keywords with Dovecot's lock on top, and with the list as it is by then.
    ///
    /// - Throws: `busy`.
    func naming<Value>(
        in maildir: Maildir,
        _ body: () throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        let lock = try MboxLock.DotLock.acquire(MaildirUIDList.path, in: directory)
        listLock = lock
        defer { listLock = nil }
        try loadList(maildir, isLocked: true)
        return try body()
    }

    /// Gives UIDs. Needs the locks of `naming`.
    ///
    /// - Throws: `busy` where somebody took our lock for one that was left behind.
    ///
    /// - Parameter identifiers: of contents that messages have from elsewhere, by base name.
    func assign(_ bases: [[UInt8]], identifiers: [[UInt8]: [UInt8]] = [:]) throws(MailboxError) {
        guard let listLock, listLock.isInPlace else { throw .busy }
        try list.assign(bases, identifiers: identifiers, in: directory)
    }

    /// Makes sure that the list is the one whose UIDs a session knows.
    ///
    /// - Throws: `vanished` where another numbering was begun.
    func check(_ validity: UInt32) throws(MailboxError) {
        guard list.validity == validity else { throw .vanished }
    }

    // MARK: Reading the folder

    /// Reads what has changed.
    ///
    /// - Parameters:
    ///   - claims: whether what is recent is recent in no other session from now on, and leaves `new/`.
    ///   - tracks: whether modification sequences are wanted.
    func refresh(in maildir: Maildir, claims: Bool, tracks: Bool) throws(MailboxError) -> View {
        let known = try exclusively { () throws(MailboxError) -> View? in
            guard try isUnchanged(claims: claims) else { return nil }
            if tracks { guard try isLogged() else { return nil } }
            return view(claims: claims, tracks: tracks)
        }
        if let known { return known }
        return try changing { () throws(MailboxError) in
            try scan(maildir, movesNew: claims)
            if tracks { try logChanges() }
            return view(claims: claims, tracks: tracks)
        }
    }

    private func isLogged() throws(MailboxError) -> Bool {
        guard loggedVersion == version else { return false }
        return try log.isCurrent(in: directory)
    }

    /// Gives modification sequences to what has changed. Needs both our locks, and a scan.
    func logChanges() throws(MailboxError) {
        guard try !isLogged() else { return }
        let times = try times()
        let latest = max(times.new, times.current) / 1_000_000_000
        let current = ChangeLog.Current(
            validity: list.validity,
            messages: list.records.lazy.filter { $0.place != .nowhere }.map { StoredMessage($0) },
            keywords: keywordList.names,
            latest: max(latest, Int(list.stamp?.modified ?? 0))
        )
        try log.update(current, saved: { saveDate(of: $0) ?? 0 }, in: directory)
        loggedVersion = version
    }

    /// When a message was put here, as far as its name tells: whoever delivers or copies it begins the name with that. Unlike the
    /// file's times, it stays as it is when flags change. Seconds since 1970.
    private func saveDate(of uid: UInt32) -> UInt32? {
        guard let index = find(uid) else { return nil }
        let seconds = MaildirFileName.seconds(of: Array(list.base(index)))
        return seconds > 0 ? UInt32(exactly: seconds) : nil
    }

    /// The same for one message whose date wasn't kept.
    func saveDate(of uid: UInt32, _ validity: UInt32) -> Int? {
        mutex.withLock { list.validity == validity ? saveDate(of: uid).map { Int($0) } : nil }
    }

    /// Of a message's base name, which is no other's.
    func identity(of uid: UInt32, _ validity: UInt32) -> UInt64? {
        mutex.withLock {
            guard list.validity == validity else { return nil }
            return list.index(ofUID: uid).map { EntryDigest(list.base($0)).number }
        }
    }

    var objectIdentifier: String { mutex.withLock { list.identifier } }

    /// Dovecot's GUID of a message as letters and digits.
    func contentIdentifier(of uid: UInt32, _ validity: UInt32) -> String? {
        mutex.withLock {
            guard list.validity == validity, let index = find(uid) else { return nil }
            let identifier = list.contentIdentifier(index)
            if MaildirUIDList.isIdentifier(identifier) { return String(decoding: identifier, as: UTF8.self) }
            return EntryDigest(identifier).text
        }
    }

    /// Dovecot's GUIDs of messages, which are the names that their files came with.
    func originalNames(of uids: some Sequence<UInt32>, _ validity: UInt32) -> [UInt32: String] {
        mutex.withLock {
            guard list.validity == validity else { return [:] }
            var names: [UInt32: String] = [:]
            for uid in uids {
                guard let index = find(uid) else { continue }
                names[uid] = String(decoding: list.contentIdentifier(index), as: UTF8.self)
            }
            return names
        }
    }

    /// What is known after a change; nil where the folder must be read first.
    func viewAfterChange(claims: Bool) -> View? {
        mutex.withLock { isListed && !hasUnsought ? view(claims: claims, tracks: false) : nil }
    }

    private func view(claims: Bool, tracks: Bool) -> View {
        let messages: [StoredMessage]
        if let snapshot {
            messages = snapshot
        } else {
            var found: [StoredMessage] = []
            found.reserveCapacity(list.records.count)
            for record in list.records where record.place != .nowhere { found.append(StoredMessage(record)) }
            snapshot = found
            messages = found
        }
        var recent = unclaimed
        if claims {
            // What is in `new/` is still recent for other processes.
            let known = unclaimed
            recent = known.filter { !isNew($0) }
            unclaimed = recent.count == known.count ? [] : known.filter { isNew($0) }
        }
        return View(
            version: version,
            validity: list.validity,
            next: list.next,
            keywords: keywordList.names,
            messages: messages,
            recent: recent,
            changes: tracks ? log.changes : nil
        )
    }

    func time(of path: String) throws(MailboxError) -> Int {
        let status = try directory.status(path)
        return Int(status.modified &* 1_000_000_000 &+ status.modifiedNanoseconds)
    }

    func times() throws(MailboxError) -> (new: Int, current: Int) {
        (try time(of: "new"), try time(of: "cur"))
    }

    var now: Int { directory.disk.nanoseconds }

    private func isUnchanged(claims: Bool) throws(MailboxError) -> Bool {
        guard isListed, let newRead, let currentRead, try time(of: "new") == newRead,
            try time(of: "cur") == currentRead, try MaildirUIDList.stamp(in: directory) == list.stamp,
            try keywordsOnDisk() == keywordStamp
        else { return false }
        return !(claims && hasNew && !isStuck) && !isInDoubt
    }

    /// Whether files are known to be in `new/`.
    var hasNew: Bool {
        // Nobody was told of those that are there.
        unclaimed.contains { isNew($0) }
    }

    func isNew(_ uid: UInt32) -> Bool {
        list.index(ofUID: uid).map { list.records[$0].place == .new } ?? false
    }

    /// Whether `cur` should be read again though its time is the one that is known.
    var isInDoubt: Bool {
        guard let currentRead else { return true }
        guard listed - currentRead < Self.settling else { return false }
        return listingTook < Self.quick || now - max(listed, currentRead) >= Self.share * listingTook
    }

    func keywordsOnDisk() throws(MailboxError) -> MaildirUIDList.Stamp? {
        try directory.statusIfPresent(KeywordList.path).map { MaildirUIDList.Stamp($0) }
    }

    func changed() {
        version += 1
        snapshot = nil
    }
}

extension StoredMessage {
    init(_ record: MaildirRecord) {
        self.init(
            uid: record.uid,
            flags: record.flags,
            keywords: record.keywords,
            isRecent: false,
            octets: record.wireOctets
        )
    }
}
