import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// A table that a command edits: under a lock, written anew beside the old file and renamed over it, durable when the call
/// returns. What the edit doesn't touch stays octet by octet, comments among it; owner and mode too.
package struct TableFile {
    package let path: String
    /// The owner, group and mode of a file that is made here; nil where a missing file is an error.
    private let model: String?

    private static let maximumOctets = 256 << 20

    /// - Parameter model: a file whose owner, group and mode a missing table gets.
    package init(_ path: String, likeMissing model: String? = nil) {
        self.path = path
        self.model = model
    }

    /// Why a file could not be read or written.
    package struct Fault: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// The file's octets; none where it isn't there and may be missing.
    package func read() throws(Fault) -> [UInt8] {
        guard let octets = WholeFile.octets(path, maximum: Self.maximumOctets) else {
            if errno == ENOENT, model != nil { return [] }
            throw fault("read")
        }
        return octets
    }

    /// Changes the file's lines, which come without their ends. Nobody else edits it meanwhile.
    package func edit<Failure: Error>(
        failing wrap: (Fault) -> Failure,
        _ change: (inout [[UInt8]], [UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        let lock = open("\(path).lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw wrap(fault("lock")) }
        defer { close(lock) }
        guard flock(lock, LOCK_EX) == 0 else { throw wrap(fault("lock")) }
        let octets: [UInt8]
        do throws(Fault) { octets = try read() } catch { throw wrap(error) }
        // Octets, not text: comments may be in any encoding.
        var lines = octets.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Array.init)
        if lines.last?.isEmpty == true { lines.removeLast() }
        try change(&lines, octets)
        do throws(Fault) { try replace(Self.joined(lines)) } catch { throw wrap(error) }
    }

    /// A line as text, without the CR that may stand at its end.
    static func text(of line: [UInt8]) -> String {
        String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line[...], as: UTF8.self)
    }

    /// The file that lines make.
    package static func joined(_ lines: [[UInt8]]) -> [UInt8] {
        Array(lines.map { $0 + [UInt8(ascii: "\n")] }.joined())
    }

    /// Writes the file as a whole.
    package func replace(_ octets: [UInt8]) throws(Fault) {
        var status = stat()
        guard stat(path, &status) == 0 || model.map({ stat($0, &status) == 0 }) ?? false else { throw fault("stat") }
        let fresh = "\(path).new"
        unlink(fresh)
        let descriptor = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw fault("write") }
        defer { close(descriptor) }
        guard fchown(descriptor, status.st_uid, status.st_gid) == 0, fchmod(descriptor, status.st_mode & 0o7777) == 0,
            write(octets, to: descriptor), fsync(descriptor) == 0, rename(fresh, path) == 0
        else {
            let fault = fault("write")
            unlink(fresh)
            throw fault
        }
        try syncDirectory()
    }

    /// Appends to the file, and makes it where it's missing. Not synced.
    func append(_ octets: [UInt8]) throws(Fault) {
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw fault("open") }
        defer { close(descriptor) }
        guard write(octets, to: descriptor) else { throw fault("write") }
    }

    private func syncDirectory() throws(Fault) {
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw fault("sync") }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw fault("sync") }
    }

    private func fault(_ what: String) -> Fault {
        Fault(description: "cannot \(what) \(path): \(String(cString: strerror(errno)))")
    }

    private func write(_ octets: [UInt8], to descriptor: CInt) -> Bool {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
