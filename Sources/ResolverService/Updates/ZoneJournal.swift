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

    /// The most octets that are read at start.
    private static let maximumOctets = 1 << 30

    init(directory: CInt, name: String) { file = StateFile(directory: directory, name: name) }

    deinit { if descriptor >= 0 { close(descriptor) } }

    var name: String { file.name }

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
        return content
    }

    private func readAll() throws -> [UInt8] {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw StateFileError("look at \(name)") }
        guard status.st_size <= Self.maximumOctets else { throw JournalFormat.Damage(description: "it is too large") }
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
        let isFresh = octets == 0
        let addition = (isFresh ? JournalFormat.heading : []) + JournalFormat.frame(items)
        do throws(StateFileError) {
            try StateFile.write(addition, to: descriptor, name)
            guard fdatasync(descriptor) == 0 else { throw StateFileError("sync \(name)") }
            if isFresh, fsync(file.directory) != 0 { throw StateFileError("sync the directory of \(name)") }
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
        try file.replace {
            defer { rest = nil }
            return rest
        }
        let fresh = openat(file.directory, name, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC)
        if descriptor >= 0 { close(descriptor) }
        descriptor = fresh
        guard fresh >= 0 else { throw StateFileError("open \(name)") }
        octets = content.count
    }
}

extension StateFileError {
    fileprivate init(reason: String) { description = reason }
}
