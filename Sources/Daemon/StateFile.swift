#if canImport(Glibc)
import Glibc
#endif

/// A file that is read and replaced as a whole, so that a kill leaves either the old one
/// or the new one. What is here blocks.
package struct StateFile: Sendable {
    /// The open directory.
    package let directory: CInt
    package let name: String
    /// Of a new file, from before anything is in it.
    package var mode: UInt32 = 0o600
    /// The group that a new file belongs to; nil for the directory's or the caller's.
    package var group: UInt32?

    package init(directory: CInt, name: String) {
        self.directory = directory
        self.name = name
    }

    /// How much is collected before it's written. Octets.
    private static let chunk = 64 * 1024

    /// Puts pieces one after the other into the file's place.
    ///
    /// - Parameter pieces: gives the next piece; nil after the last one.
    /// - Throws: what the system says; the file is then as it was.
    package func replace(_ pieces: () -> [UInt8]?) throws(StateFileError) {
        let fresh = name + ".new"
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC
        let descriptor = openat(directory, fresh, flags, 0o600)
        guard descriptor >= 0 else { throw StateFileError("make \(fresh)") }
        do throws(StateFileError) {
            defer { close(descriptor) }
            if let group, fchown(descriptor, uid_t.max, group) != 0 { throw StateFileError("own \(fresh)") }
            if mode != 0o600, fchmod(descriptor, mode) != 0 { throw StateFileError("set the mode of \(fresh)") }
            var buffer: [UInt8] = []
            while let piece = pieces() {
                buffer += piece
                guard buffer.count >= Self.chunk else { continue }
                try Self.write(buffer, to: descriptor, fresh)
                buffer.removeAll(keepingCapacity: true)
            }
            try Self.write(buffer, to: descriptor, fresh)
            guard fsync(descriptor) == 0 else { throw StateFileError("sync \(fresh)") }
        } catch {
            unlinkat(directory, fresh, 0)
            throw error
        }
        guard renameat(directory, fresh, directory, name) == 0 else { throw StateFileError("rename \(fresh)") }
        guard fsync(directory) == 0 else { throw StateFileError("sync the directory of \(name)") }
    }

    /// Puts text into the file's place.
    package func replace(with text: String) throws(StateFileError) {
        var rest: [UInt8]? = Array(text.utf8)
        try replace {
            defer { rest = nil }
            return rest
        }
    }

    /// The file's octets; nil where it isn't there.
    ///
    /// - Throws: where it can't be read, or is larger than the maximum of octets.
    package func octets(maximum: Int) throws(StateFileError) -> [UInt8]? {
        let descriptor = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw StateFileError("open \(name)")
        }
        defer { close(descriptor) }
        guard let octets = WholeFile.octets(of: descriptor, maximum: maximum) else {
            throw StateFileError("read \(name)")
        }
        return octets
    }

    /// Writes all of the octets.
    package static func write(_ octets: [UInt8], to descriptor: CInt, _ name: String) throws(StateFileError) {
        var done = 0
        while done < octets.count {
            let count = octets.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw StateFileError("write \(name)") }
            done += count
        }
    }
}

/// Why a file can't be written: what the system said.
package struct StateFileError: Error, CustomStringConvertible {
    package let description: String

    package init(reason: String) { description = reason }

    package init(_ what: String) { description = "cannot \(what): \(String(cString: strerror(errno)))" }
}
