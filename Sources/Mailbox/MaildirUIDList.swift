import Algorithms
import Files

#if canImport(Glibc)
import Glibc
#endif

/// A message of a folder as its UID list and its file's name tell of it.
struct MaildirRecord {
    /// Where the message's file was last seen.
    enum Place: UInt8 {
        case nowhere
        case new
        case current
    }

    let uid: UInt32
    var place = Place.nowhere
    /// Whether sessions were told that it's gone. A file that comes back under its name is another message to them.
    fileprivate(set) var isGone = false
    var flags: MessageFlags = []
    var keywords: KeywordSet = []
    /// In which listing it was last seen.
    var listing: UInt32 = 0
    /// Of its base name in the list's memory.
    fileprivate let baseStart: Int
    fileprivate let baseLength: Int
    /// Of the file, where its name or the list says so.
    var octets: Int?
    /// With CRLF line ends, where that is known.
    var wireOctets: Int?
    /// When it arrived: seconds since 1970, where somebody has asked.
    var date: Int64?
}

/// Which UID belongs to which message of a Maildir's folder: Dovecot's file `dovecot-uidlist`, version 3
/// (docs/mailbox.md, "UIDs"), and what is known of each of these messages.
///
/// The file has a line `3 V<uidvalidity> N<next uid> G<guid>`, and for each message `<uid> [<key><value> …]:<base>`, ascending
/// by UID. It's appended to under Dovecot's lock, and rewritten when most of it is about messages that are gone. Fields and
/// keys that are unknown here are kept.
///
/// What a sync that failed was to write can be read by all, also after later syncs, and is gone after a power failure; no UID
/// that a client has seen may be. So a file, the mark, is there while the list is being written, and longer where that
/// failed or the writer died: then the list is written anew before any of its UIDs is used. (A last line without its end
/// would tell the same, but Dovecot writes behind whatever is there.)
struct MaildirUIDList {
    static let path = "dovecot-uidlist"
    static let mark = "martlet-uidlist.unsafe"
    private static let maximumOctets = 1 << 30
    /// Lines about messages that are gone are no reason to write a list anew as long as there are so few.
    private static let toleratedDead = 1000

    /// 0 before the list is loaded.
    private(set) var validity: UInt32 = 0
    /// Greater than every UID that was given.
    private(set) var next: UInt32 = 1
    /// All messages that the list has, ascending by UID, with those that are gone.
    private(set) var records: [MaildirRecord] = []
    /// Base names, one after the other.
    private var bases: [UInt8] = []
    /// A hash table of places in `records`, plus 1, by base name. Its size is a power of two.
    private var table: [UInt32] = []
    /// Against base names that were made to fall into one place.
    private let seed = UInt64.random(in: 0 ... .max)
    /// Header fields beside `V` and `N`.
    private var otherFields: [[UInt8]] = []
    /// Keys and values of the messages that have any, by UID.
    private var keys: [UInt32: [UInt8]] = [:]
    /// Version 1 has no keys; it's rewritten before it's added to.
    private var version = 3

    private var file: OpenFile?
    private(set) var stamp: Stamp?
    /// Octets of the file that were read: whole lines.
    private var consumed = 0
    /// Rises whenever what was known is thrown away, to be read again.
    private(set) var generation = 0

    /// Other values mean that somebody else has changed the file.
    struct Stamp: Equatable {
        var inode: UInt64
        var size: Int
        var modified: Int64
        var nanoseconds: Int64

        init(_ status: FileStatus) {
            inode = status.inode
            size = status.size
            modified = status.modified
            nanoseconds = status.modifiedNanoseconds
        }
    }

    static func stamp(in directory: DirectoryAccess) throws(MailboxError) -> Stamp? {
        try directory.statusIfPresent(path).map { Stamp($0) }
    }

    // MARK: Looking up

    /// The place of a message in `records`.
    func index(ofUID uid: UInt32) -> Int? {
        let place = records.partitioningIndex { $0.uid >= uid }
        return place < records.count && records[place].uid == uid ? place : nil
    }

