import ArgumentParser

#if canImport(Glibc)
import Glibc
#endif

/// Reads files, or standard input where the path is `-`, and writes.
enum FileOctets {
    private static let piece = 256 * 1024

    /// Gives the file's octets piece by piece; none is kept.
    static func read(_ path: String, _ take: (UnsafeRawBufferPointer) throws -> Void) throws {
        let descriptor = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: piece)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
            if count == 0 { return }
            try buffer.withUnsafeBytes { try take(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
    }

    /// Writes all of the octets.
    ///
    /// - Parameter name: what is written to, for the message where that fails.
    static func write(_ octets: UnsafeRawBufferPointer, to descriptor: CInt, _ name: String) throws {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw ValidationError("\(name): \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    /// Writes a new file that only its owner can read; fails where there is a file of that name.
    static func create(_ path: String, _ octets: [UInt8]) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        try octets.withUnsafeBytes { try write($0, to: descriptor, path) }
    }

    /// All of the file's octets; fails beyond `most` of them.
    static func read(_ path: String, most: Int) throws -> [UInt8] {
        var octets: [UInt8] = []
        try read(path) { piece in
            octets += piece
            guard octets.count <= most else { throw ValidationError("\(path): more than \(most) octets") }
        }
        return octets
    }
}
