import CLinux
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// The files and directories of a spool by plain system calls. Every call may block: never on an event loop.
struct SpoolFiles: Sendable {
    /// A directory below `spool/` that holds messages, or what is known about them.
    enum Area: String, CaseIterable {
        case incoming, queue, state, hold, corrupt

        /// Whether its messages are spread over directories of two characters.
        var isSpread: Bool { self == .queue || self == .state }

        /// The deliverers may open what they were given the name of in `queue/`, but list nothing.
        var mode: mode_t { self == .queue ? 0o711 : 0o700 }
    }

    /// `spool/` itself.
    let root: CInt
    private let areas: [CInt]

    /// Opens a spool, and makes what is missing of it. The process's umask must let others read queue files.
    init(path: String) throws(SpoolError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw .last("mkdir \(path)") }
        let root = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard root >= 0 else { throw .last("open \(path)") }
        self.root = root
        var areas: [CInt] = []
        for area in Area.allCases {
            if mkdirat(root, area.rawValue, area.mode) != 0, errno != EEXIST {
                throw .last("mkdir \(path)/\(area.rawValue)")
            }
            let descriptor = openat(root, area.rawValue, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard descriptor >= 0 else { throw .last("open \(path)/\(area.rawValue)") }
            areas.append(descriptor)
        }
        self.areas = areas
    }

