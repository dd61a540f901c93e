import Cryptography
import DNS
import DNSSEC

#if canImport(Glibc)
import Glibc
#endif

/// The directory with the keys of signed zones. All of it blocks.
package struct KeyDirectory: Sendable {
    /// Open, and the caller's.
    private let descriptor: CInt

    /// The most octets that a key's file may have.
    private static let maximumOctets = 16 << 10
    /// The most keys that a zone may have.
    package static let maximumKeys = 16

    package init(_ descriptor: CInt) {
        self.descriptor = descriptor
    }

    // MARK: Reading

    /// What changes with the directory's entries: every change of a key makes or renames a file.
    package struct Version: Equatable, Sendable {
        fileprivate var seconds: Int
        fileprivate var nanoseconds: Int

        /// Whether the directory has been as it is for so long that a further change shows in its times.
        package func isSettled(now: Int) -> Bool { now - seconds > 1 }
    }

    /// nil where the directory is out of reach.
    package var version: Version? {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        return Version(seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    }

    /// A zone's keys, in the order of their names, and what is wrong with those that can't be used.
    ///
    /// - Parameter base: what stands for the zone in names of files.
    package func keys(of zone: DomainName, base: String) -> (keys: [StoredKey], problems: [StoredKeyError]) {
        var keys: [StoredKey] = []
        var problems: [StoredKeyError] = []
        for name in names(base) {
            guard keys.count < Self.maximumKeys else {
                problems.append(StoredKeyError(name: name, reason: "a zone has \(Self.maximumKeys) keys at most"))
                break
            }
            do throws(StoredKeyError) {
                keys.append(
                    try StoredKey(
                        text: try read("\(name).key", isSecret: false),
                        pem: try read("\(name).private", isSecret: true),
                        name: name,
                        zone: zone,
                        base: base
                    )
                )
            } catch {
                problems.append(error)
            }
        }
        return (keys, problems)
    }

    /// The names without ending of the zone's keys.
    private func names(_ base: String) -> [String] {
        let listed = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard listed >= 0 else { return [] }
        guard let directory = fdopendir(listed) else {
            close(listed)
            return []
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix("\(base)+"), name.hasSuffix(".key") else { continue }
            names.append(String(name.dropLast(4)))
        }
        return names.sorted()
    }

    private func read(_ name: String, isSecret: Bool) throws(StoredKeyError) -> [UInt8] {
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { throw Self.systemError(name) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Self.systemError(name) }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= Self.maximumOctets else {
            throw StoredKeyError(name: name, reason: "not a file of a key")
        }
        guard !isSecret || status.st_mode & 0o077 == 0 else {
            throw StoredKeyError(name: name, reason: "others may read it; its mode must be 0600")
        }
        var octets = [UInt8](repeating: 0, count: Self.maximumOctets)
        let count = Glibc.read(file, &octets, octets.count)
        guard count >= 0 else { throw Self.systemError(name) }
        octets.removeLast(octets.count - count)
        return octets
    }

    // MARK: Writing

    /// Writes a new key.
    package func add(_ key: StoredKey, pem: [UInt8]) throws(StoredKeyError) {
        // The public half comes last, since it's what makes the key one.
        try write(pem, to: "\(key.name).private", mode: 0o600)
        do {
            try update(key)
        } catch {
            unlinkat(descriptor, "\(key.name).private", 0)
            throw error
        }
    }

    /// Writes the public half again, with another state.
    package func update(_ key: StoredKey) throws(StoredKeyError) {
        let new = "\(key.name).key.new"
        unlinkat(descriptor, new, 0)
        try write(Array(key.text.utf8), to: new, mode: 0o644)
        guard renameat(descriptor, new, descriptor, "\(key.name).key") == 0, fsync(descriptor) == 0 else {
            throw Self.systemError("\(key.name).key")
        }
    }

    /// Takes a key away for good.
    package func remove(_ key: StoredKey) throws(StoredKeyError) {
        for name in ["\(key.name).key", "\(key.name).private"] {
            guard unlinkat(descriptor, name, 0) == 0 else { throw Self.systemError(name) }
        }
        guard fsync(descriptor) == 0 else { throw Self.systemError(key.name) }
    }

    /// A new file, which belongs to the directory's owner.
    private func write(_ octets: [UInt8], to name: String, mode: mode_t) throws(StoredKeyError) {
        let file = openat(descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard file >= 0 else { throw Self.systemError(name) }
        defer { close(file) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, geteuid() != 0 || fchown(file, status.st_uid, status.st_gid) == 0,
            fchmod(file, mode) == 0, Glibc.write(file, octets, octets.count) == octets.count, fsync(file) == 0
        else {
            let error = Self.systemError(name)
            unlinkat(descriptor, name, 0)
            throw error
        }
    }

    private static func systemError(_ name: String) -> StoredKeyError {
        StoredKeyError(name: name, reason: String(cString: strerror(errno)))
    }
}