    /// The place of a message in `records`; nil where it's gone for good.
    func index(ofBase base: UnsafeRawBufferPointer) -> Int? {
        guard !table.isEmpty else { return nil }
        return bases.withUnsafeBytes { bases in
            var slot = self.slot(base)
            while table[slot] != 0 {
                let index = Int(table[slot]) - 1
                if Self.isEqual(base, bases, records[index]) { return records[index].isGone ? nil : index }
                slot = (slot + 1) & (table.count - 1)
            }
            return nil
        }
    }

    private static func isEqual(
        _ base: UnsafeRawBufferPointer,
        _ bases: UnsafeRawBufferPointer,
        _ record: MaildirRecord
    ) -> Bool {
        guard record.baseLength == base.count, let one = base.baseAddress, let other = bases.baseAddress else {
            return false
        }
        return memcmp(one, other + record.baseStart, base.count) == 0
    }

    private func slot(_ base: UnsafeRawBufferPointer) -> Int {
        var hash = seed
        var place = 0
        while place + 8 <= base.count {
            hash = (hash ^ base.loadUnaligned(fromByteOffset: place, as: UInt64.self)) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 32
            place += 8
        }
        while place < base.count {
            hash = (hash ^ UInt64(base[place])) &* 0x9E37_79B9_7F4A_7C15
            place += 1
        }
        hash ^= hash >> 29
        return Int(truncatingIfNeeded: hash) & (table.count - 1)
    }

    func base(_ index: Int) -> ArraySlice<UInt8> {
        let record = records[index]
        return bases[record.baseStart..<(record.baseStart + record.baseLength)]
    }

    /// The values of a key, by UID.
    func values(_ key: UInt8) -> [UInt32: [UInt8]] {
        keys.compactMapValues { fields in
            fields.split(separator: UInt8(ascii: " ")).first { $0.first == key }.map { Array($0.dropFirst()) }
        }
    }

    // MARK: Identifiers

    private static let identifierKey = UInt8(ascii: "G")

    /// The folder's, as Dovecot has it in the first line: 32 hexadecimal digits.
    var identifier: String {
        let known = otherFields.first { $0.first == Self.identifierKey }?.dropFirst()
        if let known, Self.isIdentifier(known) { return String(decoding: known, as: UTF8.self) }
        return Self.identifier(ofValidity: validity)
    }

    /// That of a folder that has been given none.
    static func identifier(ofValidity validity: UInt32) -> String { EntryDigest("UIDVALIDITY \(validity)".utf8).text }

    static func isIdentifier(_ octets: some Collection<UInt8>) -> Bool {
        let digits = Array("0123456789abcdef".utf8)
        return octets.count == 32 && octets.allSatisfy(digits.contains)
    }

    /// Dovecot's GUID of a message: the one that it was given as a copy, or its base name.
    func contentIdentifier(_ index: Int) -> [UInt8] {
        let fields = keys[records[index].uid]?.split(separator: UInt8(ascii: " ")) ?? []
        let given = fields.first { $0.first == Self.identifierKey && $0.count > 1 }?.dropFirst()
        return given.map { Array($0) } ?? Array(base(index))
    }

    /// Octets of memory, more or less.
    var memory: Int {
        records.capacity * MemoryLayout<MaildirRecord>.stride + bases.capacity + table.count * 4 + keys.count * 64
    }

    /// Changes what is known of a message.
    mutating func update(_ index: Int, _ change: (inout MaildirRecord) -> Void) { change(&records[index]) }

    /// Notes that a message is gone for good.
    mutating func forget(_ index: Int) {
        records[index].place = .nowhere
        records[index].isGone = true
    }

    /// Notes that those of the first messages whose files are nowhere are gone for good.
    mutating func forgetUnseen(of count: Int) {
        for index in records[..<min(count, records.count)].indices where records[index].place == .nowhere {
            records[index].isGone = true
        }
    }

    // MARK: Reading

