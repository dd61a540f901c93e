import Files
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// One folder of a Maildir, open for one session.
package final class MaildirFolder: MailFolder, @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    static let uidListFile = "martlet-uidlist"
    private static let lockFile = "martlet-uidlist.lock"
    /// Two changes within a timestamp's granularity look like one, so a directory's timestamp is trusted only once it is
    /// this old. Nanoseconds.
    private static let settling = 1_000_000_000

    /// Where a message's file is.
    struct Place {
        var base: String
        /// Its name in `new/` or `cur/`.
        var name: String
        var isNew: Bool

        var path: String { (isNew ? "new/" : "cur/") + name }
    }

    /// Timestamps of both directories, and the UID list's: equal stamps mean that nothing changed.
    private struct Stamps: Equatable {
        var new: Int
        var current: Int
        var list: UIDList.Stamp?
    }

    let directory: DirectoryAccess
    let maildir: Maildir
    private let readOnly: Bool
    private var list = UIDList(path: MaildirFolder.uidListFile)
    private var keywordList = KeywordList()
    /// Beside `messages`: one for each.
    private var places: [Place] = []
    private var stamps: Stamps?
    private var recent: Set<UInt32> = []
    private var countedOctets: [UInt32: Int] = [:]

    package private(set) var messages: [StoredMessage] = []
    package var uidValidity: UInt32 { list.validity }
    package var uidNext: UInt32 { list.next }
    package var keywords: [String] { keywordList.names }

    init(_ directory: DirectoryAccess, of maildir: Maildir, readOnly: Bool) throws(MailboxError) {
        self.directory = directory
        self.maildir = maildir
        self.readOnly = readOnly
        directory.removeOldTemporaries()
        _ = try refresh()
    }

    // MARK: Scanning

    package func refresh() throws(MailboxError) -> Bool {
        if let stamps, try stamps == currentStamps() { return false }
        return try locked { () throws(MailboxError) in try scan() }
    }

    func locked<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
        try directory.withLock(Self.lockFile, body)
    }

    private func currentStamps() throws(MailboxError) -> Stamps {
        Stamps(
            new: try time(of: "new"),
            current: try time(of: "cur"),
            list: UIDList.stamp(Self.uidListFile, in: directory)
        )
    }

    private func time(of path: String) throws(MailboxError) -> Int {
        let status = try directory.status(path)
        return Int(status.modified &* 1_000_000_000 &+ status.modifiedNanoseconds)
    }

    /// Needs the lock.
    private func scan() throws(MailboxError) -> Bool {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        try list.load(in: directory) { () throws(MailboxError) in try maildir.newUIDValidity() }
        try keywordList.load(in: directory)
        let arrived = readOnly ? [] : try moveNewToCurrent()
        var before = try currentStamps()
        var found = try listing()
        if places.contains(where: { found[$0.base] == nil }) {
            // A file that was renamed while the directory was being read may have been missed.
            found.merge(try listing()) { first, _ in first }
        }
        let unknown = found.keys.filter { list.uids[$0] == nil }.sorted(by: MaildirFileName.arrivedBefore)
        try list.assign(unknown, in: directory)
        for base in arrived {
            if let uid = list.uids[base] { recent.insert(uid) }
        }
        let changed = update(to: found)
        try list.compact(keeping: places.indices.map { (places[$0].base, messages[$0].uid) }, in: directory)
        before.list = list.stamp
        let latest = max(before.new, before.current)
        let start = now.tv_sec &* 1_000_000_000 &+ now.tv_nsec
        stamps = start - latest > Self.settling ? before : nil
        return changed
    }

    /// Moves the files in `new/` to `cur/`; this session is the first to see them.
    private func moveNewToCurrent() throws(MailboxError) -> [String] {
        var bases: [String] = []
        for name in try directory.names("new") {
            guard let parsed = MaildirFileName(name) else { continue }
            let target = MaildirFileName.current(base: parsed.base, flags: parsed.flags, keywords: parsed.keywords)
            do throws(MailboxError) {
                try directory.rename("new/\(name)", to: "cur/\(target)")
                bases.append(parsed.base)
            } catch {
                guard error == .notFound else { throw error }
            }
        }
        return bases
    }

    private func listing() throws(MailboxError) -> [String: (place: Place, parsed: MaildirFileName)] {
        var found: [String: (place: Place, parsed: MaildirFileName)] = [:]
        // In this order, so that a file that is moved from one to the other meanwhile is seen at least once.
        for (part, isNew) in [("new", true), ("cur", false)] {
            for name in try directory.names(part) {
                guard let parsed = MaildirFileName(name) else { continue }
                found[parsed.base] = (Place(base: parsed.base, name: name, isNew: isNew), parsed)
            }
        }
        return found
    }

    /// Sets `messages` to what was found; returns whether that changed anything.
    private func update(to found: [String: (place: Place, parsed: MaildirFileName)]) -> Bool {
        var entries: [(message: StoredMessage, place: Place)] = []
        entries.reserveCapacity(found.count)
        for (base, entry) in found {
            guard let uid = list.uids[base] else { continue }
            let message = StoredMessage(
                uid: uid,
                flags: entry.parsed.flags,
                keywords: entry.parsed.keywords,
                isRecent: entry.place.isNew || recent.contains(uid),
                octets: MaildirFileName.size("W", in: base) ?? countedOctets[uid]
            )
            entries.append((message, entry.place))
        }
        entries.sort { $0.message.uid < $1.message.uid }
        places = entries.map(\.place)
        let updated = entries.map(\.message)
        let changed = updated != messages
        messages = updated
        return changed
    }

    // MARK: Reading

    package func open(_ uid: UInt32) throws(MailboxError) -> MessageReader {
        let file = try withPlace(of: uid) { (place) throws(MailboxError) in
            try directory.open(place.path, [.reading, .notFollowing])
        }
        let size = try file.status().size
        guard let index = messages.index(ofUID: uid) else { throw .notFound }
        // The name's sizes count only if they match the file.
        let base = places[index].base
        let isSized = MaildirFileName.size("S", in: base) == size
        let known = isSized ? messages[index].octets : countedOctets[uid]
        let reader = try MessageReader(file, range: 0..<size, octets: known)
        if known == nil {
            countedOctets[uid] = reader.octets
            messages[index].octets = reader.octets
        }
        return reader
    }

    package func octets(of uid: UInt32) throws(MailboxError) -> Int {
        if let known = message(uid)?.octets { return known }
        return try open(uid).octets
    }

    package func internalDate(of uid: UInt32) throws(MailboxError) -> Int {
        try withPlace(of: uid) { (place) throws(MailboxError) in
            Int(try directory.status(place.path).modified)
        }
    }

    /// Runs the body with the file of a message, and again after a rescan if the file was renamed meanwhile.
    private func withPlace<Value>(
        of uid: UInt32,
        _ body: (Place) throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        var attempts = 0
        while true {
            guard let index = messages.index(ofUID: uid) else { throw .notFound }
            do throws(MailboxError) {
                return try body(places[index])
            } catch {
                attempts += 1
                guard error == .notFound, attempts < 5 else { throw error }
                try rescan()
            }
        }
    }

    private func rescan() throws(MailboxError) {
        _ = try locked { () throws(MailboxError) in try scan() }
    }

    // MARK: Changing

    package func store(_ change: FlagChange, to uids: [UInt32]) throws(MailboxError) -> [StoredMessage] {
        if !change.keywords.isEmpty, change.mode != .remove {
            try locked { () throws(MailboxError) in
                try keywordList.load(in: directory)
                try keywordList.add(change.keywords, in: directory)
            }
        }
        let set = keywordList.set(of: change.keywords)
        var changed: [StoredMessage] = []
        for uid in uids {
            do throws(MailboxError) {
                changed.append(try store(change, keywords: set, to: uid))
            } catch {
                guard error == .notFound else { throw error }
            }
        }
        return changed
    }

    private func store(_ change: FlagChange, keywords: KeywordSet, to uid: UInt32) throws(MailboxError) -> StoredMessage
    {
        var updated: StoredMessage?
        var name = ""
        try withPlace(of: uid) { (place) throws(MailboxError) in
            guard var message = message(uid) else { throw .notFound }
            change.apply(keywords, to: &message)
            name = MaildirFileName.current(base: place.base, flags: message.flags, keywords: message.keywords)
            updated = message
            let path = "cur/\(name)"
            if path != place.path { try directory.rename(place.path, to: path) }
        }
        guard let updated, let index = messages.index(ofUID: uid) else { throw .notFound }
        messages[index] = updated
        places[index].name = name
        places[index].isNew = false
        return updated
    }

    package func expunge(_ uids: [UInt32]) throws(MailboxError) -> [UInt32] {
        var removed: Set<UInt32> = []
        var octets = 0
        var files = 0
        for uid in uids {
            do throws(MailboxError) {
                try withPlace(of: uid) { (place) throws(MailboxError) in
                    let size = MaildirFileName.size("S", in: place.base)
                    if let size { octets += size } else { octets += try directory.status(place.path).size }
                    try directory.remove(place.path)
                    files += 1
                }
            } catch {
                guard error == .notFound else { throw error }
            }
            removed.insert(uid)
        }
        guard !removed.isEmpty else { return [] }
        try directory.sync("cur")
        maildir.quota.record(octets: -octets, messages: -files)
        let kept = messages.indices.filter { !removed.contains(messages[$0].uid) }
        places = kept.map { places[$0] }
        messages = kept.map { messages[$0] }
        return uids
    }

    package func append() throws(MailboxError) -> any MessageAppend { try MaildirAppend(self) }

    package func copy(
        _ uids: [UInt32],
        to target: any MailFolder
    ) throws(MailboxError) -> [(source: UInt32, target: UInt32)] {
        guard let target = target as? MaildirFolder else { throw .unsupported }
        let names = keywords
        var octets = 0
        for uid in uids { octets += try self.octets(of: uid) }
        try target.maildir.quota.check(adding: octets)
        var made: [(uid: UInt32, base: String, path: String)] = []
        do throws(MailboxError) {
            for uid in uids {
                guard let message = message(uid) else { throw MailboxError.notFound }
                let letters = try target.letters(of: message.keywords.indices.map { names[$0] })
                let copied = try copy(message, keywords: letters, to: target)
                made.append((uid, copied.base, copied.path))
            }
            try target.directory.sync("cur")
        } catch {
            for copy in made { try? target.directory.remove(copy.path) }
            throw error
        }
        target.maildir.quota.record(octets: octets, messages: made.count)
        try target.rescan()
        return made.compactMap { entry in target.list.uids[entry.base].map { (entry.uid, $0) } }
    }

    /// Adds keywords by name and gives the set that they are here.
    func letters(of names: [String]) throws(MailboxError) -> KeywordSet {
        guard !names.isEmpty else { return [] }
        try locked { () throws(MailboxError) in
            try keywordList.load(in: directory)
            try keywordList.add(names, in: directory)
        }
        return keywordList.set(of: names)
    }

    private func copy(
        _ message: StoredMessage,
        keywords: KeywordSet,
        to target: MaildirFolder
    ) throws(MailboxError) -> (base: String, path: String) {
        try withPlace(of: message.uid) { (place) throws(MailboxError) in
            let sizes = place.base.split(separator: ",").dropFirst().map { ",\($0)" }.joined()
            let base = directory.disk.uniqueName() + sizes
            let path = "cur/" + MaildirFileName.current(base: base, flags: message.flags, keywords: keywords)
            do throws(MailboxError) {
                try directory.link(place.path, to: path, in: target.directory)
            } catch {
                guard case .system(_, let code) = error, [EXDEV, EMLINK, EPERM].contains(code) else { throw error }
                try copyContent(of: place.path, to: path, in: target.directory)
            }
            return (base, path)
        }
    }

    /// For file systems that have no hard links, or no more of them.
    private func copyContent(of path: String, to new: String, in target: DirectoryAccess) throws(MailboxError) {
        let source = try directory.open(path, [.reading, .notFollowing])
        let status = try source.status()
        let temporary = "tmp/\(target.disk.uniqueName())"
        do throws(MailboxError) {
            let copy = try target.open(temporary, [.writing, .creating, .exclusive])
            var offset = 0
            while true {
                let octets = try source.read(64 * 1024, at: offset)
                if octets.isEmpty { break }
                try copy.write(octets)
                offset += octets.count
            }
            try? copy.setModified(Int(status.modified))
            try copy.sync()
            try target.rename(temporary, to: new)
        } catch {
            try? target.remove(temporary)
            throw error
        }
    }

    /// The UID of a message that was just put here.
    func uid(ofNew base: String) throws(MailboxError) -> UInt32 {
        try rescan()
        guard let uid = list.uids[base] else { throw .notFound }
        return uid
    }
}
