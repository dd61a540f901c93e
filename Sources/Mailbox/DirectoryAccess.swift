import Files

/// An open directory, and operations on its entries.
package struct DirectoryAccess: Sendable {
    let file: OpenFile
    var disk: MailboxDisk { file.disk }
    private var files: any FileSystem { file.disk.files }
    private var handle: FileHandle { file.handle }

    /// Opens a directory.
    init(_ path: String, on disk: MailboxDisk = .kernel) throws(MailboxError) {
        file = try OpenFile(path, [.reading, .directory], on: disk)
    }

    /// Opens a directory beneath another one.
    init(_ path: String, in parent: DirectoryAccess) throws(MailboxError) {
        file = try parent.open(path, [.reading, .directory])
    }

    private init(_ file: OpenFile) { self.file = file }

    /// Opens a file or directory beneath this one, or makes a file.
    func open(_ path: String, _ options: OpenOptions, mode: UInt32 = 0o600) throws(MailboxError) -> OpenFile {
        try OpenFile(path, in: handle, options, mode: mode, on: disk)
    }

    /// Opens a regular file beneath this one, whatever else may have that name: a FIFO would have its reader wait for ever.
    ///
    /// - Throws: `corrupt` where it is anything else.
    func openRegular(_ path: String, _ options: OpenOptions) throws(MailboxError) -> OpenFile {
        let file = try open(path, options.union(.notWaiting))
        guard try file.status().kind == .file else { throw .corrupt("\(path) is no regular file") }
        return file
    }

    /// The names in a directory beneath this one, without `.` and `..`, as `FileName` writes them.
    func names(_ path: String = ".") throws(MailboxError) -> [String] {
        let names = try mappingErrors { () throws(FileError) in try files.names(path, in: handle) }
        return names.map { FileName.text($0) }
    }

    /// The names in a directory beneath this one as octets, without `.` and `..`.
    func visitNames(_ path: String, _ visit: (UnsafeRawBufferPointer) -> Void) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try files.visitNames(path, in: handle, visit) }
    }

    /// Size, times and inode of an entry; symbolic links are followed.
    func status(_ path: String) throws(MailboxError) -> FileStatus {
        try mappingErrors { () throws(FileError) in try files.status(path, in: handle, followingLinks: true) }
    }

    /// The same; nil if there is no such entry.
    func statusIfPresent(_ path: String) throws(MailboxError) -> FileStatus? {
        do throws(FileError) { return try files.status(path, in: handle, followingLinks: true) } catch {
            if error.isMissing { return nil }
            throw MailboxError(error)
        }
    }

    /// What is known of an entry itself: symbolic links are not followed.
    func statusOfEntry(_ path: String) throws(MailboxError) -> FileStatus {
        try mappingErrors { () throws(FileError) in try files.status(path, in: handle) }
    }

    /// Whether an entry is a directory itself, and no link to one.
    func isDirectory(_ path: String) throws(MailboxError) -> Bool {
        do throws(FileError) { return try files.status(path, in: handle).kind == .directory } catch {
            if error.isMissing { return false }
            throw MailboxError(error)
        }
    }

    func rename(_ from: String, to: String, in target: DirectoryAccess? = nil) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in
            try files.rename(from, in: handle, to: to, in: (target ?? self).handle)
        }
    }

    func link(_ from: String, to: String, in target: DirectoryAccess) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try files.link(from, in: handle, to: to, in: target.handle) }
    }

    func remove(_ path: String) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try files.remove(path, in: handle) }
    }

    /// Removes an entry; there need not be one.
    func removeIfPresent(_ path: String) throws(MailboxError) {
        do throws(MailboxError) { try remove(path) } catch {
            guard error == .notFound else { throw error }
        }
    }

    func makeDirectory(_ path: String) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try files.makeDirectory(path, in: handle, mode: 0o700) }
    }

    /// Creates a directory and its missing parents.
    func makeDirectories(_ path: String) throws(MailboxError) {
        var made = ""
        for part in path.split(separator: "/") {
            made += made.isEmpty ? "\(part)" : "/\(part)"
            do throws(FileError) { try files.makeDirectory(made, in: handle, mode: 0o700) } catch {
                guard error.isExisting else { throw MailboxError(error) }
            }
        }
    }

    /// Removes a directory and its contents. Links are removed, and nothing that they lead to.
    func removeTree(_ path: String) throws(MailboxError) {
        let tree = DirectoryAccess(try open(path, [.reading, .directory, .notFollowing]))
        var attempts = 0
        while true {
            for name in try tree.names() {
                if try tree.isDirectory(name) { try tree.removeTree(name) } else { try tree.remove(name) }
            }
            do throws(MailboxError) {
                return try mappingErrors { () throws(FileError) in try files.removeDirectory(path, in: handle) }
            } catch {
                // A delivery that had it open may have added a file.
                attempts += 1
                guard error == .exists, attempts < 10 else { throw error }
            }
        }
    }

    /// - Throws: `exists` where something is in it.
    func removeEmptyDirectory(_ path: String) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try files.removeDirectory(path, in: handle) }
    }

    /// Waits until the entries of a directory beneath this one are on stable storage.
    func sync(_ path: String) throws(MailboxError) { try open(path, [.reading, .directory]).sync() }

    /// Waits until its own entries are on stable storage.
    func sync() throws(MailboxError) { try file.sync() }

    /// Waits until all that was written to its file system is on stable storage.
    func syncAll() throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try files.syncAll(of: handle) }
    }

    /// The content of a small file; nil where there is none.
    ///
    /// - Throws: `corrupt` when it is larger than the maximum.
    func contents(_ path: String, maximum: Int) throws(MailboxError) -> [UInt8]? {
        let file: OpenFile
        do throws(MailboxError) {
            file = try openRegular(path, .reading)
        } catch {
            if error == .notFound { return nil }
            throw error
        }
        let size = try file.status().size
        guard size <= maximum else { throw .corrupt("\(path) is too large") }
        return try file.read(size, at: 0)
    }

    /// Replaces a file durably and atomically: after a crash it has the old content or the new.
    func replace(_ path: String, with octets: [UInt8]) throws(MailboxError) {
        let temporary = "\(path).\(disk.uniqueName()).new"
        do throws(MailboxError) {
            let file = try open(temporary, [.writing, .creating, .exclusive])
            try file.write(octets)
            try file.sync()
            try rename(temporary, to: path)
            try sync()
        } catch {
            try? remove(temporary)
            throw error
        }
    }

    /// Runs the body while holding an exclusive lock (flock) on the lock file, which is never removed.
    func withLock<Value>(
        _ path: String,
        _ body: () throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        let file = try open(path, [.reading, .writing, .creating])
        try mappingErrors { () throws(FileError) in try files.waitForLock(file.handle) }
        return try body()
    }
}
