#if canImport(Glibc)
import Glibc
#endif

/// A descriptor that is closed when nobody refers to it any more.
package final class OpenFile: Sendable {
    package let descriptor: CInt

    /// Takes over a descriptor.
    package init(adopting descriptor: CInt) { self.descriptor = descriptor }

    /// Opens a path relative to a directory. `O_CLOEXEC` is added.
    package init(
        _ path: String,
        in directory: CInt = AT_FDCWD,
        _ flags: CInt,
        mode: mode_t = 0o600
    ) throws(MailboxError) {
        var descriptor: CInt
        repeat {
            descriptor = openat(directory, path, flags | O_CLOEXEC, mode)
        } while descriptor < 0 && errno == EINTR
        guard descriptor >= 0 else { throw .last("open \(path)") }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Size, times and inode.
    package func status() throws(MailboxError) -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .last("fstat") }
        return status
    }

    /// Reads at an offset until the memory is full or the file ends; returns how many octets were read.
    package func read(into memory: UnsafeMutableRawBufferPointer, at offset: Int) throws(MailboxError) -> Int {
        guard let base = memory.baseAddress else { return 0 }
        var count = 0
        while count < memory.count {
            let step = pread(descriptor, base + count, memory.count - count, off_t(offset + count))
            if step < 0 {
                if errno == EINTR { continue }
                throw .last("read")
            }
            if step == 0 { break }
            count += step
        }
        return count
    }

    /// Reads octets from an offset on: fewer than `count` only at the end of the file.
    package func read(_ count: Int, at offset: Int) throws(MailboxError) -> [UInt8] {
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

    /// Writes all octets at the descriptor's position (its end for `O_APPEND`).
    package func write(_ memory: UnsafeRawBufferPointer) throws(MailboxError) {
        var rest = memory
        while let base = rest.baseAddress, rest.count > 0 {
            let step = Glibc.write(descriptor, base, rest.count)
            if step < 0 {
                if errno == EINTR { continue }
                throw .last("write")
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[step...])
        }
    }

    /// Writes all octets at the descriptor's position.
    package func write(_ octets: [UInt8]) throws(MailboxError) {
        var failure: MailboxError?
        octets.withUnsafeBytes { memory in
            do throws(MailboxError) { try write(memory) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Waits until content and metadata are on stable storage.
    package func sync() throws(MailboxError) {
        guard fsync(descriptor) == 0 else { throw .last("fsync") }
    }

    /// Waits until the content is on stable storage.
    package func syncData() throws(MailboxError) {
        guard fdatasync(descriptor) == 0 else { throw .last("fdatasync") }
    }

    /// Cuts the file (or makes it longer).
    package func truncate(to length: Int) throws(MailboxError) {
        guard ftruncate(descriptor, off_t(length)) == 0 else { throw .last("truncate") }
    }
}