    /// Reads what is new in the file. Needs the folder's lock.
    ///
    /// - Returns: whether there is a list that can be used; otherwise `start` it.
    mutating func load(in directory: DirectoryAccess) throws(MailboxError) -> Bool {
        let opened: OpenFile
        do throws(MailboxError) {
            opened = try directory.openRegular(Self.path, [.reading, .notFollowing])
        } catch {
            guard error == .notFound else { throw error }
            reset()
            return false
        }
        let status = try opened.status()
        guard status.size <= Self.maximumOctets else { throw .corrupt("\(Self.path) is too large") }
        let now = Stamp(status)
        if now == stamp { return validity != 0 }
        if now.inode != stamp?.inode || now.size < consumed { reset() }
        // Kept open so that its inode number isn't used again.
        file = opened
        let octets = try opened.read(status.size - consumed, at: consumed)
        // Another program may have been killed before this was on stable storage, and clients are to be told of it.
        do throws(MailboxError) {
            try opened.syncData()
        } catch {
            // The next sync would succeed, and be worth nothing.
            try? Self.setMark(in: directory)
            throw error
        }
        guard octets.withUnsafeBytes({ parse($0) }) else {
            reset()
            return false
        }
        stamp = now
        return true
    }

    /// Whether what the list says may be in memory only. Needs the folder's lock.
    static func isUnsafe(in directory: DirectoryAccess) throws(MailboxError) -> Bool {
        try directory.statusIfPresent(mark) != nil
    }

    /// Writes the list anew, so that it's on stable storage. Needs both locks, and a list that was loaded since.
    mutating func secure(in directory: DirectoryAccess) throws(MailboxError) { try rewrite(in: directory) }

    private static func setMark(in directory: DirectoryAccess) throws(MailboxError) {
        _ = try directory.open(mark, [.writing, .creating])
    }

    /// One that can't be removed costs a needless writing.
    private static func removeMark(in directory: DirectoryAccess) { try? directory.remove(mark) }

    private mutating func reset() {
        generation += 1
        file = nil
        stamp = nil
        consumed = 0
        validity = 0
        next = 1
        version = 3
        records = []
        bases = []
        table = []
        keys = [:]
        otherFields = []
    }

    /// Parses complete lines. What is left at the end is a write that was interrupted, and is ignored.
    private mutating func parse(_ octets: UnsafeRawBufferPointer) -> Bool {
        guard let memory = octets.baseAddress else { return validity != 0 }
        var start = 0
        while start < octets.count, let found = memchr(memory + start, 10, octets.count - start) {
            let end = memory.distance(to: UnsafeRawPointer(found))
            let line = UnsafeRawBufferPointer(rebasing: octets[start..<end])
            guard validity != 0 ? parseEntry(line) : parseHeader(line) else { return false }
            consumed += end + 1 - start
            start = end + 1
        }
        return validity != 0
    }

