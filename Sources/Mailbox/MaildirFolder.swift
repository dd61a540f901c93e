import Files
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// One folder of a Maildir, open for one session.
package final class MaildirFolder: MailFolder, @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private static let copyAttempts = 5
    /// So many messages are changed while others wait.
    private static let pieceSize = 500
    /// And so long they have to take their turn: who gives a lock back and asks for it again gets it before those who wait.
    /// Microseconds.
    private static let pause: UInt32 = 100

    /// As of the last look: another session may rename the folder.
    private var name: FolderName
    let maildir: Maildir
    private let readOnly: Bool
    private let use: MaildirIndexes.Use
    private var index: MaildirIndex { use.index }
    /// The version of the index that `messages` are of.
    private var version = -1
    /// Messages that this session is the first to see.
    private var recent: Set<UInt32> = []

    package private(set) var messages: [StoredMessage] = []
    package private(set) var uidValidity: UInt32 = 0
    package private(set) var uidNext: UInt32 = 1
    package private(set) var keywords: [String] = []
    package var tracksChanges: Bool {
        didSet { if !tracksChanges { changes = nil } }
    }
    package private(set) var changes: FolderChanges?
    package var accepts = MailboxRights.all.flags

    var directory: DirectoryAccess { index.directory }

    init(
        _ name: FolderName,
        of maildir: Maildir,
        readOnly: Bool,
        tracksChanges: Bool
    ) throws(MailboxError) {
        self.tracksChanges = tracksChanges
        self.name = name
        self.maildir = maildir
        self.readOnly = readOnly
        let directory = name.isInbox ? maildir.root : try DirectoryAccess(name.directory, in: maildir.root)
        use = try directory.disk.maildirs.use(directory)
        do throws(MailboxError) { _ = try refresh() } catch {
            throw error == .vanished ? .notFound : error
        }
    }

    // MARK: Reading

    package func refresh() throws(MailboxError) -> Bool {
        try checkIsInPlace()
        let view = try whileThere { () throws(MailboxError) in
            try index.refresh(in: maildir, claims: !readOnly, tracks: tracksChanges)
        }
        return try adopt(view)
    }

    /// Makes sure that this is still a folder of the Maildir, under whatever name.
    ///
    /// - Throws: `vanished`.
    private func checkIsInPlace() throws(MailboxError) {
        if name.isInbox { return }
        if try isHere(name) { return }
        for candidate in try maildir.layout.folders(in: maildir.root) {
            if try isHere(candidate) {
                name = candidate
                return
            }
        }
        throw .vanished
    }

    /// Whether a name leads to this folder.
    private func isHere(_ name: FolderName) throws(MailboxError) -> Bool {
        let status = try maildir.root.statusIfPresent(name.directory)
        return status?.inode == use.identity.inode && status?.device == use.identity.device
    }

    /// Runs what can't find anything only where the folder was removed.
    private func whileThere<Value>(_ body: () throws(MailboxError) -> Value) throws(MailboxError) -> Value {
        do throws(MailboxError) { return try body() } catch { throw error == .notFound ? .vanished : error }
    }

    /// Returns whether messages are different now.
    private func adopt(_ view: MaildirIndex.View) throws(MailboxError) -> Bool {
        guard uidValidity == 0 || uidValidity == view.validity else { throw .vanished }
        uidValidity = view.validity
        uidNext = view.next
        keywords = view.keywords
        changes = view.changes
        guard view.version != version || !view.recent.isEmpty else { return false }
        version = view.version
        var updated = view.messages
        if readOnly { recent = Set(view.recent) } else { recent.formUnion(view.recent) }
        for uid in recent {
            if let place = updated.index(ofUID: uid) { updated[place].isRecent = true }
        }
        withoutLate(&updated)
        guard updated != messages else { return false }
        messages = updated
        return true
    }

    /// Leaves out messages that have turned up among those that are known: message numbers grow at the end only (RFC 3501
    /// §2.3.1.2), and the client would take others for them. It sees them when it opens the folder again.
    private func withoutLate(_ updated: inout [StoredMessage]) {
        guard let last = messages.last?.uid else { return }
        var late: Set<UInt32> = []
        var next = 0
        for message in updated {
            // There is one that ends this.
            guard message.uid < last else { break }
            while messages[next].uid < message.uid { next += 1 }
            if messages[next].uid != message.uid { late.insert(message.uid) }
        }
        if !late.isEmpty { updated.removeAll { late.contains($0.uid) } }
    }

    package func open(_ uid: UInt32) throws(MailboxError) -> MessageReader {
        let reader = try index.open(uid, uidValidity, in: maildir)
        note(reader.octets, of: uid)
        return reader
    }

    package func octets(of uid: UInt32) throws(MailboxError) -> Int {
        if let known = message(uid)?.octets { return known }
        return try open(uid).octets
    }

    private func note(_ octets: Int, of uid: UInt32) {
        guard let place = messages.index(ofUID: uid), messages[place].octets != octets else { return }
        messages[place].octets = octets
    }

    package func identity(of uid: UInt32) -> UInt64? { index.identity(of: uid, uidValidity) }

    package func internalDate(of uid: UInt32) throws(MailboxError) -> Int {
        try index.internalDate(of: uid, uidValidity, in: maildir)
    }

    package var objectIdentifier: String { index.objectIdentifier }

    package func contentIdentifier(of uid: UInt32) -> String? { index.contentIdentifier(of: uid, uidValidity) }

    package func originalNames(of uids: some Sequence<UInt32> & Sendable) -> [UInt32: String] {
        index.originalNames(of: uids, uidValidity)
    }

    package func saveDate(of uid: UInt32) throws(MailboxError) -> Int? {
        changes?.saved(uid) ?? index.saveDate(of: uid, uidValidity)
    }

    package var popIdentifiers: [UInt32: String] {
        index.values(UInt8(ascii: "P"), uidValidity).compactMapValues { octets in
            let isIdentifier = octets.allSatisfy { (0x21...0x7E).contains($0) }
            return isIdentifier ? String(decoding: octets, as: UTF8.self) : nil
        }
    }

    // MARK: Changing

    package func store(
        _ change: FlagChange,
        to uids: [UInt32],
        unchangedSince sequence: UInt64?
    ) throws(MailboxError) -> StoredFlags {
        var changed: [StoredMessage] = []
        var conflicts: [UInt32] = []
        changed.reserveCapacity(uids.count)
        var known = version
        for (number, piece) in Self.pieces(uids).enumerated() {
            if number > 0 { usleep(Self.pause) }
            let made = try index.store(change, to: piece, unchangedSince: sequence, uidValidity, in: maildir)
            changed += made.messages
            conflicts += made.conflicts
            if made.before == known { known = made.after }
            keywords = made.keywords
        }
        // Where it ends half-way the next look tells what was done.
        version = known
        for number in changed.indices {
            guard let place = messages.index(ofUID: changed[number].uid) else { continue }
            changed[number].isRecent = messages[place].isRecent
            messages[place] = changed[number]
        }
        return StoredFlags(messages: changed, conflicts: conflicts)
    }

    /// Others get at the folder between them.
    private static func pieces(_ uids: [UInt32]) -> [[UInt32]] {
        guard uids.count > pieceSize else { return [uids] }
        return stride(from: 0, to: uids.count, by: pieceSize).map { start in
            Array(uids[start..<min(uids.count, start + pieceSize)])
        }
    }

    package func expunge(_ uids: [UInt32]) throws(MailboxError) -> [UInt32] {
        guard !uids.isEmpty else { return [] }
        var known = version
        for (number, piece) in Self.pieces(uids).enumerated() {
            if number > 0 { usleep(Self.pause) }
            let removed = try index.expunge(piece, uidValidity, in: maildir)
            maildir.quota.record(octets: -removed.octets, messages: -removed.files)
            if removed.before == known { known = removed.after }
        }
        // Where it ends half-way the next look tells what was done.
        version = known
        let gone = Set(uids)
        messages.removeAll { gone.contains($0.uid) }
        return uids
    }

    package func append() throws(MailboxError) -> any MessageAppend { try MaildirAppend(self) }

    /// Puts messages here: all of them durably, or none.
    ///
    /// - Parameter put: makes the file of one of them appear under a path of this folder.
    /// - Returns: their UIDs.
    func add(
        _ newcomers: [MaildirIndex.Newcomer],
        put: (Int, String) throws(MailboxError) -> Void
    ) throws(MailboxError) -> [UInt32] {
        let newcomers = newcomers.map { $0.accepted(accepts) }
        let uids = try index.add(newcomers, uidValidity, in: maildir, put: put) { () throws(MailboxError) in
            try checkIsInPlace()
            return name
        }
        // They are there, whatever becomes of this. Sequences come with the next look.
        if !tracksChanges, let view = index.viewAfterChange(claims: !readOnly) { _ = try? adopt(view) }
        return uids
    }

    package func copy(
        _ uids: [UInt32],
        to target: any MailFolder
    ) throws(MailboxError) -> [(source: UInt32, target: UInt32)] {
        guard target.rights.contains(.insert) else { throw .noPermission }
        guard let target = target.base as? MaildirFolder else { throw .unsupported }
        var attempts = 0
        while true {
            let originals = try index.originals(uids, uidValidity, in: maildir)
            var sum = MailboxUsage(octets: 0, messages: originals.count)
            for original in originals { sum.add(octets: original.octets) }
            let octets = sum.octets
            try target.maildir.quota.check(adding: octets)
            do throws(MailboxError) {
                let made = try copy(originals, to: target)
                target.maildir.quota.record(octets: octets, messages: made.count)
                return Array(zip(uids, made)).map { (source: $0, target: $1) }
            } catch {
                attempts += 1
                guard error == .notFound, attempts < Self.copyAttempts else { throw error }
            }
            // One of them was renamed or removed meanwhile.
            try index.rescan(in: maildir)
        }
    }

    private func copy(_ originals: [MaildirIndex.Original], to target: MaildirFolder) throws(MailboxError) -> [UInt32] {
        let newcomers = originals.map { original in
            let sizes = ["S", "W"].map { letter in
                MaildirFileName.size(UInt8(ascii: letter), in: original.base).map { ",\(letter)=\($0)" } ?? ""
            }.joined()
            return MaildirIndex.Newcomer(
                base: directory.disk.uniqueName() + sizes,
                flags: original.flags,
                keywords: original.keywords,
                staysNew: false,
                identifier: original.identifier
            )
        }
        if use.identity.device == target.use.identity.device {
            do throws(MailboxError) {
                return try target.add(newcomers) { (number, path) throws(MailboxError) in
                    try directory.link(originals[number].path, to: path, in: target.directory)
                }
            } catch {
                guard case .system(_, let code) = error, [EXDEV, EMLINK, EPERM].contains(code) else { throw error }
            }
        }
        // There are no hard links, or no more of them. Nobody has to wait while the octets are copied.
        var copies: [String] = []
        // Those that are in place have no name here any more.
        defer { for copy in copies { try? target.directory.remove(copy) } }
        for original in originals { copies.append(try copyContent(of: original.path, in: target.directory)) }
        return try target.add(newcomers) { (number, path) throws(MailboxError) in
            try target.directory.rename(copies[number], to: path)
        }
    }

    /// Copies a message into the other folder's `tmp/`, durably.
    ///
    /// - Returns: its path there.
    private func copyContent(of path: String, in target: DirectoryAccess) throws(MailboxError) -> String {
        let source = try directory.openRegular(path, [.reading, .notFollowing])
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
            return temporary
        } catch {
            try? target.remove(temporary)
            throw error
        }
    }
}
