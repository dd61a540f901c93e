import Files

/// An open file or directory, closed with the last reference to it.
package final class OpenFile: Sendable {
    let disk: MailboxDisk
    let handle: FileHandle

    /// The descriptor, for `sendfile` and rights.
    package var descriptor: CInt { handle.descriptor }

    /// Opens a path relative to a directory, or to the working directory.
    init(
        _ path: String,
        in directory: FileHandle? = nil,
        _ options: OpenOptions,
        mode: UInt32 = 0o600,
        on disk: MailboxDisk = .kernel
    ) throws(MailboxError) {
        self.disk = disk
        handle = try mappingErrors { () throws(FileError) in
            try disk.files.open(path, in: directory, options, mode: mode)
        }
    }

    deinit { disk.files.close(handle) }

    /// Size, times and inode.
    func status() throws(MailboxError) -> FileStatus {
        try mappingErrors { () throws(FileError) in try disk.files.status(of: handle) }
    }

    /// Reads at an offset until the memory is full or the file ends; returns how many octets were read.
    package func read(into memory: UnsafeMutableRawBufferPointer, at offset: Int) throws(MailboxError) -> Int {
        try mappingErrors { () throws(FileError) in try disk.files.read(into: memory, from: handle, at: offset) }
    }

    /// Reads octets from an offset on: fewer than `count` only at the end of the file.
    func read(_ count: Int, at offset: Int) throws(MailboxError) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: count)
        var failure: MailboxError?
        let length = octets.withUnsafeMutableBytes { memory -> Int in
            do throws(MailboxError) { return try read(into: memory, at: offset) } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        octets.removeLast(count - length)
        return octets
    }

    /// Writes all octets.
    ///
    /// - Parameter offset: nil for the current position, or the end of a file opened for appending.
    func write(_ memory: UnsafeRawBufferPointer, at offset: Int? = nil) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try disk.files.write(memory, to: handle, at: offset) }
    }

    /// Writes all octets.
    func write(_ octets: [UInt8], at offset: Int? = nil) throws(MailboxError) {
        var failure: MailboxError?
        octets.withUnsafeBytes { memory in
            do throws(MailboxError) { try write(memory, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Waits until content and metadata are on stable storage; for a directory, its entries.
    func sync() throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try disk.files.sync(handle) }
    }

    /// Waits until the content is on stable storage.
    func syncData() throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try disk.files.syncData(handle) }
    }

    /// Truncates the file, or extends it with zeros.
    func truncate(to length: Int) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try disk.files.truncate(handle, to: length) }
    }

    /// Sets the modification time. Seconds since 1970.
    func setModified(_ seconds: Int) throws(MailboxError) {
        try mappingErrors { () throws(FileError) in try disk.files.setModified(handle, seconds: Int64(seconds)) }
    }
}

/// Runs file operations and maps their errors.
func mappingErrors<Value>(_ body: () throws(FileError) -> Value) throws(MailboxError) -> Value {
    do throws(FileError) { return try body() } catch { throw MailboxError(error) }
}
