import Algorithms
import Files

#if canImport(Glibc)
import Glibc
#endif

/// Keeps a folder's modification sequences in a file (docs/mailbox.md, "Modification sequences"), a cache that may be lost: whoever
/// doesn't find it counts all messages as changed, with a sequence that is greater than all that were given before, for the clock
/// says it.
///
/// What a client is told is in the file first, so that the next process knows what clients know: what is different then has
/// changed. That holds for processes; nothing is synced, and so a file of an earlier run of the machine counts as lost.
struct ChangeLog {
    /// A file that is larger counts as lost. Octets.
    private static let maximumOctets = 1 << 28
    /// Records about what has been overtaken are no reason to write the file anew as long as there are so few.
    private static let toleratedRecords = 8192
    /// Seconds since 1970: numbers that begin by then are far from their end.
    private static let maximumTime: UInt64 = 1 << 40
    /// After a failure it's not written for so long. Microseconds.
    private static let pause: UInt64 = 5_000_000

    /// The file's name in the folder's directory.
    let path: String
    /// Nil before the first look.
    private(set) var changes: FolderChanges?
    private var validity: UInt32 = 0
    /// By the number of the keyword.
    private var keywordDigests: [UInt32: UInt64] = [:]
    private var keywords: [String] = []
    /// The file as it was left; nil where it isn't what is known here.
    private var stamp: MaildirUIDList.Stamp?
    private var records = 0
    /// When it couldn't be written, and is not there for that reason. Microseconds since 1970.
    private var failed: UInt64?

    init(path: String) { self.path = path }

    /// Octets of memory, more or less.
    var memory: Int { (changes?.states.capacity ?? 0) * MemoryLayout<FolderChanges.State>.stride }

    /// Whether no other process has changed the file.
    func isCurrent(in directory: DirectoryAccess) throws(MailboxError) -> Bool {
        guard changes != nil else { return false }
        guard let stamp else { return isPausing(directory) }
        return try directory.statusIfPresent(path).map { MaildirUIDList.Stamp($0) } == stamp
    }

    /// Whether it's too early to try again what has failed: each look would write all of it.
    private func isPausing(_ directory: DirectoryAccess) -> Bool {
        guard let failed else { return false }
        let now = directory.disk.clock
        return now >= failed && now - failed < Self.pause
    }

    /// The folder as it is now.
    struct Current<Messages: Sequence<StoredMessage>> {
        let validity: UInt32
        /// Ascending by UID.
        let messages: Messages
        let keywords: [String]
        /// A time that is past, and later than all others that the folder's files have. Seconds since 1970.
        let latest: Int
    }

    /// Gives sequences to what has changed. Needs the folder's lock.
    ///
    /// A file that can't be written is removed: what is given goes on here, and the next process begins anew. What both give
    /// meanwhile follows the clock, so that neither gives what the other gave before.
    ///
    /// - Parameter saved: when a message was put here, where that is known. Seconds since 1970.
    mutating func update(
        _ current: Current<some Sequence<StoredMessage>>,
        saved: (UInt32) -> UInt32,
        in directory: DirectoryAccess
    ) throws(MailboxError) {
        let isWhole = try load(current.validity, in: directory)
        validity = current.validity
        var renamed = KeywordSet()
        var named: [ChangeRecord] = []
        if current.keywords != keywords {
            (renamed, named) = note(current.keywords)
            keywords = current.keywords
        }
        // A clock may be wrong, and a file may be said to be of any time.
        let clock = min(directory.disk.clock, Self.maximumTime * 1_000_000)
        guard var known = changes else {
            let latest = min(UInt64(max(0, current.latest)), Self.maximumTime) * 1_000_000
            // What is lost is below the limit.
            begin(max(clock, latest, UInt64(current.validity) * 1_000_000, lost + 1), current.messages)
            return write(in: directory)
        }
        // Nobody else holds on to it while it's changed.
        changes = nil
        let made = known.note(current.messages, clock: clock, renamed: renamed, saved: saved)
        let added = named + made.changed.map { ChangeRecord($0) } + made.gone.map { ChangeRecord($0) }
        changes = known
        if isWhole, records + added.count <= Self.toleratedRecords + 2 * known.states.count {
            append(added, in: directory)
        } else {
            write(in: directory)
        }
    }