    private mutating func parseHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        var fields = line.split(separator: UInt8(ascii: " "))[...]
        switch fields.popFirst().flatMap({ Self.number($0) }) {
        case 3: version = 3
        case 1:
            version = 1
            guard fields.count == 2, let first = Self.number(fields[fields.startIndex]),
                let second = Self.number(fields[fields.startIndex + 1]), first > 0, second > 0
            else { return false }
            validity = first
            next = second
            return true
        default: return false
        }
        for field in fields {
            switch field.first {
            case UInt8(ascii: "V"): validity = Self.number(field.dropFirst()) ?? 0
            case UInt8(ascii: "N"):
                guard let number = Self.number(field.dropFirst()), number > 0 else { return false }
                next = number
            default: otherFields.append(Array(field))
            }
        }
        return validity > 0
    }

    private static func number(_ digits: some Collection<UInt8>) -> UInt32? {
        MaildirFileName.number(digits).flatMap { UInt32(exactly: $0) }
    }

    private mutating func parseEntry(_ line: UnsafeRawBufferPointer) -> Bool {
        let space = UInt8(ascii: " ")
        guard let end = line.firstIndex(of: space), let uid = Self.number(line[..<end]), uid > (records.last?.uid ?? 0),
            uid < .max
        else { return false }
        var start = end + 1
        if version == 3 {
            while start < line.count, line[start] != UInt8(ascii: ":") {
                start = (line[start...].firstIndex(of: space) ?? line.count - 1) + 1
            }
            guard start < line.count else { return false }
            let known = line[(end + 1)..<start]
            if !known.isEmpty { keys[uid] = Array(known) }
            start += 1
        }
        let rest = line[start...]
        let base = rest[..<(rest.firstIndex(of: UInt8(ascii: ":")) ?? rest.endIndex)]
        guard !base.isEmpty, base.count <= 255 else { return false }
        add(uid, UnsafeRawBufferPointer(rebasing: base))
        return true
    }

    private mutating func add(_ uid: UInt32, _ base: UnsafeRawBufferPointer) {
        if table.count < 2 * (records.count + 1) { growTable() }
        var record = MaildirRecord(uid: uid, baseStart: bases.count, baseLength: base.count)
        record.octets = MaildirFileName.size(UInt8(ascii: "S"), in: base)
        record.wireOctets = MaildirFileName.size(UInt8(ascii: "W"), in: base)
        if record.wireOctets == nil, let fields = keys[uid] {
            for field in fields.split(separator: UInt8(ascii: " ")) {
                switch field.first {
                case UInt8(ascii: "S"): record.octets = record.octets ?? MaildirFileName.number(field.dropFirst())
                case UInt8(ascii: "W"): record.wireOctets = MaildirFileName.number(field.dropFirst())
                default: continue
                }
            }
        }
        bases.append(contentsOf: base)
        records.append(record)
        enter(records.count - 1)
        next = max(next, uid + 1)
    }

    /// Enters a message into the table; of two with the same base name the later one counts.
    private mutating func enter(_ index: Int) {
        let place = bases.withUnsafeBytes { bases -> Int in
            let record = records[index]
            let base = UnsafeRawBufferPointer(
                rebasing: bases[record.baseStart..<(record.baseStart + record.baseLength)]
            )
            var slot = self.slot(base)
            while table[slot] != 0, !Self.isEqual(base, bases, records[Int(table[slot]) - 1]) {
                slot = (slot + 1) & (table.count - 1)
            }
            return slot
        }
        table[place] = UInt32(index + 1)
    }

    private mutating func growTable() {
        table = Array(repeating: 0, count: max(64, table.count * 2))
        for index in records.indices { enter(index) }
    }

    // MARK: Writing

    /// Gives UIDs to messages in the order given, and has them on stable storage before it returns. Needs the folder's lock
    /// and Dovecot's, and a list that was loaded since.
    ///
    /// - Parameter identifiers: those that messages have as copies of others, by base name.
    /// - Throws: `busy` where somebody has changed the file all the same.
    mutating func assign(
        _ new: [[UInt8]],
        identifiers: [[UInt8]: [UInt8]] = [:],
        in directory: DirectoryAccess
    ) throws(MailboxError) {
        guard !new.isEmpty else { return }
        guard UInt32.max - next > new.count else { throw .corrupt("\(Self.path): no UIDs are left") }
        if version != 3 { try rewrite(in: directory) }
        var text: [UInt8] = []
        text.reserveCapacity(new.count * 64)
        var uid = next
        var given: [UInt32: [UInt8]] = [:]
        for base in new {
            text.append(contentsOf: "\(uid) ".utf8)
            // A blank would end it.
            if let identifier = identifiers[base], !identifier.contains(UInt8(ascii: " ")) {
                given[uid] = [Self.identifierKey] + identifier + [UInt8(ascii: " ")]
                text += given[uid] ?? []
            }
            text.append(UInt8(ascii: ":"))
            text += base
            text.append(UInt8(ascii: "\n"))
            uid += 1
        }
        let file = try directory.openRegular(Self.path, [.writing, .notFollowing])
        let status = try file.status()
        guard status.inode == stamp?.inode, status.size == stamp?.size else { throw .busy }
        try Self.setMark(in: directory)
        do throws(MailboxError) {
            // What was left of an interrupted write.
            if let stamp, stamp.size > consumed { try file.truncate(to: consumed) }
            try file.write(text, at: consumed)
            try file.syncData()
        } catch {
            // What nobody can read is nobody's concern.
            if (try? file.truncate(to: consumed)) != nil { Self.removeMark(in: directory) }
            throw error
        }
        Self.removeMark(in: directory)
        consumed += text.count
        stamp = Stamp(try file.status())
        for base in new {
            keys[next] = given[next]
            base.withUnsafeBytes { add(next, $0) }
        }
    }

    /// Whether most of its lines are about messages that are gone.
    var isMostlyDead: Bool {
        guard records.count > Self.toleratedDead else { return false }
        let live = records.count { $0.place != .nowhere }
        return records.count > 2 * live
    }

    /// Writes the list without the messages that are gone. Needs both locks.
    mutating func compact(in directory: DirectoryAccess) throws(MailboxError) {
        let (old, memory) = (records, bases)
        records = []
        bases = []
        table = []
        let last = next
        for record in old where record.place != .nowhere {
            let range = record.baseStart..<(record.baseStart + record.baseLength)
            memory.withUnsafeBytes { add(record.uid, UnsafeRawBufferPointer(rebasing: $0[range])) }
            update(records.count - 1) { known in
                known.place = record.place
                known.flags = record.flags
                known.keywords = record.keywords
                known.listing = record.listing
                known.octets = record.octets
                known.wireOctets = record.wireOctets
                known.date = record.date
            }
        }
        keys = keys.filter { index(ofUID: $0.key) != nil }
        next = last
        try rewrite(in: directory)
    }

    /// Begins a list, with messages that were known by other means. Needs both locks.
    ///
    /// - Parameter identifies: whether POP3 clients know these messages as `UIDVALIDITY.UID`, as earlier versions had it.
    mutating func start(
        validity: UInt32,
        next: UInt32 = 1,
        known: [(uid: UInt32, base: [UInt8])] = [],
        identifies: Bool = false,
        in directory: DirectoryAccess
    ) throws(MailboxError) {
        reset()
        self.validity = validity
        self.next = next
        let random = (UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max))
        otherFields = [[Self.identifierKey] + EntryDigest("\(random)".utf8).text.utf8]
        for message in known {
            if identifies { keys[message.uid] = Array("P\(validity).\(message.uid) ".utf8) }
            message.base.withUnsafeBytes { add(message.uid, $0) }
        }
        do throws(MailboxError) { try rewrite(in: directory) } catch {
            reset()
            throw error
        }
    }

    private mutating func rewrite(in directory: DirectoryAccess) throws(MailboxError) {
        var text = Array("3 V\(validity) N\(next)".utf8)
        if !otherFields.contains(where: { $0.first == Self.identifierKey }) {
            otherFields.append([Self.identifierKey] + identifier.utf8)
        }
        for field in otherFields {
            text.append(UInt8(ascii: " "))
            text += field
        }
        text.append(UInt8(ascii: "\n"))
        for index in records.indices {
            text.append(contentsOf: "\(records[index].uid) ".utf8)
            if let known = keys[records[index].uid] { text += known }
            text.append(UInt8(ascii: ":"))
            text += base(index)
            text.append(UInt8(ascii: "\n"))
        }
        let wasUnsafe = try Self.isUnsafe(in: directory)
        try Self.setMark(in: directory)
        do throws(MailboxError) {
            try directory.replace(Self.path, with: text)
        } catch {
            // Where the former list is still there, it is what it was.
            if !wasUnsafe, let stamp, let status = try? directory.status(Self.path), status.inode == stamp.inode {
                Self.removeMark(in: directory)
            }
            throw error
        }
        Self.removeMark(in: directory)
        let opened = try directory.open(Self.path, .reading)
        version = 3
        file = opened
        stamp = Stamp(try opened.status())
        consumed = text.count
    }
}
