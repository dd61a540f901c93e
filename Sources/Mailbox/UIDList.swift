import Files

/// Which UID belongs to which message of a folder (docs/mailbox.md, "UIDs"): a text file that is only appended to, and
/// rewritten whole when most of it is about messages that are gone. Every call needs the folder's lock.
///
/// The end of the last line is written when all before it is on stable storage: a sync that failed leaves octets that can
/// be read by all and are gone after a power failure, and no UID that a client has seen may be.
struct UIDList {
    private static let magic = "martlet-uidlist 1"
    private static let maximumOctets = 1 << 30

    let path: String
    private(set) var validity: UInt32 = 0
    private(set) var next: UInt32 = 1
    private(set) var uids: [String: UInt32] = [:]
    private var inode: UInt64 = 0
    /// Kept open so that its inode number isn't reused.
    private var held: OpenFile?
    /// Octets of the file that were read: whole lines.
    private var consumed = 0

    init(path: String) { self.path = path }

    /// Identity and size of the file; different values mean that it was changed by someone else.
    struct Stamp: Equatable {
        var inode: UInt64
        var size: Int
    }

    var stamp: Stamp { Stamp(inode: inode, size: consumed) }

    static func stamp(_ path: String, in directory: DirectoryAccess) -> Stamp? {
        guard let status = try? directory.status(path) else { return nil }
        return Stamp(inode: status.inode, size: status.size)
    }

    /// Reads what is new in the file.
    ///
    /// - Parameter newValidity: asked where there is no list yet, or one that can't be read.
    mutating func load(
        in directory: DirectoryAccess,
        newValidity: () throws(MailboxError) -> UInt32
    ) throws(MailboxError) {
        let file: OpenFile
        do throws(MailboxError) {
            file = try directory.openRegular(path, .reading)
        } catch {
            guard error == .notFound else { throw error }
            return try start(in: directory, validity: newValidity())
        }
        let status = try file.status()
        let size = status.size
        guard size <= Self.maximumOctets else { throw .corrupt("\(path) is too large") }
        if status.inode != inode || size < consumed { reset(inode: status.inode) }
        held = file
        guard size > consumed else {
            if validity == 0 { try start(in: directory, validity: newValidity()) }
            return
        }
        let known = consumed
        let octets = try file.read(size - known, at: known)
        guard parse(octets) else { return try start(in: directory, validity: newValidity()) }
        if consumed < size {
            // Whoever wrote the last line doesn't know it to be on stable storage, or what he wrote behind it was lost.
            parseUnended(octets[(consumed - known)...])
            if validity > 0 { return try write(in: directory) }
        }
        if validity == 0 { try start(in: directory, validity: newValidity()) }
    }

    private mutating func reset(inode: UInt64) {
        self.inode = inode
        consumed = 0
        validity = 0
        next = 1
        uids = [:]
    }

    /// Parses complete lines; false where one is none of a list.
    private mutating func parse(_ octets: [UInt8]) -> Bool {
        var rest = octets[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[..<end]
            consumed += line.count + 1
            rest = rest[(end + 1)...]
            guard validity != 0 ? parseEntry(line) : parseHeader(line) else { return false }
        }
        return true
    }

    private mutating func parseHeader(_ line: ArraySlice<UInt8>) -> Bool {
        let fields = String(decoding: line, as: UTF8.self).split(separator: " ")
        guard fields.count == 4, fields[..<2].joined(separator: " ") == Self.magic, fields[2].first == "V",
            fields[3].first == "N", let validity = UInt32(fields[2].dropFirst()), validity > 0,
            let next = UInt32(fields[3].dropFirst()), next > 0
        else { return false }
        self.validity = validity
        self.next = next
        return true
    }

    private mutating func parseEntry(_ line: ArraySlice<UInt8>) -> Bool {
        guard let (uid, base) = Self.entry(line) else { return false }
        uids[base] = uid
        next = max(next, uid + 1)
        return true
    }

    /// A last line without its end. A client may have seen what it says; where only a part of it is there, none has, and what
    /// it seems to say may not stand in the way of other lines. A power failure may have left a NUL as its end.
    private mutating func parseUnended(_ rest: ArraySlice<UInt8>) {
        let line = rest.prefix { $0 != 0 }
        if validity == 0 {
            _ = parseHeader(line)
        } else if let (uid, base) = Self.entry(line), uids[base] == nil, !uids.values.contains(uid) {
            uids[base] = uid
            next = max(next, uid + 1)
        }
    }

    private static func entry(_ line: ArraySlice<UInt8>) -> (uid: UInt32, base: String)? {
        guard let space = line.firstIndex(of: UInt8(ascii: " ")) else { return nil }
        var uid: UInt32 = 0
        for digit in line[..<space] {
            guard (0x30...0x39).contains(digit) else { return nil }
            let (product, overflow) = uid.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt32(digit - 0x30))
            guard !overflow, !carry else { return nil }
            uid = sum
        }
        guard uid > 0, uid < .max else { return nil }
        return (uid, String(decoding: line[(space + 1)...], as: UTF8.self))
    }

    /// Gives UIDs to messages in the order of the list, and has them on stable storage before it returns.
    mutating func assign(_ bases: [String], in directory: DirectoryAccess) throws(MailboxError) {
        guard !bases.isEmpty else { return }
        guard UInt32.max - next > bases.count else { throw .corrupt("\(path): no UIDs are left") }
        let file = try directory.open(path, .writing)
        try file.truncate(to: consumed)
        var text: [UInt8] = []
        var uid = next
        for base in bases {
            text.append(contentsOf: "\(uid) \(base)\n".utf8)
            uid += 1
        }
        try file.write(Array(text.dropLast()), at: consumed)
        try file.syncData()
        try file.write([UInt8(ascii: "\n")], at: consumed + text.count - 1)
        consumed += text.count
        for base in bases {
            uids[base] = next
            next += 1
        }
    }

    /// Rewrites the file where most of its lines are about messages that are gone.
    mutating func compact(keeping live: some Collection<(base: String, uid: UInt32)>, in directory: DirectoryAccess)
        throws(MailboxError)
    {
        guard uids.count > 1000, uids.count > 2 * live.count else { return }
        uids = Dictionary(live.map { ($0.base, $0.uid) }, uniquingKeysWith: { first, _ in first })
        try write(in: directory)
    }

    private mutating func start(in directory: DirectoryAccess, validity: UInt32) throws(MailboxError) {
        self.validity = validity
        next = 1
        uids = [:]
        try write(in: directory)
    }

    private mutating func write(in directory: DirectoryAccess) throws(MailboxError) {
        var text = Array("\(Self.magic) V\(validity) N\(next)\n".utf8)
        for (base, uid) in uids.sorted(by: { $0.value < $1.value }) {
            text.append(contentsOf: "\(uid) \(base)\n".utf8)
        }
        try directory.replace(path, with: Array(text.dropLast()))
        let file = try directory.open(path, [.reading, .writing])
        try file.write([UInt8(ascii: "\n")], at: text.count - 1)
        inode = try file.status().inode
        held = file
        consumed = text.count
    }
}