    private mutating func begin(_ sequence: UInt64, _ messages: some Sequence<StoredMessage>) {
        var begun = FolderChanges(highest: sequence, floor: sequence)
        begun.states = messages.map { message in
            FolderChanges.State(
                uid: message.uid,
                flags: message.flags,
                keywords: message.keywords,
                saved: 0,
                sequence: sequence
            )
        }
        changes = begun
    }

    /// Notes the names of keywords.
    ///
    /// - Returns: those that had other names, and what is to be written of it.
    private mutating func note(_ names: [String]) -> (renamed: KeywordSet, records: [ChangeRecord]) {
        var renamed = KeywordSet()
        var records: [ChangeRecord] = []
        for (number, name) in names.enumerated() where !name.isEmpty {
            let digest = EntryDigest(name.utf8).number
            let former = keywordDigests.updateValue(digest, forKey: UInt32(number))
            guard former != digest else { continue }
            if former != nil { renamed.insert(KeywordSet(index: number)) }
            records.append(ChangeRecord(keyword: UInt32(number), digest))
        }
        return (renamed, records)
    }

    // MARK: The file

    /// The highest sequence that a file had which counts as lost. Below the limit of what a file may have.
    private var lost: UInt64 = 0

    private mutating func lose(_ highest: UInt64) {
        if highest < ChangeRecord.limit { lost = max(lost, highest) }
    }

    /// Reads the file where somebody else has changed it.
    ///
    /// - Returns: whether it has all that is known.
    private mutating func load(_ validity: UInt32, in directory: DirectoryAccess) throws(MailboxError) -> Bool {
        if self.validity != validity { forget() }
        if try isCurrent(in: directory) { return true }
        stamp = nil
        guard let read = try read(directory) else {
            // Where somebody has deleted it, another process may have gone further than is known here.
            if failed == nil { forget() }
            return false
        }
        let former = changes?.highest ?? 0
        guard read.isValid, read.validity == validity, read.boot == Array(directory.disk.boot.text.utf8),
            read.changes.highest >= former
        else {
            lose(read.changes.highest)
            // One that somebody else has begun doesn't know what was told here, and the other way round.
            forget()
            if !read.isValid { try? directory.remove(path) }
            return false
        }
        changes = read.changes
        failed = nil
        self.validity = validity
        keywordDigests = read.keywords
        keywords = []
        records = read.records
        stamp = read.isTorn ? nil : read.stamp
        return !read.isTorn
    }

    private mutating func forget() {
        lose(changes?.highest ?? 0)
        changes = nil
        keywordDigests = [:]
        keywords = []
        stamp = nil
    }

    /// Reads the file; nil where it's lost: not there, too large, or nothing that can be read.
    ///
    /// - Throws: for what may pass, such as too many open files: the file may be good.
    private func read(_ directory: DirectoryAccess) throws(MailboxError) -> ChangeFile? {
        do throws(MailboxError) {
            let file = try directory.openRegular(path, [.reading, .notFollowing])
            let status = try file.status()
            guard status.size <= Self.maximumOctets else { return nil }
            return ChangeFile(try file.read(status.size, at: 0), MaildirUIDList.Stamp(status))
        } catch {
            switch error {
            case .notFound, .corrupt: return nil
            // A link, a socket, or a file of somebody else's: ours takes its place.
            case .system(_, let code) where [ELOOP, ENXIO, EACCES, EPERM].contains(code): return nil
            case .vanished, .exists, .invalidName, .noSpace, .overQuota, .noPermission, .locked, .busy, .unsupported,
                .uncertain,
                .system:
                throw error
            }
        }
    }

    private mutating func append(_ added: [ChangeRecord], in directory: DirectoryAccess) {
        guard !added.isEmpty, let before = stamp else { return }
        var octets: [UInt8] = []
        octets.reserveCapacity(added.count * ChangeRecord.length)
        for record in added { record.write(to: &octets) }
        stamp = nil
        do throws(MailboxError) {
            let file = try directory.openRegular(path, [.writing, .notFollowing])
            try file.write(octets, at: before.size)
            stamp = MaildirUIDList.Stamp(try file.status())
            records += added.count
        } catch {
            try? directory.remove(path)
            failed = directory.disk.clock
        }
    }

