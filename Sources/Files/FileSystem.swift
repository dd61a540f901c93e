/// What the spool and the mailboxes do to files: the kernel's calls (`KernelFileSystem`), or a simulated disk in tests.
///
/// Paths are relative to an open directory, or to the working directory where there is none; names that are no UTF-8 are
/// written as `FileName` has them. Every call may block:
/// never on an event loop. A call that was interrupted by a signal is made again.
package protocol FileSystem: Sendable {
    /// Opens a file or a directory, or makes a file.
    func open(
        _ path: String,
        in directory: FileHandle?,
        _ options: OpenOptions,
        mode: UInt32
    ) throws(FileError) -> FileHandle

    /// Closes a handle.
    func close(_ file: FileHandle)

    /// Reads into the memory at an offset; returns fewer octets than fit only at the file's end.
    func read(
        into memory: UnsafeMutableRawBufferPointer,
        from file: FileHandle,
        at offset: Int
    ) throws(FileError) -> Int

    /// Writes all octets.
    ///
    /// - Parameter offset: nil for the handle's own position, or the file's end where it was opened for appending.
    func write(_ octets: UnsafeRawBufferPointer, to file: FileHandle, at offset: Int?) throws(FileError)

    /// Cuts a file, or makes it longer with zeros.
    func truncate(_ file: FileHandle, to octets: Int) throws(FileError)

    /// Reserves blocks for a file's first octets, where the file system can do that.
    func allocate(_ file: FileHandle, octets: Int) throws(FileError)

    /// Waits until a file's content (or a directory's entries) and metadata are on stable storage.
    func sync(_ file: FileHandle) throws(FileError)

    /// Waits until a file's content is on stable storage, with no more metadata than reading it back needs.
    func syncData(_ file: FileHandle) throws(FileError)

    /// Waits until all that was written to the file system is on stable storage (`syncfs`).
    func syncAll(of file: FileHandle) throws(FileError)

    func makeDirectory(_ path: String, in directory: FileHandle?, mode: UInt32) throws(FileError)

    /// Renames a file, in place of what had that name.
    func rename(
        _ path: String,
        in directory: FileHandle?,
        to newPath: String,
        in newDirectory: FileHandle?
    ) throws(FileError)

    /// Gives a file one more name.
    ///
    /// - Throws: `exists` where something has that name.
    func link(
        _ path: String,
        in directory: FileHandle?,
        to newPath: String,
        in newDirectory: FileHandle?
    ) throws(FileError)

    /// Removes a file's name.
    func remove(_ path: String, in directory: FileHandle?) throws(FileError)

    /// Removes an empty directory.
    func removeDirectory(_ path: String, in directory: FileHandle?) throws(FileError)

    /// The names in a directory, in no order, without `.` and `..`. All of them, or an error.
    func names(_ path: String, in directory: FileHandle?) throws(FileError) -> [[UInt8]]

    /// The same, one after the other and without an array for each. What was visited before an error counts for nothing.
    func visitNames(
        _ path: String,
        in directory: FileHandle?,
        _ visit: (UnsafeRawBufferPointer) -> Void
    ) throws(FileError)

    /// What is known of a name: of what a symbolic link leads to, or of the link itself.
    func status(_ path: String, in directory: FileHandle?, followingLinks: Bool) throws(FileError) -> FileStatus

    func status(of file: FileHandle) throws(FileError) -> FileStatus

    /// Sets when a file was last changed. Seconds since 1970.
    func setModified(_ file: FileHandle, seconds: Int64) throws(FileError)

    /// Takes an exclusive lock on an open file for as long as it is open; false where somebody else holds it.
    func lock(_ file: FileHandle) throws(FileError) -> Bool

    /// The same lock, as soon as nobody else holds it.
    func waitForLock(_ file: FileHandle) throws(FileError)

    /// Takes the lock on all of a file that other programs know as `fcntl`'s or `lockf`'s, against threads of this process
    /// too; false where somebody else holds it.
    func lockRecords(_ file: FileHandle) throws(FileError) -> Bool

    /// Gives up what `lockRecords` took.
    func unlockRecords(_ file: FileHandle)

    /// What the file system has left.
    func space(of file: FileHandle) throws(FileError) -> FileSpace
}

/// An open file or directory of a `FileSystem`.
package struct FileHandle: Sendable, Hashable {
    /// The descriptor, or the simulated disk's number for it.
    package let descriptor: CInt

    package init(_ descriptor: CInt) { self.descriptor = descriptor }
}

/// How a file is opened.
package struct OpenOptions: OptionSet, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let reading = OpenOptions(rawValue: 1)
    package static let writing = OpenOptions(rawValue: 2)
    /// Each write goes to the file's end.
    package static let appending = OpenOptions(rawValue: 4)
    package static let creating = OpenOptions(rawValue: 8)
    /// With `creating`: it's an error when there is such a file.
    package static let exclusive = OpenOptions(rawValue: 16)
    /// Throws away what is in the file.
    package static let truncating = OpenOptions(rawValue: 32)
    package static let directory = OpenOptions(rawValue: 64)
    /// A symbolic link is an error.
    package static let notFollowing = OpenOptions(rawValue: 128)
    /// Doesn't wait for whoever has the other end of a FIFO.
    package static let notWaiting = OpenOptions(rawValue: 256)
}

/// What a file system says of a file.
package struct FileStatus: Sendable, Equatable {
    package enum Kind: Sendable {
        case file
        case directory
        case other
    }

    package var kind: Kind
    /// Octets.
    package var size: Int
    /// When it was last changed: seconds since 1970, and nanoseconds.
    package var modified: Int64
    package var modifiedNanoseconds: Int64
    /// When its content or anything else about it was last changed, names included; nobody can set this. Seconds since 1970.
    package var changed: Int64
    /// With the device, what tells this file from all others that are there.
    package var inode: UInt64
    package var device: UInt64
    package var links: Int
    /// Who may do what: the lower nine bits of the mode.
    package var permissions: UInt32

    package init(
        kind: Kind,
        size: Int,
        modified: Int64,
        modifiedNanoseconds: Int64 = 0,
        changed: Int64,
        inode: UInt64,
        links: Int = 1,
        device: UInt64 = 0,
        permissions: UInt32 = 0o600
    ) {
        self.kind = kind
        self.size = size
        self.modified = modified
        self.modifiedNanoseconds = modifiedNanoseconds
        self.changed = changed
        self.inode = inode
        self.links = links
        self.device = device
        self.permissions = permissions
    }
}

/// What a file system has left for us.
package struct FileSpace: Sendable, Equatable {
    /// Octets.
    package var free: Int
    /// Octets of the whole file system.
    package var total: Int
    /// Files that may still be made; nil where that is not limited.
    package var freeFiles: Int?

    package init(free: Int, total: Int, freeFiles: Int?) {
        self.free = free
        self.total = total
        self.freeFiles = freeFiles
    }
}
