import CLinux

#if canImport(Glibc)
import Glibc
#endif

/// The files of this machine, by plain system calls.
package struct KernelFileSystem: FileSystem {
    package init() {}

    /// Runs a call with a path as the kernel knows it.
    private func with<Value>(_ path: String, _ body: (UnsafePointer<CChar>) -> Value) -> Value {
        guard var octets = FileName.octets(of: path) else { return path.withCString(body) }
        octets.append(0)
        return octets.withUnsafeBufferPointer { memory in
            memory.withMemoryRebound(to: CChar.self) { memory in
                // It has a NUL at least.
                memory.baseAddress.map(body) ?? path.withCString(body)
            }
        }
    }

    private func number(_ directory: FileHandle?) -> CInt { directory?.descriptor ?? AT_FDCWD }

    package func open(
        _ path: String,
        in directory: FileHandle?,
        _ options: OpenOptions,
        mode: UInt32
    ) throws(FileError) -> FileHandle {
        while true {
            let descriptor = with(path) { openat(number(directory), $0, options.flags | O_CLOEXEC, mode) }
            if descriptor >= 0 { return FileHandle(descriptor) }
            guard errno == EINTR else { throw .last("open \(path)") }
        }
    }

    package func close(_ file: FileHandle) { _ = Glibc.close(file.descriptor) }

    package func read(
        into memory: UnsafeMutableRawBufferPointer,
        from file: FileHandle,
        at offset: Int
    ) throws(FileError) -> Int {
        guard let base = memory.baseAddress else { return 0 }
        var count = 0
        while count < memory.count {
            let step = pread(file.descriptor, base + count, memory.count - count, off_t(offset + count))
            if step < 0, errno == EINTR { continue }
            guard step >= 0 else { throw .last("read") }
            if step == 0 { break }
            count += step
        }
        return count
    }

    package func write(_ octets: UnsafeRawBufferPointer, to file: FileHandle, at offset: Int?) throws(FileError) {
        guard let base = octets.baseAddress else { return }
        var written = 0
        while written < octets.count {
            let (start, left) = (base + written, octets.count - written)
            let step =
                if let offset { pwrite(file.descriptor, start, left, off_t(offset + written)) } else {
                    Glibc.write(file.descriptor, start, left)
                }
            if step < 0, errno == EINTR { continue }
            guard step > 0 else { throw .last("write") }
            written += step
        }
    }

    package func truncate(_ file: FileHandle, to octets: Int) throws(FileError) {
        guard ftruncate(file.descriptor, off_t(octets)) == 0 else { throw .last("truncate") }
    }

    package func allocate(_ file: FileHandle, octets: Int) throws(FileError) {
        let failure = posix_fallocate(file.descriptor, 0, off_t(octets))
        guard failure == 0 || failure == EOPNOTSUPP || failure == EINVAL else {
            throw FileError("allocate", code: failure)
        }
    }

    package func sync(_ file: FileHandle) throws(FileError) {
        guard fsync(file.descriptor) == 0 else { throw .last("fsync") }
    }

    package func syncData(_ file: FileHandle) throws(FileError) {
        guard fdatasync(file.descriptor) == 0 else { throw .last("fdatasync") }
    }

    package func syncAll(of file: FileHandle) throws(FileError) {
        guard CLinux_syncfs(file.descriptor) == 0 else { throw .last("syncfs") }
    }

    package func makeDirectory(_ path: String, in directory: FileHandle?, mode: UInt32) throws(FileError) {
        guard with(path, { mkdirat(number(directory), $0, mode) }) == 0 else { throw .last("make directory \(path)") }
    }

    package func rename(
        _ path: String,
        in directory: FileHandle?,
        to newPath: String,
        in newDirectory: FileHandle?
    ) throws(FileError) {
        let result = with(path) { old in
            with(newPath) { new in renameat(number(directory), old, number(newDirectory), new) }
        }
        guard result == 0 else {
            throw .last("rename \(path) to \(newPath)")
        }
    }

    package func link(
        _ path: String,
        in directory: FileHandle?,
        to newPath: String,
        in newDirectory: FileHandle?
    ) throws(FileError) {
        let result = with(path) { old in
            with(newPath) { new in linkat(number(directory), old, number(newDirectory), new, 0) }
        }
        guard result == 0 else {
            throw .last("link \(path) to \(newPath)")
        }
    }

    package func remove(_ path: String, in directory: FileHandle?) throws(FileError) {
        guard with(path, { unlinkat(number(directory), $0, 0) }) == 0 else { throw .last("remove \(path)") }
    }

    package func removeDirectory(_ path: String, in directory: FileHandle?) throws(FileError) {
        guard with(path, { unlinkat(number(directory), $0, AT_REMOVEDIR) }) == 0 else {
            throw .last("remove directory \(path)")
        }
    }

    package func names(_ path: String, in directory: FileHandle?) throws(FileError) -> [[UInt8]] {
        var names: [[UInt8]] = []
        try visitNames(path, in: directory) { names.append(Array($0)) }
        return names
    }

    package func visitNames(
        _ path: String,
        in directory: FileHandle?,
        _ visit: (UnsafeRawBufferPointer) -> Void
    ) throws(FileError) {
        let own = try open(path, in: directory, [.reading, .directory], mode: 0)
        guard let stream = fdopendir(own.descriptor) else {
            let error = FileError.last("list \(path)")
            close(own)
            throw error
        }
        defer { closedir(stream) }
        while true {
            // The end and an error look alike but for errno.
            errno = 0
            guard let entry = readdir(stream) else { break }
            withUnsafeBytes(of: &entry.pointee.d_name) { memory in
                guard let base = memory.baseAddress else { return }
                let name = UnsafeRawBufferPointer(start: base, count: strnlen(base, memory.count))
                let isDots = name.first == 0x2e && (name.count == 1 || name.count == 2 && name[1] == 0x2e)
                if !isDots { visit(name) }
            }
        }
        guard errno == 0 else { throw .last("list \(path)") }
    }

    package func status(
        _ path: String,
        in directory: FileHandle?,
        followingLinks: Bool
    ) throws(FileError) -> FileStatus {
        var status = stat()
        let flags = followingLinks ? 0 : AT_SYMLINK_NOFOLLOW
        guard with(path, { fstatat(number(directory), $0, &status, flags) }) == 0 else { throw .last("stat \(path)") }
        return FileStatus(status)
    }

    package func status(of file: FileHandle) throws(FileError) -> FileStatus {
        var status = stat()
        guard fstat(file.descriptor, &status) == 0 else { throw .last("stat") }
        return FileStatus(status)
    }

    package func setModified(_ file: FileHandle, seconds: Int64) throws(FileError) {
        let moment = timespec(tv_sec: Int(seconds), tv_nsec: 0)
        var times = [moment, moment]
        guard futimens(file.descriptor, &times) == 0 else { throw .last("set the time") }
    }

    package func lock(_ file: FileHandle) throws(FileError) -> Bool {
        if flock(file.descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
        guard errno == EWOULDBLOCK else { throw .last("lock") }
        return false
    }

    package func waitForLock(_ file: FileHandle) throws(FileError) {
        while flock(file.descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw .last("lock") }
        }
    }

    /// F_OFD_SETLK, which Swift doesn't import.
    private static let setLock: CInt = 37

    private func setRecordLock(_ file: FileHandle, _ type: CInt) -> CInt {
        var lock = Glibc.flock()
        lock.l_type = Int16(type)
        lock.l_whence = Int16(SEEK_SET)
        return fcntl(file.descriptor, Self.setLock, &lock)
    }

    package func lockRecords(_ file: FileHandle) throws(FileError) -> Bool {
        while setRecordLock(file, F_WRLCK) != 0 {
            if errno == EAGAIN || errno == EACCES { return false }
            guard errno == EINTR else { throw .last("lock") }
        }
        return true
    }

    package func unlockRecords(_ file: FileHandle) { _ = setRecordLock(file, F_UNLCK) }

    package func space(of file: FileHandle) throws(FileError) -> FileSpace {
        var info = statvfs()
        guard fstatvfs(file.descriptor, &info) == 0 else { throw .last("statvfs") }
        let unit = Int(clamping: info.f_frsize)
        let free = Int(clamping: info.f_bavail).multipliedReportingOverflow(by: unit)
        let total = Int(clamping: info.f_blocks).multipliedReportingOverflow(by: unit)
        return FileSpace(
            free: free.overflow ? .max : free.partialValue,
            total: total.overflow ? .max : total.partialValue,
            freeFiles: info.f_files > 0 ? Int(clamping: info.f_favail) : nil
        )
    }
}