    /// Writes the file anew, unless that has just failed: what is known here counts until then.
    private mutating func write(in directory: DirectoryAccess) {
        stamp = nil
        guard !isPausing(directory), let known = changes else { return }
        let written =
            keywordDigests.map { ChangeRecord(keyword: $0.key, $0.value) } + known.states.map { ChangeRecord($0) }
            + known.gone.map { ChangeRecord($0) }
        var octets = ChangeFile.header(known, validity, boot: directory.disk.boot)
        octets.reserveCapacity(octets.count + written.count * ChangeRecord.length)
        for record in written { record.write(to: &octets) }
        let temporary = "\(path).\(directory.disk.uniqueName()).new"
        do throws(MailboxError) {
            let file = try directory.open(temporary, [.writing, .creating, .exclusive])
            try file.write(octets)
            // All of it or nothing, for other processes. It isn't synced: what a power cut leaves of it isn't believed.
            try directory.rename(temporary, to: path)
            stamp = MaildirUIDList.Stamp(try file.status())
            records = written.count
            failed = nil
        } catch {
            try? directory.remove(temporary)
            try? directory.remove(path)
            failed = directory.disk.clock
        }
    }
}

/// What a file of modification sequences says.
private struct ChangeFile {
    private static let magic = Array("MLTCHG1\n".utf8)
    private static let headerLength = 72
    private static let bootLength = 32

    var changes = FolderChanges(highest: 0, floor: 0)
    var validity: UInt32 = 0
    var boot: [UInt8] = []
    var keywords: [UInt32: UInt64] = [:]
    var records = 0
    let stamp: MaildirUIDList.Stamp
    /// Whether it's one of ours, without faults.
    var isValid = false
    /// Whether there is part of a record at its end: whoever wrote it was killed, and has told nobody of it.
    var isTorn = false

    /// The magic; the boot in hexadecimal digits; UIDVALIDITY; nothing; the floor; the highest sequence; nothing.
    static func header(_ changes: FolderChanges, _ validity: UInt32, boot: EntryDigest) -> [UInt8] {
        var octets = magic + Array(boot.text.utf8)
        append(UInt64(validity), to: &octets)
        append(changes.floor, to: &octets)
        append(changes.highest, to: &octets)
        append(0, to: &octets)
        return octets
    }

    fileprivate static func append(_ number: UInt64, to octets: inout [UInt8]) {
        withUnsafeBytes(of: number.littleEndian) { octets.append(contentsOf: $0) }
    }

    init(_ octets: [UInt8], _ stamp: MaildirUIDList.Stamp) {
        self.stamp = stamp
        guard octets.count >= Self.headerLength, octets.starts(with: Self.magic) else { return }
        isValid = octets.withUnsafeBytes { parse($0) }
    }

    private mutating func parse(_ octets: UnsafeRawBufferPointer) -> Bool {
        func number(_ place: Int) -> UInt64 {
            UInt64(littleEndian: octets.loadUnaligned(fromByteOffset: place, as: UInt64.self))
        }
        boot = Array(octets[Self.magic.count..<(Self.magic.count + Self.bootLength)])
        guard let found = UInt32(exactly: number(40)) else { return false }
        validity = found
        let (floor, highest) = (number(48), number(56))
        guard floor <= highest, highest < ChangeRecord.limit else { return false }
        changes.floor = floor
        changes.highest = highest
        var hasRemoved = false
        var place = Self.headerLength
        while place + ChangeRecord.length <= octets.count {
            guard take(ChangeRecord(octets, at: place), &hasRemoved) else { return false }
            place += ChangeRecord.length
            records += 1
        }
        isTorn = place < octets.count
        if hasRemoved { changes.states.removeAll { $0.sequence == 0 } }
        changes.trimGone()
        return true
    }

