import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// Both locks of an mbox: the dot-lock file `NAME.lock` first, then an fcntl lock on the file, the order that is safe on a
/// shared file system. Released with the object.
final class MboxLock {
    /// A lock file is stale at this age unless its owner is known to be alive. Seconds.
    private static let staleAfter = 300
    /// How often the time of a lock file that is held is set anew, for programs that judge by its age. Seconds.
    private static let refreshedEach = 60
    /// Lock files that this process holds. One with our pid that isn't listed was left by an earlier process.
    private static let held = NIOLockedValueBox<Set<Identity>>([])

    private struct Identity: Hashable {
        let device: UInt64
        let directory: UInt64
        let name: String
    }

    /// The mbox, open for reading and writing.
    let file: OpenFile
    private let dotLock: DotLock

    /// Acquires both locks without waiting. Creates the mbox if it's missing.
    ///
    /// - Throws: `busy` if either is held by someone else.
    static func acquire(_ name: String, in directory: DirectoryAccess) throws(MailboxError) -> MboxLock {
        let dotLock = try DotLock.acquire(name, in: directory)
        let file = try directory.open(name, [.reading, .writing, .creating, .notFollowing])
        guard try mappingErrors({ () throws(FileError) in try file.disk.files.lockRecords(file.handle) }) else {
            throw .busy
        }
        return MboxLock(file, dotLock)
    }

    private init(_ file: OpenFile, _ dotLock: DotLock) {
        self.file = file
        self.dotLock = dotLock
    }

    deinit {
        // Readers may keep the file open after the lock is released.
        file.disk.files.unlockRecords(file.handle)
        withExtendedLifetime(dotLock) {}
    }

    /// Call now and then in the course of long work.
    func refresh() { dotLock.refresh() }

    /// Octets that are read at once.
    private static let pieceSize = 64 * 1024

    /// Reads a range of the mbox, or of the file that is to take its place, in pieces, as far as there are octets. The lock
    /// stays fresh meanwhile.
    ///
    /// - Parameter consume: takes a piece and where it begins; false where the rest is of no interest.
    func read(
        _ range: Range<Int>,
        of file: OpenFile? = nil,
        _ consume: (_ piece: [UInt8], _ offset: Int) throws(MailboxError) -> Bool
    ) throws(MailboxError) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let piece = try (file ?? self.file).read(min(Self.pieceSize, range.upperBound - offset), at: offset)
            refresh()
            guard !piece.isEmpty, try consume(piece, offset) else { return }
            offset += piece.count
        }
    }

    /// Whether nobody has taken the lock file away.
    var isHeld: Bool { dotLock.isInPlace }

    /// Who made a lock file: `PID` or `PID:HOST`, as Dovecot, liblockfile and we write it.
    private struct Owner {
        let process: pid_t
        /// Nil where it isn't said.
        let host: Substring?

        init?(_ octets: [UInt8]) {
            let line = String(decoding: octets.prefix { $0 > UInt8(ascii: " ") }, as: UTF8.self)
            let parts = line.split(separator: ":", maxSplits: 1)
            guard let first = parts.first, let process = pid_t(first), process > 0 else { return nil }
            self.process = process
            host = parts.count > 1 ? parts[1] : nil
        }

        static var ours: String { "\(getpid()):\(MaildirFileName.hostName)\n" }

        /// Whether there is such a process; nil where that can't be said from here.
        var isAlive: Bool? {
            guard host.map({ $0 == MaildirFileName.hostName }) ?? true else { return nil }
            // Our own locks are known otherwise.
            return process != getpid() && (kill(process, 0) == 0 || errno != ESRCH)
        }
    }

    /// The file `NAME.lock`.
    final class DotLock {
        private let directory: DirectoryAccess
        private let path: String
        private let identity: Identity
        /// Kept open, so that it can be told from any other of its name.
        private let file: OpenFile
        private var refreshed: Int

        /// - Throws: `busy`.
        static func acquire(_ name: String, in directory: DirectoryAccess) throws(MailboxError) -> DotLock {
            let status = try directory.file.status()
            let path = "\(name).lock"
            let identity = Identity(device: status.device, directory: status.inode, name: name)
            var file = try make(path, identity, in: directory)
            if file == nil, try removeStale(path, identity, in: directory) {
                file = try make(path, identity, in: directory)
            }
            guard let file else { throw .busy }
            return DotLock(path, identity, file, in: directory)
        }

        /// Adopts the lock file. An init that threw would run deinit and remove someone else's lock file.
        private init(_ path: String, _ identity: Identity, _ file: OpenFile, in directory: DirectoryAccess) {
            self.directory = directory
            self.path = path
            self.identity = identity
            self.file = file
            refreshed = directory.disk.seconds
        }

        deinit {
            held.withLockedValue { held in
                // Whoever took it for stale may have made another.
                if isInPlace { try? directory.remove(path) }
                held.remove(identity)
            }
        }

        var isInPlace: Bool {
            guard let named = try? directory.status(path), let ours = try? file.status() else { return false }
            return named.inode == ours.inode && named.device == ours.device
        }

        func refresh() {
            let now = directory.disk.seconds
            guard now - refreshed >= refreshedEach else { return }
            refreshed = now
            try? file.setModified(now)
        }

        /// Returns nil if it exists.
        private static func make(
            _ path: String,
            _ identity: Identity,
            in directory: DirectoryAccess
        ) throws(MailboxError) -> OpenFile? {
            guard !held.withLockedValue({ $0.contains(identity) }) else { return nil }
            // Written under a temporary name and linked, so that a lock file always names its owner.
            let temporary = "\(path).\(directory.disk.uniqueName())"
            let file = try directory.open(temporary, [.writing, .creating, .exclusive], mode: 0o644)
            defer { try? directory.remove(temporary) }
            try file.write(Array(Owner.ours.utf8))
            let result = held.withLockedValue { held -> Result<Bool, MailboxError> in
                guard !held.contains(identity) else { return .success(false) }
                do throws(MailboxError) {
                    try directory.link(temporary, to: path, in: directory)
                    held.insert(identity)
                    return .success(true)
                } catch {
                    return error == .exists ? .success(false) : .failure(error)
                }
            }
            return try result.get() ? file : nil
        }

        /// Removes a stale lock file. One process at a time, so that none removes its successor.
        ///
        /// - Returns: whether it was removed.
        private static func removeStale(
            _ path: String,
            _ identity: Identity,
            in directory: DirectoryAccess
        ) throws(MailboxError) -> Bool {
            let guardian = try directory.open(".", [.reading, .directory])
            guard try mappingErrors({ () throws(FileError) in try guardian.disk.files.lock(guardian.handle) }) else {
                return false
            }
            return held.withLockedValue { held in
                // Whose lock can't be read now may be alive.
                guard !held.contains(identity), let status = try? directory.status(path),
                    let octets = try? directory.contents(path, maximum: 1024)
                else { return false }
                let owner = Owner(octets)
                let isOld = status.modified < Int64(directory.disk.seconds - staleAfter)
                let isStale =
                    switch owner?.isAlive {
                    case false?: true
                    // Of before the machine was started: another process has got the number since.
                    case true?: isOld && status.modified < Int64(directory.disk.startedAt)
                    case nil: isOld
                    }
                return isStale && (try? directory.remove(path)) != nil
            }
        }
    }
}
