import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// Both locks of an mbox: the file `NAME.lock` first, then the kernel's lock on the open file, which is the order that is
/// safe where the file system is shared. Gone with the object.
final class MboxLock {
    /// Milliseconds to wait for others.
    static let patience = 10_000
    /// A lock file so old whose owner can't be asked is a dead program's. Seconds.
    private static let staleAfter = 300
    /// Lock files that this process holds now: one that carries its pid and isn't here is from an earlier life.
    private static let held = NIOLockedValueBox<Set<String>>([])

    /// F_OFD_SETLK: excludes other programs' fcntl locks, and our own threads.
    private static let setLock: CInt = 37

    /// The mbox, open for reading and writing.
    let file: OpenFile
    private let directory: DirectoryAccess
    private let lockName: String
    private let identity: String

    /// - Throws: `locked` when somebody keeps it for longer than `patience`.
    init(_ name: String, in directory: DirectoryAccess, create: Bool) throws(MailboxError) {
        self.directory = directory
        lockName = "\(name).lock"
        let status = try directory.status(".")
        identity = "\(status.st_dev)/\(status.st_ino)/\(name)"
        var waited = 0
        while try !Self.take(lockName, identity: identity, in: directory) {
            guard waited < Self.patience else { throw .locked }
            usleep(5000)
            waited += 5
        }
        do throws(MailboxError) {
            let flags = O_RDWR | O_NOFOLLOW | (create ? O_CREAT : 0)
            file = try OpenFile(name, in: directory.descriptor, flags)
            try Self.lockFile(file, waited: waited)
        } catch {
            Self.release(lockName, identity: identity, in: directory)
            throw error
        }
    }

    deinit {
        // A reader may keep the file open for longer than the lock is meant to last.
        var lock = flock()
        lock.l_type = Int16(F_UNLCK)
        lock.l_whence = Int16(SEEK_SET)
        _ = fcntl(file.descriptor, Self.setLock, &lock)
        Self.release(lockName, identity: identity, in: directory)
    }

    private static func release(_ lockName: String, identity: String, in directory: DirectoryAccess) {
        held.withLockedValue { held in
            unlinkat(directory.descriptor, lockName, 0)
            held.remove(identity)
        }
    }

    private static func take(
        _ lockName: String,
        identity: String,
        in directory: DirectoryAccess
    ) throws(MailboxError) -> Bool {
        // Written before it gets its name, so that no lock file is ever without its owner's pid.
        let temporary = "\(lockName).\(MaildirFileName.unique())"
        let file = try OpenFile(temporary, in: directory.descriptor, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
        defer { unlinkat(directory.descriptor, temporary, 0) }
        try file.write(Array("\(getpid())\n".utf8))
        let code = held.withLockedValue { held -> CInt in
            guard !held.contains(identity) else { return EEXIST }
            guard linkat(directory.descriptor, temporary, directory.descriptor, lockName, 0) == 0 else { return errno }
            held.insert(identity)
            return 0
        }
        if code == 0 { return true }
        guard code == EEXIST else { throw .of(code, "link \(lockName)") }
        try removeStale(lockName, identity: identity, in: directory)
        return false
    }

    /// Removes the lock file of a program that is dead. One process at a time, so that nobody removes the next one's.
    private static func removeStale(
        _ lockName: String,
        identity: String,
        in directory: DirectoryAccess
    ) throws(MailboxError) {
        let guardian = try OpenFile(".", in: directory.descriptor, O_RDONLY | O_DIRECTORY)
        guard flock(guardian.descriptor, LOCK_EX | LOCK_NB) == 0 else { return }
        held.withLockedValue { held in
            guard !held.contains(identity), let status = try? directory.status(lockName) else { return }
            let text = (try? directory.contents(lockName, maximum: 64)) ?? []
            let pid = pid_t(String(decoding: text.prefix { (0x30...0x39).contains($0) }, as: UTF8.self))
            let isDead = pid.map { $0 == getpid() || ($0 > 0 && kill($0, 0) != 0 && errno == ESRCH) } ?? false
            if isDead || status.st_mtim.tv_sec < time(nil) - staleAfter {
                unlinkat(directory.descriptor, lockName, 0)
            }
        }
    }

    private static func lockFile(_ file: OpenFile, waited: Int) throws(MailboxError) {
        var waited = waited
        while true {
            var lock = flock()
            lock.l_type = Int16(F_WRLCK)
            lock.l_whence = Int16(SEEK_SET)
            if fcntl(file.descriptor, setLock, &lock) == 0 { return }
            guard errno == EAGAIN || errno == EACCES || errno == EINTR else { throw .last("lock the mbox") }
            guard waited < patience else { throw .locked }
            usleep(5000)
            waited += 5
        }
    }
}