    /// Takes a record; false where it makes no sense.
    private mutating func take(_ record: ChangeRecord, _ hasRemoved: inout Bool) -> Bool {
        if record.kind == .keyword {
            keywords[record.uid] = record.sequence
            return record.uid < KeywordSet.maximum
        }
        guard record.sequence > 0, record.sequence < ChangeRecord.limit, record.uid > 0 else { return false }
        changes.highest = max(changes.highest, record.sequence)
        switch record.kind {
        case .message:
            if let last = changes.states.last, last.uid >= record.uid {
                let place = changes.states.partitioningIndex { $0.uid >= record.uid }
                if changes.states[place].uid == record.uid {
                    changes.states[place] = record.state
                } else {
                    changes.states.insert(record.state, at: place)
                }
            } else {
                changes.states.append(record.state)
            }
        case .gone:
            guard record.last >= record.uid, record.sequence >= (changes.gone.last?.sequence ?? 0) else { return false }
            changes.gone.append(FolderChanges.Gone(uids: record.uid...record.last, sequence: record.sequence))
            var place = changes.states.partitioningIndex { $0.uid >= record.uid }
            while place < changes.states.count, changes.states[place].uid <= record.last {
                // One that has come back since stays, where the file was written anew.
                if changes.states[place].sequence <= record.sequence {
                    changes.states[place].sequence = 0
                    hasRemoved = true
                }
                place += 1
            }
        case .keyword, nil: return false
        }
        return true
    }
}

/// What the file has of one change: 24 octets, little-endian: a sequence (8), a UID (4), keywords (4), flags (1), the kind (1),
/// nothing (2), and the time when the message was put here, or the last UID of those that went (4).
private struct ChangeRecord {
    enum Kind: UInt8 {
        case message = 1
        case gone = 2
        /// Its number is in place of the UID, and a digest of its name in place of the sequence.
        case keyword = 3
    }

    static let length = 24
    /// Sequences that a file has are below it: far below what the protocol allows (2^63, RFC 7162 §7, mod-sequence-value), so
    /// that those which are given after them are no overflow.
    static let limit: UInt64 = 1 << 62

    let sequence: UInt64
    let uid: UInt32
    var keywords: UInt32 = 0
    var flags: UInt8 = 0
    let kind: Kind?
    var last: UInt32 = 0

    init(_ state: FolderChanges.State) {
        sequence = state.sequence
        uid = state.uid
        keywords = state.keywords.rawValue
        flags = state.flags.rawValue
        kind = .message
        last = state.saved
    }

    init(_ gone: FolderChanges.Gone) {
        sequence = gone.sequence
        uid = gone.uids.lowerBound
        last = gone.uids.upperBound
        kind = .gone
    }

    init(keyword number: UInt32, _ digest: UInt64) {
        sequence = digest
        uid = number
        kind = .keyword
    }

    init(_ octets: UnsafeRawBufferPointer, at place: Int) {
        sequence = UInt64(littleEndian: octets.loadUnaligned(fromByteOffset: place, as: UInt64.self))
        uid = UInt32(littleEndian: octets.loadUnaligned(fromByteOffset: place + 8, as: UInt32.self))
        keywords = UInt32(littleEndian: octets.loadUnaligned(fromByteOffset: place + 12, as: UInt32.self))
        flags = octets[place + 16]
        kind = Kind(rawValue: octets[place + 17])
        last = UInt32(littleEndian: octets.loadUnaligned(fromByteOffset: place + 20, as: UInt32.self))
    }

    var state: FolderChanges.State {
        FolderChanges.State(
            uid: uid,
            flags: MessageFlags(rawValue: flags),
            keywords: KeywordSet(rawValue: keywords),
            saved: last,
            sequence: sequence
        )
    }

    func write(to octets: inout [UInt8]) {
        ChangeFile.append(sequence, to: &octets)
        ChangeFile.append(UInt64(uid) | UInt64(keywords) << 32, to: &octets)
        let rest = UInt64(flags) | UInt64(kind?.rawValue ?? 0) << 8 | UInt64(last) << 32
        ChangeFile.append(rest, to: &octets)
    }
}