extension OpenOptions {
    fileprivate var flags: CInt {
        var flags: CInt
        switch (contains(.reading), contains(.writing)) {
        case (true, true): flags = O_RDWR
        case (false, true): flags = O_WRONLY
        case (_, false): flags = O_RDONLY
        }
        if contains(.appending) { flags |= O_APPEND }
        if contains(.creating) { flags |= O_CREAT }
        if contains(.exclusive) { flags |= O_EXCL }
        if contains(.truncating) { flags |= O_TRUNC }
        if contains(.directory) { flags |= O_DIRECTORY }
        if contains(.notFollowing) { flags |= O_NOFOLLOW }
        if contains(.notWaiting) { flags |= O_NONBLOCK }
        return flags
    }
}

extension FileStatus {
    fileprivate init(_ status: stat) {
        let kind: Kind
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .file
        case S_IFDIR: kind = .directory
        default: kind = .other
        }
        self.init(
            kind: kind,
            size: Int(status.st_size),
            modified: Int64(status.st_mtim.tv_sec),
            modifiedNanoseconds: Int64(status.st_mtim.tv_nsec),
            changed: Int64(status.st_ctim.tv_sec),
            inode: UInt64(status.st_ino),
            links: Int(clamping: status.st_nlink),
            device: UInt64(status.st_dev),
            permissions: UInt32(status.st_mode) & 0o777
        )
    }
}