    /// Makes the spool ours for as long as the descriptor is open.
    ///
    /// - Throws: `owned` where another process has it.
    func lock() throws(SpoolError) -> CInt {
        let descriptor = openat(root, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .last("open lock") }
        do throws(SpoolError) {
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                guard errno == EWOULDBLOCK else { throw .last("lock the spool") }
                let owner = try Self.read(descriptor, at: 0, maximum: 100)
                throw .owned(String(buffer: owner).split(separator: "\n").first.map { String($0) } ?? "another process")
            }
            guard ftruncate(descriptor, 0) == 0 else { throw .last("write lock") }
            try Self.write(ByteBuffer(string: "process \(getpid())\n"), to: descriptor, at: 0)
            return descriptor
        } catch {
            Glibc.close(descriptor)
            throw error
        }
    }

    func close() {
        for descriptor in areas + [root] { Glibc.close(descriptor) }
    }

    private func descriptor(_ area: Area) -> CInt {
        switch area {
        case .incoming: areas[0]
        case .queue: areas[1]
        case .state: areas[2]
        case .hold: areas[3]
        case .corrupt: areas[4]
        }
    }

    private func name(_ area: Area, _ id: MessageID) -> String { area.isSpread ? id.path : id.description }

    /// Opens a message's file; makes its directory where that is what's missing.
    func open(_ area: Area, _ id: MessageID, _ flags: CInt) throws(SpoolError) -> CInt {
        let name = name(area, id)
        var descriptor = openat(self.descriptor(area), name, flags | O_CLOEXEC, 0o644)
        if descriptor < 0, errno == ENOENT, flags & O_CREAT != 0, area.isSpread {
            try makeDirectory(area, shard: id.shard)
            descriptor = openat(self.descriptor(area), name, flags | O_CLOEXEC, 0o644)
        }
        guard descriptor >= 0 else { throw .last("open \(area.rawValue)/\(name)") }
        return descriptor
    }

    private func makeDirectory(_ area: Area, shard: Int) throws(SpoolError) {
        let name = MessageID.directory(shard)
        if mkdirat(descriptor(area), name, area.mode) != 0, errno != EEXIST {
            throw .last("mkdir \(area.rawValue)/\(name)")
        }
    }

    /// Makes a file with this content, or nothing.
    func create(_ area: Area, _ id: MessageID, _ content: ByteBuffer) throws(SpoolError) {
        let descriptor = try open(area, id, O_WRONLY | O_CREAT | O_TRUNC)
        defer { Glibc.close(descriptor) }
        do throws(SpoolError) {
            try Self.write(content, to: descriptor)
        } catch {
            remove(area, id)
            throw error
        }
    }

    /// Appends lines that end in LF; nothing of them stays if not all could be written.
    func append(_ area: Area, _ id: MessageID, _ lines: ByteBuffer) throws(SpoolError) {
        let descriptor = try open(area, id, O_RDWR | O_CREAT | O_APPEND)
        defer { Glibc.close(descriptor) }
        let before = lseek(descriptor, 0, SEEK_END)
        do throws(SpoolError) {
            // What a torn append left behind must not run into the first line; its checksum makes it be passed over.
            if before > 0, try Self.read(descriptor, at: Int(before) - 1, maximum: 1).readableBytesView.first != 10 {
                try Self.write(ByteBuffer(string: "\n"), to: descriptor)
            }
            try Self.write(lines, to: descriptor)
        } catch {
            ftruncate(descriptor, before)
            throw error
        }
    }

    /// The whole of a small file.
    func readIfThere(_ area: Area, _ id: MessageID) throws(SpoolError) -> ByteBuffer? {
        let descriptor: CInt
        do throws(SpoolError) {
            descriptor = try open(area, id, O_RDONLY)
        } catch .missing {
            return nil
        }
        defer { Glibc.close(descriptor) }
        var content = ByteBuffer()
        while true {
            let chunk = try Self.read(descriptor, at: content.readableBytes, maximum: 65536)
            if chunk.readableBytes == 0 { return content }
            content.writeImmutableBuffer(chunk)
        }
    }

    /// Removes a file; that it isn't there is fine.
    func remove(_ area: Area, _ id: MessageID) {
        unlinkat(descriptor(area), name(area, id), 0)
    }

    func exists(_ area: Area, _ id: MessageID) throws(SpoolError) -> Bool {
        if faccessat(descriptor(area), name(area, id), F_OK, 0) == 0 { return true }
        guard errno == ENOENT else { throw .last("look for \(area.rawValue)/\(name(area, id))") }
        return false
    }

    /// Renames a message's file into another area, and waits until that is on stable storage.
    func move(_ id: MessageID, from: Area, to: Area) throws(SpoolError) {
        if to.isSpread { try makeDirectory(to, shard: id.shard) }
        guard renameat(descriptor(from), name(from, id), descriptor(to), name(to, id)) == 0 else {
            throw .last("rename \(id) to \(to.rawValue)")
        }
        try syncDirectory(to, of: id)
        try syncDirectory(from, of: id)
    }

    /// Waits until the directory of a message, and that directory's own entry, are on stable storage.
    func syncDirectory(_ area: Area, of id: MessageID) throws(SpoolError) {
        guard fsync(descriptor(area)) == 0 else { throw .last("fsync \(area.rawValue)") }
        guard area.isSpread else { return }
        let name = MessageID.directory(id.shard)
        let directory = openat(descriptor(area), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .last("open \(area.rawValue)/\(name)") }
        defer { Glibc.close(directory) }
        guard fsync(directory) == 0 else { throw .last("fsync \(area.rawValue)/\(name)") }
    }

    /// Waits until everything that was written to the file system is on stable storage.
    func syncAll() throws(SpoolError) {
        guard CLinux_syncfs(root) == 0 else { throw .last("syncfs") }
    }

    /// The IDs in one directory; files of other names are passed over. All of them, or an error.
    func list(_ area: Area, shard: Int = 0) throws(SpoolError) -> [MessageID] {
        let path = area.isSpread ? MessageID.directory(shard) : "."
        let directory = openat(descriptor(area), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else {
            // Directories are made when they are needed.
            if errno == ENOENT, area.isSpread { return [] }
            throw .last("open \(area.rawValue)/\(path)")
        }
        guard let stream = fdopendir(directory) else {
            let error = SpoolError.last("list \(area.rawValue)/\(path)")
            Glibc.close(directory)
            throw error
        }
        defer { closedir(stream) }
        var ids: [MessageID] = []
        while true {
            // The end and an error look alike but for errno.
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if let id = MessageID(name) { ids.append(id) }
        }
        guard errno == 0 else { throw .last("list \(area.rawValue)/\(path)") }
        return ids
    }

    /// Octets that the file system has left for us, and all that it has.
    func space() -> (free: Int, total: Int) {
        var info = statvfs()
        guard fstatvfs(root, &info) == 0 else { return (.max, .max) }
        let unit = Int(clamping: info.f_frsize)
        let free = Int(clamping: info.f_bavail).multipliedReportingOverflow(by: unit)
        let total = Int(clamping: info.f_blocks).multipliedReportingOverflow(by: unit)
        // Inodes run out as well as octets.
        let isOut = info.f_files > 0 && info.f_favail < 64
        return (isOut ? 0 : free.overflow ? .max : free.partialValue, total.overflow ? .max : total.partialValue)
    }

    // MARK: Descriptors

    static func write(_ content: ByteBuffer, to descriptor: CInt) throws(SpoolError) {
        var written = 0
        while written < content.readableBytes {
            let count = content.withUnsafeReadableBytes { octets in
                Glibc.write(descriptor, octets.baseAddress.map { $0 + written }, octets.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .last("write") }
            written += count
        }
    }

    static func write(_ content: ByteBuffer, to descriptor: CInt, at offset: Int) throws(SpoolError) {
        var written = 0
        while written < content.readableBytes {
            let count = content.withUnsafeReadableBytes { octets in
                pwrite(
                    descriptor,
                    octets.baseAddress.map { $0 + written },
                    octets.count - written,
                    off_t(offset + written)
                )
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .last("pwrite") }
            written += count
        }
    }

    /// Fewer octets than the maximum, down to none, only at the end of the file: an error is not an end.
    static func read(_ descriptor: CInt, at offset: Int, maximum: Int) throws(SpoolError) -> ByteBuffer {
        var chunk = ByteBuffer()
        while chunk.readableBytes < maximum {
            let left = maximum - chunk.readableBytes
            let position = offset + chunk.readableBytes
            var failure: CInt = 0
            let count = chunk.writeWithUnsafeMutableBytes(minimumWritableBytes: left) { space in
                let count = pread(descriptor, space.baseAddress, left, off_t(position))
                if count < 0 { failure = errno }
                return max(count, 0)
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw .failed("read", code: failure) }
            if count == 0 { break }
        }
        return chunk
    }
}
