import Algorithms
import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// What this process knows of one folder of a Maildir, shared by all sessions that have it open, so that none of them reads
/// again what another has read, and a change is in all of them at once.
///
/// Calls may come from any thread. Each holds the index's own lock; what changes the folder also holds a lock of the kernel
/// on `cur`, which our other processes respect, and Dovecot's `dovecot-uidlist.lock` where UIDs are given.
final class MaildirIndex: @unchecked Sendable {
    // Unchecked: whatever reads or changes state holds `mutex`.

    /// Two changes within a timestamp's granularity look like one, so a directory's timestamp tells for certain that nothing
    /// was missed only where it was this old when the directory was read. Nanoseconds.
    private static let settling = 1_000_000_000
    /// Where that isn't certain, `cur` is read again at once if that takes no longer than this, and otherwise no more often than
    /// takes a hundredth of the time: what is missed is what another program did in the same few milliseconds. Nanoseconds.
    private static let quick = 500_000
    private static let share = 100
    /// What is found renamed is looked for so many times.
    private static let attempts = 5
    /// Changes of a directory that are not as far apart may have the same time. Nanoseconds.
    private static let tick = 20_000_000
    /// `tmp/` is cleared so often. Seconds.
    private static let clearing = 8 * 3600
    static let olderListFile = "martlet-uidlist"

