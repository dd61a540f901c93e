import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// Both locks of an mbox: the file `NAME.lock` first, then the kernel's lock on the open file, which is the order that is
/// safe where the file system is shared. Gone with the object.
final class MboxLock {
    /// A lock file so old whose owner can't be asked is a dead program's. Seconds.
    private static let staleAfter = 300
    /// Lock files that this process holds now: one that carries its pid and isn't here is from an earlier life.
    private static let held = NIOLockedValueBox<Set<Identity>>([])

    private struct Identity: Hashable {
        let device: UInt64
        let directory: UInt64
        let name: String
    }

    /// The mbox, open for reading and writing.
    let file: OpenFile
    private let dotLock: DotLock

    /// Acquires both, or neither: never waits. The mbox is made where it's missing.
    ///
    /// - Throws: `busy` while somebody else has one of them.
    static func acquire(_ name: String, in directory: DirectoryAccess) throws(MailboxError) -> MboxLock {
        let dotLock = try DotLock(name, in: directory)
        let file = try directory.open(name, [.reading, .writing, .creating, .notFollowing])
        guard try mapped({ () throws(FileError) in try file.disk.files.lockRecords(file.handle) }) else { throw .busy }
        return MboxLock(file, dotLock)
    }

    private init(_ file: OpenFile, _ dotLock: DotLock) {
        self.file = file
        self.dotLock = dotLock
    }

    deinit {
        // A reader may keep the file open for longer than the lock is meant to last.
        file.disk.files.unlockRecords(file.handle)
        withExtendedLifetime(dotLock) {}
    }

    /// The file `NAME.lock`.
    private final class DotLock {
        private let directory: DirectoryAccess
        private let path: String
        private let identity: Identity

        /// - Throws: `busy`.
        init(_ name: String, in directory: DirectoryAccess) throws(MailboxError) {
            let status = try directory.file.status()
            self.directory = directory
            path = "\(name).lock"
            identity = Identity(device: status.device, directory: status.inode, name: name)
            if try Self.make(path, identity, in: directory) { return }
            guard try Self.removeStale(path, identity, in: directory), try Self.make(path, identity, in: directory)
            else { throw .busy }
        }

        deinit {
            held.withLockedValue { held in
                try? directory.remove(path)
                held.remove(identity)
            }
        }

        /// False where there is one.
        private static func make(
            _ path: String,
            _ identity: Identity,
            in directory: DirectoryAccess
        ) throws(MailboxError) -> Bool {
            guard !held.withLockedValue({ $0.contains(identity) }) else { return false }
            // Written before it gets its name, so that no lock file is ever without its owner's pid.
            let temporary = "\(path).\(directory.disk.uniqueName())"
            let file = try directory.open(temporary, [.writing, .creating, .exclusive], mode: 0o644)
            defer { try? directory.remove(temporary) }
            try file.write(Array("\(getpid())\n".utf8))
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
            return try result.get()
        }

        /// Removes the lock file of a program that is dead. One process at a time, so that nobody removes the next one's.
        ///
        /// - Returns: whether it was removed.
        private static func removeStale(
            _ path: String,
            _ identity: Identity,
            in directory: DirectoryAccess
        ) throws(MailboxError) -> Bool {
            let guardian = try directory.open(".", [.reading, .directory])
            guard try mapped({ () throws(FileError) in try guardian.disk.files.lock(guardian.handle) }) else {
                return false
            }
            return held.withLockedValue { held in
                guard !held.contains(identity), let status = try? directory.status(path) else { return false }
                let text = (try? directory.contents(path, maximum: 64)) ?? []
                let pid = pid_t(String(decoding: text.prefix { (0x30...0x39).contains($0) }, as: UTF8.self))
                let isDead = pid.map { $0 == getpid() || ($0 > 0 && kill($0, 0) != 0 && errno == ESRCH) } ?? false
                guard isDead || status.modified < Int64(directory.disk.seconds - staleAfter) else { return false }
                return (try? directory.remove(path)) != nil
            }
        }
    }
}
