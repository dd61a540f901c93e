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

    /// The file `NAME.lock`.
    private final class DotLock {
        private let directory: DirectoryAccess
        private let path: String
        private let identity: Identity

        /// - Throws: `busy`.
        static func acquire(_ name: String, in directory: DirectoryAccess) throws(MailboxError) -> DotLock {
            let status = try directory.file.status()
            let path = "\(name).lock"
            let identity = Identity(device: status.device, directory: status.inode, name: name)
            var isOurs = try make(path, identity, in: directory)
            if !isOurs, try removeStale(path, identity, in: directory) {
                isOurs = try make(path, identity, in: directory)
            }
            guard isOurs else { throw .busy }
            return DotLock(path, identity, in: directory)
        }

        /// Adopts the lock file. An init that threw would run deinit and remove someone else's lock file.
        private init(_ path: String, _ identity: Identity, in directory: DirectoryAccess) {
            self.directory = directory
            self.path = path
            self.identity = identity
        }

        deinit {
            held.withLockedValue { held in
                try? directory.remove(path)
                held.remove(identity)
            }
        }

        /// Returns false if it exists.
        private static func make(
            _ path: String,
            _ identity: Identity,
            in directory: DirectoryAccess
        ) throws(MailboxError) -> Bool {
            guard !held.withLockedValue({ $0.contains(identity) }) else { return false }
            // Written under a temporary name and linked, so that a lock file always has its owner's pid.
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