    let directory: DirectoryAccess
    private let mutex = NIOLock()
    private var list = MaildirUIDList()
    private var keywordList = KeywordList()
    private var keywordStamp: MaildirUIDList.Stamp?
    /// Names that aren't written as we write them, by UID.
    private var irregularNames: [UInt32: [UInt8]] = [:]
    /// The times of the directories as they were read; nil where they are to be read again.
    private var newRead: Int?
    private var currentRead: Int?
    /// When `cur` was last listed, and how long that took. Nanoseconds.
    private var listed = 0
    private var listingTook = 0
    /// Whether the records say where the files are; not after the list was read anew.
    private var isListed = false
    /// That of the list which the records' places are of.
    private var generation = 0
    /// Whether the list has messages of others whose files weren't looked for yet.
    private var hasUnsought = false
    /// Whether it was since the present look at the folder began.
    private var wasReread = false
    private var listing: UInt32 = 0
    /// Rises with every change of messages, flags or keywords.
    private var version = 0
    /// Messages that no session has been told as recent, ascending.
    private var unclaimed: [UInt32] = []
    private var snapshot: [StoredMessage]?
    private var cleared = 0
    /// Whether what was in `new/` when it was read can't be moved.
    private var isStuck = false
    /// Dovecot's, while we hold it.
    private var listLock: MboxLock.DotLock?
    /// The name of the folder that is known to be on stable storage.
    private var securedName: FolderName?

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
    }

    /// What was done to messages.
    struct Change {
        /// As they are now, without those that are gone.
        var messages: [StoredMessage] = []
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
        mutex.withLock { list.memory + (snapshot?.count ?? 0) * MemoryLayout<StoredMessage>.stride }
    }

    // MARK: Locks

    private func exclusively<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
        mutex.lock()
        defer { mutex.unlock() }
        return try body()
    }

    /// Runs a change with our other processes kept out.
    private func changing<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
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
    private func naming<Value>(
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
    private func assign(_ bases: [[UInt8]]) throws(MailboxError) {
        guard let listLock, listLock.isInPlace else { throw .busy }
        try list.assign(bases, in: directory)
    }

    /// Makes sure that the list is the one whose UIDs a session knows.
    ///
    /// - Throws: `vanished` where another numbering was begun.
    private func check(_ validity: UInt32) throws(MailboxError) {
        guard list.validity == validity else { throw .vanished }
    }

    // MARK: Reading the folder

    /// Reads what has changed.
    ///
    /// - Parameter claims: whether what is recent is recent in no other session from now on, and leaves `new/`.
    func refresh(in maildir: Maildir, claims: Bool) throws(MailboxError) -> View {
        let known = try exclusively { () throws(MailboxError) -> View? in
            try isUnchanged(claims: claims) ? view(claims: claims) : nil
        }
        if let known { return known }
        return try changing { () throws(MailboxError) in
            try scan(maildir, movesNew: claims)
            return view(claims: claims)
        }
    }

    /// Of a message's base name, which is no other's.
    func identity(of uid: UInt32, _ validity: UInt32) -> UInt64? {
        mutex.withLock {
            guard list.validity == validity else { return nil }
            return list.index(ofUID: uid).map { EntryDigest(list.base($0)).number }
        }
    }

    /// What is known after a change; nil where the folder must be read first.
    func viewAfterChange(claims: Bool) -> View? {
        mutex.withLock { isListed && !hasUnsought ? view(claims: claims) : nil }
    }

    private func view(claims: Bool) -> View {
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
            recent: recent
        )
    }

    private func time(of path: String) throws(MailboxError) -> Int {
        let status = try directory.status(path)
        return Int(status.modified &* 1_000_000_000 &+ status.modifiedNanoseconds)
    }

    private func times() throws(MailboxError) -> (new: Int, current: Int) {
        (try time(of: "new"), try time(of: "cur"))
    }

    private var now: Int { directory.disk.nanoseconds }

    private func isUnchanged(claims: Bool) throws(MailboxError) -> Bool {
        guard isListed, let newRead, let currentRead, try time(of: "new") == newRead,
            try time(of: "cur") == currentRead, try MaildirUIDList.stamp(in: directory) == list.stamp,
            try keywordsOnDisk() == keywordStamp
        else { return false }
        return !(claims && hasNew && !isStuck) && !isInDoubt
    }

    /// Whether files are known to be in `new/`.
    private var hasNew: Bool {
        // Nobody was told of those that are there.
        unclaimed.contains { isNew($0) }
    }

    private func isNew(_ uid: UInt32) -> Bool {
        list.index(ofUID: uid).map { list.records[$0].place == .new } ?? false
    }

    /// Whether `cur` should be read again though its time is the one that is known.
    private var isInDoubt: Bool {
        guard let currentRead else { return true }
        guard listed - currentRead < Self.settling else { return false }
        return listingTook < Self.quick || now - max(listed, currentRead) >= Self.share * listingTook
    }

    private func keywordsOnDisk() throws(MailboxError) -> MaildirUIDList.Stamp? {
        try directory.statusIfPresent(KeywordList.path).map { MaildirUIDList.Stamp($0) }
    }

    private func changed() {
        version += 1
        snapshot = nil
    }

    /// Reads the list where somebody else has changed it; makes it where there is none.
    ///
    /// - Parameter isLocked: whether Dovecot's lock is held.
    private func loadList(_ maildir: Maildir, isLocked: Bool) throws(MailboxError) {
        let count = list.records.count
        let before = (isListed: isListed, new: newRead, current: currentRead)
        // Nothing is known of the records where this fails half-way.
        isListed = false
        newRead = nil
        currentRead = nil
        let isThere = try list.load(in: directory)
        let hasOlder = try directory.statusIfPresent(Self.olderListFile) != nil
        let isUnsafe = try MaildirUIDList.isUnsafe(in: directory)
        if !isThere || hasOlder || isUnsafe {
            let lock = isLocked ? nil : try MboxLock.DotLock.acquire(MaildirUIDList.path, in: directory)
            defer { withExtendedLifetime(lock) {} }
            try takeOver(maildir, hasOlder: hasOlder)
            if try MaildirUIDList.isUnsafe(in: directory) { try list.secure(in: directory) }
        }
        if list.generation != generation {
            // Places in the list are new: the files are to be found again.
            generation = list.generation
            wasReread = true
            irregularNames = [:]
            changed()
        } else {
            isListed = before.isListed
            if list.records.count == count {
                (newRead, currentRead) = (before.new, before.current)
            } else {
                hasUnsought = true
            }
        }
        let now = try keywordsOnDisk()
        if now != keywordStamp {
            try keywordList.load(in: directory)
            keywordStamp = now
            changed()
        }
    }

    /// Begins the list where there is none: with the UIDs of Martlet's own list, which earlier versions had. Needs both locks.
    private func takeOver(_ maildir: Maildir, hasOlder: Bool) throws(MailboxError) {
        // Another program may have made it meanwhile.
        let isThere = try list.load(in: directory)
        var older = UIDList(path: Self.olderListFile)
        if hasOlder {
            do throws(MailboxError) {
                try older.load(in: directory) { () throws(MailboxError) in throw .corrupt("no UIDs") }
            } catch {
                guard case .corrupt = error else { throw error }
                // A part of the UIDs is none to go on with: what the rest were would be given again.
                older = UIDList(path: Self.olderListFile)
            }
        }
        if older.validity != 0 {
            // Clients know these numbers, whatever another program's list says.
            if !isThere || list.validity != older.validity {
                try list.start(
                    validity: older.validity,
                    next: older.next,
                    known: Self.usable(older.uids),
                    identifies: try directory.file.status().inode == maildir.root.file.status().inode,
                    in: directory
                )
            }
        } else if !isThere {
            try list.start(validity: try maildir.newUIDValidity(), in: directory)
        }
        guard hasOlder else { return }
        for leftover in [Self.olderListFile, "\(Self.olderListFile).lock"] { try? directory.remove(leftover) }
    }

    /// The messages of an older list that the new one can have: in ascending order, and none where two have the same UID.
    private static func usable(_ uids: [String: UInt32]) -> [(uid: UInt32, base: [UInt8])] {
        let sorted = uids.map { (uid: $0.value, base: Array($0.key.utf8)) }.sorted { $0.uid < $1.uid }
        return sorted.indices.filter { place in
            let (uid, base) = sorted[place]
            let isAlone =
                (place == 0 || sorted[place - 1].uid != uid)
                && (place + 1 == sorted.count || sorted[place + 1].uid != uid)
            return isAlone && (1...255).contains(base.count) && !base.contains(UInt8(ascii: ":"))
        }.map { sorted[$0] }
    }

    /// Reads the directories where they have changed. Needs both our locks.
    private func scan(_ maildir: Maildir, movesNew: Bool, all: Bool = false) throws(MailboxError) {
        clearTemporaries()
        for _ in 0..<Self.attempts {
            try scanOnce(maildir, movesNew: movesNew, all: all)
            // Unless the list was replaced meanwhile.
            if isListed { return }
        }
        throw .busy
    }

    private func scanOnce(_ maildir: Maildir, movesNew: Bool, all: Bool) throws(MailboxError) {
        let start = now
        try loadList(maildir, isLocked: false)
        var newTime = try time(of: "new")
        var currentTime = try time(of: "cur")
        let listsCurrent = all || !isListed || currentRead != currentTime || isInDoubt
        let listsNew = all || !isListed || newRead != newTime
        let moves = movesNew && (listsNew || hasNew && !isStuck)
        guard listsNew || listsCurrent || moves else { return }
        wasReread = false
        listing &+= 1
        var unknown: [Arrival] = []
        var isComplete = true
        // Another program may write its list before its files have their names.
        let settled = list.stamp.map { Int($0.modified) < start / 1_000_000_000 - 1 } ?? false ? list.records.count : 0
        if moves {
            isStuck = false
            do throws(MailboxError) { try moveNew(&unknown, maildir) } catch {
                guard error.leavesReading else { throw error }
                // They stay where they are, as for a session that may only read.
                try list(.new, &unknown)
            }
            newTime = try time(of: "new")
            currentTime = try time(of: "cur")
        } else if listsNew {
            isStuck = false
            try list(.new, &unknown)
        }
        if listsCurrent { try list(.current, &unknown) }
        let wasMoving = try times() != (newTime, currentTime) && !isListed
        if wasMoving || isMissing(new: moves || listsNew, current: listsCurrent) {
            isComplete = try findMissing(&unknown)
        }
        try assign(unknown, maildir)
        if isComplete, listsCurrent, moves || listsNew, !wasReread, start - max(newTime, currentTime) > Self.tick {
            list.forgetUnseen(of: settled)
        }
        if listsCurrent, list.isMostlyDead { try compact(maildir) }
        newRead = start - newTime > Self.settling ? newTime : nil
        currentRead = isComplete ? currentTime : nil
        if listsCurrent {
            listed = start
            listingTook = now - start
        }
        isListed = !wasReread && list.generation == generation
        hasUnsought = false
    }

    /// Looks for messages that weren't found where they were: a file that was renamed while its directory was being read may
    /// have been missed, or has gone to the other one. What isn't found in directories that nobody changed meanwhile is gone.
    ///
    /// - Returns: false where they never were at rest.
    private func findMissing(_ unknown: inout [Arrival]) throws(MailboxError) -> Bool {
        var rests = 0
        for _ in 0..<Self.attempts {
            let (before, start) = (try times(), now)
            try list(.new, &unknown)
            try list(.current, &unknown)
            rests = try times() == before ? rests + 1 : 0
            // A change in the same tick of the clock as one before it doesn't show: once more where there was one just now.
            if rests > 1 || rests == 1 && start - max(before.new, before.current) > Self.tick {
                forgetMissing()
                return true
            }
        }
        return false
    }

    /// Writes the list without the messages that are gone. It can be done another time where it can't be done now.
    private func compact(_ maildir: Maildir) throws(MailboxError) {
        let count = list.records.count
        do throws(MailboxError) {
            try naming(in: maildir) { () throws(MailboxError) in
                // Nothing is known of the files of what is in the list since just now.
                if !wasReread, list.records.count == count { try list.compact(in: directory) }
            }
        } catch {
            guard error != .busy else { throw error }
        }
    }

    private func clearTemporaries() {
        let now = directory.disk.seconds
        guard now - cleared >= Self.clearing else { return }
        cleared = now
        directory.removeOldTemporaries()
    }

    /// A file that the list doesn't know.
    private struct Arrival {
        let base: [UInt8]
        let name: [UInt8]
        let place: MaildirRecord.Place
        let isRecent: Bool
    }

    private func list(_ place: MaildirRecord.Place, _ unknown: inout [Arrival]) throws(MailboxError) {
        var found: [Arrival] = []
        try directory.visitNames(place == .new ? "new" : "cur") { name in
            guard let parsed = MaildirFileName(name) else { return }
            let base = UnsafeRawBufferPointer(rebasing: name[..<parsed.baseLength])
            if let index = list.index(ofBase: base) {
                note(parsed, name, index, place)
            } else {
                found.append(Arrival(base: Array(base), name: Array(name), place: place, isRecent: place == .new))
            }
        }
        unknown += found
    }

    /// Notes that a message's file was found.
    private func note(
        _ parsed: MaildirFileName,
        _ name: UnsafeRawBufferPointer,
        _ index: Int,
        _ place: MaildirRecord.Place
    ) {
        let record = list.records[index]
        if parsed.form == (place == .new ? .bare : .regular) {
            if !irregularNames.isEmpty { irregularNames[record.uid] = nil }
        } else {
            irregularNames[record.uid] = Array(name)
        }
        if record.place != place || record.flags != parsed.flags || record.keywords != parsed.keywords {
            // Another process has shown it to a session, or nobody has.
            if record.place == .new, place == .current { claim(record.uid) }
            if record.place != .new, place == .new { unclaim(record.uid) }
            changed()
        }
        list.update(index) { record in
            record.place = place
            record.flags = parsed.flags
            record.keywords = parsed.keywords
            record.listing = listing
        }
    }

    /// Whether messages weren't found where they were.
    private func isMissing(new: Bool, current: Bool) -> Bool {
        // Nobody was told of those in `new/`.
        if new, unclaimed.contains(where: { isNew($0) && isUnseen($0) }) { return true }
        return current && list.records.contains { $0.place == .current && $0.listing != listing }
    }

    private func isUnseen(_ uid: UInt32) -> Bool {
        list.index(ofUID: uid).map { list.records[$0].listing != listing } ?? false
    }

    private func forgetMissing() {
        for index in list.records.indices {
            let record = list.records[index]
            if record.place != .nowhere, record.listing != listing { forget(index) }
        }
    }

    private func forget(_ index: Int) {
        let uid = list.records[index].uid
        irregularNames[uid] = nil
        claim(uid)
        list.forget(index)
        changed()
    }

    /// Moves the files in `new/` to `cur/`, where they are what a session has seen.
    private func moveNew(_ unknown: inout [Arrival], _ maildir: Maildir) throws(MailboxError) {
        var names: [[UInt8]] = []
        try directory.visitNames("new") { names.append(Array($0)) }
        guard !names.isEmpty else { return }
        // Dovecot moves them under its lock, too. Where it is taken nothing has happened yet.
        try naming(in: maildir) { () throws(MailboxError) in try move(names, &unknown) }
    }

    private func move(_ names: [[UInt8]], _ unknown: inout [Arrival]) throws(MailboxError) {
        for name in names {
            guard let parsed = name.withUnsafeBytes({ MaildirFileName($0) }) else { continue }
            let target = parsed.form == .bare ? name + MaildirFileName.suffix([], []) : name
            var found = target
            var place = MaildirRecord.Place.current
            do throws(MailboxError) {
                try directory.rename(Self.path("new/", name), to: Self.path("cur/", target))
            } catch {
                if error == .notFound { continue }
                // One that can't have the other name, or may not be renamed, is no reason to leave the rest.
                guard case .system(_, let code) = error, [ENAMETOOLONG, EPERM, EACCES].contains(code) else {
                    throw error
                }
                found = name
                place = .new
                isStuck = true
            }
            let base = Array(name[..<parsed.baseLength])
            guard let index = base.withUnsafeBytes({ list.index(ofBase: $0) }) else {
                unknown.append(Arrival(base: base, name: found, place: place, isRecent: true))
                continue
            }
            note(found, index, place)
            unclaim(list.records[index].uid)
        }
    }

    private func note(_ name: [UInt8], _ index: Int, _ place: MaildirRecord.Place) {
        name.withUnsafeBytes { name in
            if let parsed = MaildirFileName(name) { note(parsed, name, index, place) }
        }
    }

    /// The place of a UID in `unclaimed`, or the one where it belongs.
    private func unclaimedPlace(_ uid: UInt32) -> Int {
        if let last = unclaimed.last, last < uid { return unclaimed.count }
        return unclaimed.partitioningIndex { $0 >= uid }
    }

    /// Has a message be recent in the next session that asks.
    private func unclaim(_ uid: UInt32) {
        let place = unclaimedPlace(uid)
        if place == unclaimed.count || unclaimed[place] != uid { unclaimed.insert(uid, at: place) }
    }

    private func claim(_ uid: UInt32) {
        let place = unclaimedPlace(uid)
        if place < unclaimed.count, unclaimed[place] == uid { unclaimed.remove(at: place) }
    }

    /// Gives UIDs to files that have none, in the order of their arrival.
    private func assign(_ arrivals: [Arrival], _ maildir: Maildir) throws(MailboxError) {
        guard !arrivals.isEmpty else { return }
        try naming(in: maildir) { () throws(MailboxError) in
            let sorted = arrivals.filter { arrival in arrival.base.withUnsafeBytes { list.index(ofBase: $0) } == nil }
                .map { (seconds: MaildirFileName.seconds(of: $0.base), base: $0.base) }
                .sorted { MaildirFileName.arrivedBefore($0, $1) }
            var new: [[UInt8]] = []
            new.reserveCapacity(sorted.count)
            for (_, base) in sorted where base != new.last { new.append(base) }
            try assign(new)
            for arrival in arrivals {
                guard let index = arrival.base.withUnsafeBytes({ list.index(ofBase: $0) }) else { continue }
                note(arrival.name, index, arrival.place)
                if arrival.isRecent { unclaim(list.records[index].uid) }
            }
        }
    }

    // MARK: Files

    private static func path(_ directory: StaticString, _ name: [UInt8]) -> String {
        FileName.text(Array(UnsafeBufferPointer(start: directory.utf8Start, count: directory.utf8CodeUnitCount)) + name)
    }

    /// Where the file of a message was last seen.
    private func path(_ index: Int) -> String {
        let record = list.records[index]
        let directory: StaticString = record.place == .new ? "new/" : "cur/"
        if let name = irregularNames[record.uid] { return Self.path(directory, name) }
        var name = Array(list.base(index))
        if record.place == .current { name += MaildirFileName.suffix(record.flags, record.keywords) }
        return Self.path(directory, name)
    }

    /// The place of a message that is there.
    private func find(_ uid: UInt32) -> Int? {
        list.index(ofUID: uid).flatMap { list.records[$0].place == .nowhere ? nil : $0 }
    }

    /// Runs a body with a message's record and file, and again after a look at the folder where the file was renamed.
    ///
    /// - Parameter validity: the numbering that the UID is of.
    private func reading<Value>(
        _ uid: UInt32,
        _ validity: UInt32,
        _ maildir: Maildir,
        _ body: (Int, String) throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        for _ in 1..<Self.attempts {
            var result: Result<Value, MailboxError>?
            do throws(MailboxError) {
                result = try exclusively { () throws(MailboxError) -> Result<Value, MailboxError>? in
                    guard isListed else { return nil }
                    try check(validity)
                    guard let index = find(uid) else { return .failure(.notFound) }
                    return .success(try body(index, path(index)))
                }
            } catch {
                guard error == .notFound else { throw error }
            }
            if let result { return try result.get() }
            try changing { () throws(MailboxError) in try scan(maildir, movesNew: false, all: true) }
        }
        throw .notFound
    }

    /// The same where the folder is ours to change.
    private func changing<Value>(
        _ uid: UInt32,
        _ validity: UInt32,
        _ maildir: Maildir,
        _ body: (Int, String) throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        for _ in 1..<Self.attempts {
            try check(validity)
            guard let index = find(uid) else { throw .notFound }
            do throws(MailboxError) { return try body(index, path(index)) } catch {
                guard error == .notFound else { throw error }
            }
            try scan(maildir, movesNew: false, all: true)
        }
        throw .notFound
    }

    func open(_ uid: UInt32, _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> MessageReader {
        let (file, record) = try reading(uid, validity, maildir) { (index, path) throws(MailboxError) in
            (try directory.openRegular(path, [.reading, .notFollowing]), list.records[index])
        }
        let size = try file.status().size
        // The name's sizes count only if they match the file.
        let known = record.octets == size ? record.wireOctets : nil
        let reader = try MessageReader(file, range: 0..<size, octets: known)
        if known == nil { noteOctets(uid, validity, size, reader.octets) }
        return reader
    }

    private func noteOctets(_ uid: UInt32, _ validity: UInt32, _ size: Int, _ octets: Int) {
        mutex.withLock {
            guard list.validity == validity, let index = list.index(ofUID: uid),
                list.records[index].wireOctets != octets
            else { return }
            list.update(index) { record in
                record.octets = size
                record.wireOctets = octets
            }
            if let place = snapshot?.index(ofUID: uid) { snapshot?[place].octets = octets }
        }
    }

    func internalDate(of uid: UInt32, _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> Int {
        let known = mutex.withLock {
            list.validity == validity ? find(uid).flatMap { list.records[$0].date } : nil
        }
        if let known { return Int(known) }
        return try reading(uid, validity, maildir) { (index, path) throws(MailboxError) in
            let date = try directory.status(path).modified
            list.update(index) { $0.date = date }
            return Int(date)
        }
    }

    /// The values of a key of the UID list, by UID.
    func values(_ key: UInt8, _ validity: UInt32) -> [UInt32: [UInt8]] {
        mutex.withLock { list.validity == validity ? list.values(key) : [:] }
    }

    // MARK: Changing

    /// Makes a change to files in `cur/`, after which its time is ours.
    private func changingCurrent<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
        let isKnown = try currentRead == time(of: "cur")
        do throws(MailboxError) {
            let value = try body()
            currentRead = isKnown ? try time(of: "cur") : nil
            return value
        } catch {
            currentRead = nil
            throw error
        }
    }

    /// Changes the flags of messages. Those that are gone are left out.
    ///
    /// - Parameter validity: the numbering that the UIDs are of.
    func store(
        _ change: FlagChange,
        to uids: [UInt32],
        _ validity: UInt32,
        in maildir: Maildir
    ) throws(MailboxError) -> Change {
        try changing { () throws(MailboxError) in
            if !isListed { try scan(maildir, movesNew: false) }
            let before = version
            var isAlone = true
            if !change.keywords.isEmpty, change.mode != .remove, keywordList.isMissing(change.keywords) {
                try naming(in: maildir) { () throws(MailboxError) in
                    isAlone = version == before
                    try check(validity)
                    try addKeywords(change.keywords)
                }
                // Dovecot has written its list anew.
                if !isListed { try scan(maildir, movesNew: false) }
            }
            try check(validity)
            let start = version
            let set = keywordList.set(of: change.keywords)
            var made = Change()
            made.messages.reserveCapacity(uids.count)
            try changingCurrent { () throws(MailboxError) in
                defer { changed() }
                for uid in uids {
                    do throws(MailboxError) {
                        made.messages.append(try store(change, set, to: uid, validity, maildir))
                    } catch {
                        guard error == .notFound else { throw error }
                    }
                }
                if isAlone, version == start { made.before = before }
            }
            made.after = version
            made.keywords = keywordList.names
            return made
        }
    }

    private func store(
        _ change: FlagChange,
        _ keywords: KeywordSet,
        to uid: UInt32,
        _ validity: UInt32,
        _ maildir: Maildir
    ) throws(MailboxError) -> StoredMessage {
        try changing(uid, validity, maildir) { (index, path) throws(MailboxError) in
            var message = StoredMessage(list.records[index])
            change.apply(keywords, to: &message)
            let others = irregularNames[uid].map { MaildirFileName.otherLetters(in: $0) } ?? []
            let name =
                Array(list.base(index)) + MaildirFileName.suffix(message.flags, message.keywords, others: others)
            let target = Self.path("cur/", name)
            if target != path {
                try directory.rename(path, to: target)
                if list.records[index].place == .new { newRead = nil }
            }
            irregularNames[uid] = others.isEmpty ? nil : name
            list.update(index) { record in
                record.place = .current
                record.flags = message.flags
                record.keywords = message.keywords
            }
            return message
        }
    }

    /// Removes messages, durably. Those that are gone already count as removed.
    ///
    /// - Parameter validity: the numbering that the UIDs are of.
    func expunge(_ uids: [UInt32], _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> Change {
        try changing { () throws(MailboxError) in
            if !isListed { try scan(maildir, movesNew: false) }
            try check(validity)
            let before = version
            var made = Change()
            var hadNew = false
            var gone: [UInt32] = []
            try changingCurrent { () throws(MailboxError) in
                defer {
                    // UIDs of another numbering would be of other messages.
                    for uid in gone where list.validity == validity { if let index = find(uid) { forget(index) } }
                }
                for uid in uids {
                    do throws(MailboxError) {
                        try changing(uid, validity, maildir) { (index, path) throws(MailboxError) in
                            let record = list.records[index]
                            let size: Int
                            if let known = record.octets {
                                size = known
                            } else {
                                size = try directory.status(path).size
                            }
                            try directory.remove(path)
                            made.octets += size
                            made.files += 1
                            if record.place == .new { hadNew = true }
                        }
                    } catch {
                        guard error == .notFound else { throw error }
                    }
                    gone.append(uid)
                }
                if version == before { made.before = before }
                try directory.sync("cur")
                if hadNew {
                    newRead = nil
                    try directory.sync("new")
                }
            }
            made.after = version
            return made
        }
    }

    /// Needs the locks of `naming`.
    private func addKeywords(_ names: [String]) throws(MailboxError) {
        guard keywordList.isMissing(names) else { return }
        try keywordList.add(names, in: directory)
        keywordStamp = try keywordsOnDisk()
        changed()
    }

    /// A file that is to become a message.
    struct Newcomer {
        let base: [UInt8]
        let flags: MessageFlags
        let keywords: [String]
        /// Without flags it's new mail to other programs.
        let isNew: Bool

        init(base: String, flags: MessageFlags, keywords: [String], staysNew: Bool) {
            self.base = Array(base.utf8)
            self.flags = flags
            self.keywords = keywords
            isNew = staysNew && flags.isEmpty && keywords.isEmpty
        }
    }

    /// Puts messages into the folder, durably: all of them, or none.
    ///
    /// - Parameters:
    ///   - put: makes one file appear under a path here.
    ///   - confirm: gives the folder's name, and throws where the folder isn't in its place any more.
    ///   - validity: the numbering that their UIDs are to be of.
    /// - Returns: their UIDs.
    /// - Throws: `vanished` where another numbering was begun.
    func add(
        _ newcomers: [Newcomer],
        _ validity: UInt32,
        in maildir: Maildir,
        put: (Int, String) throws(MailboxError) -> Void,
        confirm: () throws(MailboxError) -> FolderName
    ) throws(MailboxError) -> [UInt32] {
        try changing { () throws(MailboxError) in
            try naming(in: maildir) { () throws(MailboxError) in
                try check(validity)
                try addKeywords(newcomers.flatMap(\.keywords))
                let arrivals = newcomers.map { newcomer in
                    let set = keywordList.set(of: newcomer.keywords)
                    let name =
                        newcomer.isNew ? newcomer.base : newcomer.base + MaildirFileName.suffix(newcomer.flags, set)
                    return Arrival(
                        base: newcomer.base,
                        name: name,
                        place: newcomer.isNew ? .new : .current,
                        isRecent: true
                    )
                }
                return try changingCurrent { () throws(MailboxError) in
                    try add(arrivals, put: put) { () throws(MailboxError) in
                        try secure(confirm(), in: maildir)
                    }
                }
            }
        }
    }

    private func add(
        _ arrivals: [Arrival],
        put: (Int, String) throws(MailboxError) -> Void,
        confirm: () throws(MailboxError) -> Void
    ) throws(MailboxError) -> [UInt32] {
        var made: [String] = []
        do throws(MailboxError) {
            for (number, arrival) in arrivals.enumerated() {
                let path = Self.path(arrival.place == .new ? "new/" : "cur/", arrival.name)
                try put(number, path)
                made.append(path)
            }
            // The UIDs first: a file system that commits in order has the names on stable storage then, too.
            try assign(arrivals.map(\.base))
            if arrivals.contains(where: { $0.place == .new }) {
                newRead = nil
                try directory.sync("new")
            }
            if arrivals.contains(where: { $0.place == .current }) { try directory.sync("cur") }
            try confirm()
        } catch {
            for path in made { try? directory.remove(path) }
            throw error
        }
        var uids: [UInt32] = []
        var shown = snapshot
        snapshot = nil
        let before = version
        for arrival in arrivals {
            guard let index = arrival.base.withUnsafeBytes({ list.index(ofBase: $0) }) else { continue }
            note(arrival.name, index, arrival.place)
            let uid = list.records[index].uid
            unclaim(uid)
            uids.append(uid)
            if let last = shown?.last, last.uid >= uid { shown = nil }
            shown?.append(StoredMessage(list.records[index]))
        }
        // The rest is as it was.
        if version > before { snapshot = shown }
        return uids
    }

    /// Makes sure that the folder's name is on stable storage, once: its creator may have died before, or had an error.
    private func secure(_ name: FolderName, in maildir: Maildir) throws(MailboxError) {
        guard !name.isInbox, name != securedName else { return }
        try maildir.layout.syncParents(of: name, in: maildir.root)
        securedName = name
    }

    /// A message that is to be copied.
    struct Original {
        let uid: UInt32
        /// Its file's path here when it was looked at.
        let path: String
        let base: [UInt8]
        let octets: Int
        let flags: MessageFlags
        let keywords: [String]
    }

    /// Where the files of messages are.
    ///
    /// - Throws: `notFound` where one is gone.
    func originals(_ uids: [UInt32], _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> [Original] {
        var found: [Original] = []
        found.reserveCapacity(uids.count)
        for uid in uids {
            found.append(
                try reading(uid, validity, maildir) { (index, path) throws(MailboxError) in
                    let record = list.records[index]
                    let octets: Int
                    if let known = record.octets { octets = known } else { octets = try directory.status(path).size }
                    let names = keywordList.names
                    return Original(
                        uid: uid,
                        path: path,
                        base: Array(list.base(index)),
                        octets: octets,
                        flags: record.flags,
                        keywords: record.keywords.indices.filter { names.indices.contains($0) }.map { names[$0] }
                            .filter { !$0.isEmpty }
                    )
                }
            )
        }
        return found
    }

    /// Looks at everything again: something was not where it should be.
    func rescan(in maildir: Maildir) throws(MailboxError) {
        try changing { () throws(MailboxError) in try scan(maildir, movesNew: false, all: true) }
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
