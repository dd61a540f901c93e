#if canImport(Glibc)
import Glibc
#endif

/// A directory and what is done to entries in it.
package struct DirectoryAccess: Sendable {
    package let file: OpenFile
    package var descriptor: CInt { file.descriptor }

    /// Opens a directory.
    package init(_ path: String, in parent: CInt = AT_FDCWD) throws(MailboxError) {
        file = try OpenFile(path, in: parent, O_RDONLY | O_DIRECTORY)
    }

    /// The names in a directory beneath this one, without `.` and `..`. Names that are not UTF-8 are left out.
    func names(_ path: String = ".") throws(MailboxError) -> [String] {
        let own = openat(descriptor, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard own >= 0 else { throw .last("open \(path)") }
        guard let stream = fdopendir(own) else {
            close(own)
            throw .last("list \(path)")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
            }
            if let name, name != ".", name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw .last("list \(path)") }
        return names
    }

    /// Size, times and inode of an entry.
    func status(_ path: String) throws(MailboxError) -> stat {
        var status = stat()
        guard fstatat(descriptor, path, &status, 0) == 0 else { throw .last("stat \(path)") }
        return status
    }

    func rename(_ from: String, to: String, in target: DirectoryAccess? = nil) throws(MailboxError) {
        guard renameat(descriptor, from, (target ?? self).descriptor, to) == 0 else { throw .last("rename \(from)") }
    }

    func link(_ from: String, to: String, in target: DirectoryAccess) throws(MailboxError) {
        guard linkat(descriptor, from, target.descriptor, to, 0) == 0 else { throw .last("link \(from)") }
    }

    func remove(_ path: String) throws(MailboxError) {
        guard unlinkat(descriptor, path, 0) == 0 else { throw .last("remove \(path)") }
    }

    func makeDirectory(_ path: String) throws(MailboxError) {
        guard mkdirat(descriptor, path, 0o700) == 0 else { throw .last("make directory \(path)") }
    }

    /// Makes a directory and those above it, where they are missing.
    func makeDirectories(_ path: String) throws(MailboxError) {
        var made = ""
        for part in path.split(separator: "/") {
            made += made.isEmpty ? "\(part)" : "/\(part)"
            if mkdirat(descriptor, made, 0o700) != 0, errno != EEXIST { throw .last("make directory \(made)") }
        }
    }

    /// Removes a directory with all that is in it.
    func removeTree(_ path: String) throws(MailboxError) {
        for name in try names(path) {
            let entry = "\(path)/\(name)"
            if unlinkat(descriptor, entry, 0) == 0 { continue }
            guard errno == EISDIR || errno == EPERM else { throw .last("remove \(entry)") }
            try removeTree(entry)
        }
        guard unlinkat(descriptor, path, AT_REMOVEDIR) == 0 else { throw .last("remove \(path)") }
    }

    /// Waits until the entries of a directory beneath this one are on stable storage.
    func sync(_ path: String = ".") throws(MailboxError) {
        try OpenFile(path, in: descriptor, O_RDONLY | O_DIRECTORY).sync()
    }

    /// The content of a small file; nil where there is none.
    ///
    /// - Throws: `corrupt` when it is larger than the maximum.
    func contents(_ path: String, maximum: Int) throws(MailboxError) -> [UInt8]? {
        let file: OpenFile
        do throws(MailboxError) {
            file = try OpenFile(path, in: descriptor, O_RDONLY)
        } catch {
            if error == .notFound { return nil }
            throw error
        }
        let size = try Int(file.status().st_size)
        guard size <= maximum else { throw .corrupt("\(path) is too large") }
        return try file.read(size, at: 0)
    }

    /// Puts a file in the place of another one, durably: all of it is there after a crash, or none.
    func replace(_ path: String, with octets: [UInt8]) throws(MailboxError) {
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max)).new"
        do throws(MailboxError) {
            let file = try OpenFile(temporary, in: descriptor, O_WRONLY | O_CREAT | O_EXCL)
            try file.write(octets)
            try file.sync()
            try rename(temporary, to: path)
            try self.file.sync()
        } catch {
            unlinkat(descriptor, temporary, 0)
            throw error
        }
    }

    /// Runs the body while this process alone (and this thread) holds the lock file, which stays where it is.
    func withLock<Value>(
        _ path: String,
        _ body: () throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        let file = try OpenFile(path, in: descriptor, O_RDWR | O_CREAT)
        while flock(file.descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw .last("lock \(path)") }
        }
        return try body()
    }
}
