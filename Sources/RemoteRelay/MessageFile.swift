import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// The message in a queue file: octets from an offset on. Opened by the name that queue-manager gave, beneath the
/// directory of the queue; read on the thread pool.
final class MessageFile: @unchecked Sendable {
    // Unchecked: the descriptor is only read from, by pread.
    private let descriptor: CInt
    let offset: Int
    let octets: Int

    /// One read. Octets.
    static let chunk = 64 * 1024

    private init(descriptor: CInt, offset: Int, octets: Int) {
        self.descriptor = descriptor
        self.offset = offset
        self.octets = octets
    }

    deinit { close(descriptor) }

    /// What a file could not be opened for.
    enum Fault: Error, Equatable {
        /// The name is not one that queue-manager gives.
        case badName
        case system(CInt)
    }

    /// Opens a queue file.
    ///
    /// - Parameter name: `XX/ID`, both of lower-case letters and digits.
    static func open(_ name: String, in directory: CInt, offset: Int, octets: Int) throws(Fault) -> MessageFile {
        let parts = name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isName = { (part: Substring.UTF8View) in
            !part.isEmpty && part.count <= 64
                && part.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) }
        }
        guard parts.count == 2, parts.allSatisfy(isName), offset >= 0, octets >= 0, octets <= Int.max - offset
        else { throw .badName }
        let descriptor = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw .system(errno) }
        return MessageFile(descriptor: descriptor, offset: offset, octets: octets)
    }

    /// Reads the chunk at a position within the message; nil at its end.
    ///
    /// - Throws: `Fault.system` when reading fails, or the file is shorter than the message.
    func chunk(at position: Int, pool: NIOThreadPool, loop: any EventLoop) async throws(Fault) -> ByteBuffer? {
        let count = min(Self.chunk, octets - position)
        guard count > 0 else { return nil }
        let result = try? await pool.runIfActive(eventLoop: loop) { self.read(count, at: position) }.get()
        return try (result ?? .failure(.system(ECANCELED))).get()
    }

    private func read(_ count: Int, at position: Int) -> Result<ByteBuffer, Fault> {
        var buffer = ByteBuffer()
        var failure: CInt = 0
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { space in
            var done = 0
            while done < count {
                let start = space.baseAddress.map { $0 + done }
                let got = pread(descriptor, start, count - done, off_t(offset + position + done))
                if got < 0, errno == EINTR { continue }
                guard got > 0 else {
                    failure = got < 0 ? errno : EIO
                    break
                }
                done += got
            }
            return done
        }
        return failure == 0 ? .success(buffer) : .failure(.system(failure))
    }
}
