import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// A zone's journal on disk: what is appended is on stable storage before it counts. What is here blocks; one call at a
/// time.
final class ZoneJournal: @unchecked Sendable {
    // Unchecked: belongs to the thread of its zone.
    private let file: StateFile
    private var descriptor: CInt = -1
    /// Octets that are whole frames on stable storage.
    private(set) var octets = 0
    /// Whether the directory's entry is on stable storage, so far as we know.
    private var isEntrySynced = false
    private let maximumOctets: Int

    /// What differences leave for notes of what the zone's file has. Octets.
    private static let reserve = 1 << 16

    /// - Parameter maximumOctets: the most that are read at start, and so the most that are written.
    init(directory: CInt, name: String, maximumOctets: Int = 1 << 30) {
        file = StateFile(directory: directory, name: name)
        self.maximumOctets = maximumOctets
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    var name: String { file.name }

    /// Whether there is a file of that name with anything in it.
    var exists: Bool {
        var status = stat()
        return fstatat(file.directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_size > 0
    }

    /// Reads the journal, and cuts off a frame that was never finished.
    ///
    /// - Returns: what it holds; nothing where there is none.
    func open() throws -> JournalFormat.Content {
        if descriptor >= 0 { close(descriptor) }
        descriptor = openat(file.directory, name, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw StateFileError("open \(name)") }
        let content = try JournalFormat.read(try readAll())
        if content.isTorn {
            guard ftruncate(descriptor, content.validOctets) == 0, fdatasync(descriptor) == 0 else {
                throw StateFileError("cut \(name)")
            }
        }
        octets = content.validOctets
        // Whoever made the entry may have been killed before it was synced.
        isEntrySynced = false
        return content
    }

    private func readAll() throws -> [UInt8] {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw StateFileError("look at \(name)") }
        guard status.st_size <= maximumOctets else { throw JournalFormat.Damage(description: "it is too large") }
        var content = [UInt8](repeating: 0, count: status.st_size)
        var done = 0
        while done < content.count {
            let count = content.withUnsafeMutableBytes { buffer in
                pread(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done, off_t(done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw StateFileError("read \(name)") }
            done += count
        }
        return content
    }

    /// Appends items; they are on stable storage afterwards.
    ///
    /// - Throws: the journal is then as before, or nothing can be appended any more until it has been opened again.
    func append(_ items: [JournalItem]) throws(StateFileError) {
        guard descriptor >= 0 else { throw StateFileError(reason: "\(name) has failed before") }
        let frame = JournalFormat.frame(items)
        let addition = octets == 0 ? JournalFormat.heading + frame : frame
        // What couldn't be read at the next start must not be promised.
        let room = maximumOctets - octets - (items.contains { $0.isDifference } ? Self.reserve : 0)
        guard frame.count <= JournalFormat.maximumFrame, addition.count <= room else {
            throw StateFileError(reason: "\(name) would get too large")
        }
        do throws(StateFileError) {
            try StateFile.write(addition, to: descriptor, name)
            guard fdatasync(descriptor) == 0 else { throw StateFileError("sync \(name)") }
            if !isEntrySynced, fsync(file.directory) != 0 { throw StateFileError("sync the directory of \(name)") }
            isEntrySynced = true
        } catch {
            // After a failed sync nobody knows what is on the disk: only what is read back counts.
            let isCut = ftruncate(descriptor, off_t(octets)) == 0 && fdatasync(descriptor) == 0
            if !isCut {
                close(descriptor)
                descriptor = -1
            }
            throw error
        }
        octets += addition.count
    }

    /// Puts a journal of these items into the place of this one.
    func replace(with items: [JournalItem]) throws(StateFileError) {
        let content = JournalFormat.heading + (items.isEmpty ? [] : JournalFormat.frame(items))
        var rest: [UInt8]? = content
        do throws(StateFileError) {
            try file.replace {
                defer { rest = nil }
                return rest
            }
        } catch {
            // It may be in place although its entry couldn't be synced. What is appended to the former one, which has no
            // name then, would be lost.
            isEntrySynced = false
            if !isNamed { try reopen(content.count) }
            throw error
        }
        try reopen(content.count)
        isEntrySynced = true
    }

    /// Whether the open file is the one that has the journal's name.
    private var isNamed: Bool {
        var (open, named) = (stat(), stat())
        guard descriptor >= 0, fstat(descriptor, &open) == 0,
            fstatat(file.directory, name, &named, AT_SYMLINK_NOFOLLOW) == 0
        else { return descriptor < 0 }
        return open.st_ino == named.st_ino && open.st_dev == named.st_dev
    }

    private func reopen(_ count: Int) throws(StateFileError) {
        let fresh = openat(file.directory, name, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC)
        if descriptor >= 0 { close(descriptor) }
        descriptor = fresh
        guard fresh >= 0 else { throw StateFileError("open \(name)") }
        octets = count
    }
}

extension JournalItem {
    fileprivate var isDifference: Bool {
        if case .difference = self { true } else { false }
    }
}
