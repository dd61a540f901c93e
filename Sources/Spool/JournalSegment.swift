import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// One file of the journal: written from its begin to its end, over and over again. Its blocks are allocated and
/// written once, so that a sync later has nothing but the records to write.
struct JournalSegment: Sendable {
    /// The first block: what the rest of the file is.
    struct Header: Equatable {
        /// Counts up with each use of any segment; 0 for a segment that was never used.
        var generation: UInt64
        /// Generations before this one are not needed any more.
        var oldest: UInt64
    }

    /// Octets before the first record.
    static let start = 4096
    private static let magic: StaticString = "martlet journal 1\n"

    let descriptor: CInt
    /// Octets of the whole file.
    let size: Int

    /// Makes a segment in a directory, or opens the one of that name.
    static func make(_ name: String, in directory: CInt, size: Int) throws(SpoolError) -> JournalSegment {
        let descriptor = openat(directory, name, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .last("open journal/\(name)") }
        let segment = JournalSegment(descriptor: descriptor, size: size)
        do throws(SpoolError) {
            try segment.allocate()
            guard fsync(directory) == 0 else { throw SpoolError.last("fsync journal") }
        } catch {
            close(descriptor)
            unlinkat(directory, name, 0)
            throw error
        }
        return segment
    }

    private func allocate() throws(SpoolError) {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw .last("stat journal") }
        if Int(info.st_size) == size { return }
        guard ftruncate(descriptor, 0) == 0 else { throw .last("truncate journal") }
        let failure = posix_fallocate(descriptor, 0, off_t(size))
        guard failure == 0 || failure == EOPNOTSUPP || failure == EINVAL else {
            throw failure == ENOSPC || failure == EFBIG ? .full : .failed("allocate journal", code: failure)
        }
        let zeros = ByteBuffer(repeating: 0, count: 1 << 20)
        var offset = 0
        while offset < size {
            let count = min(zeros.readableBytes, size - offset)
            try SpoolFiles.write(zeros.getSlice(at: 0, length: count) ?? zeros, to: descriptor, at: offset)
            offset += count
        }
        guard fsync(descriptor) == 0 else { throw .last("fsync journal") }
    }

    /// Starts a new use of the segment. What it held before is gone once this returns: nothing of it can be taken for
    /// current, whatever part of the new content reaches the disk.
    func begin(_ header: Header) throws(SpoolError) {
        var block = ByteBuffer()
        block.writeStaticString(Self.magic)
        block.writeInteger(header.generation)
        block.writeInteger(header.oldest)
        var checksum = Checksum()
        checksum.add(block)
        block.writeInteger(checksum.value)
        try SpoolFiles.write(block, to: descriptor, at: 0)
        try sync()
    }

    /// nil where the segment was never used or its header is torn.
    func header() throws(SpoolError) -> Header? {
        var block = try SpoolFiles.read(descriptor, at: 0, maximum: Self.start)
        let covered = block.getSlice(at: 0, length: Self.magic.utf8CodeUnitCount + 16)
        guard let covered, let magic = block.readString(length: Self.magic.utf8CodeUnitCount),
            let (generation, oldest, sum) = block.readMultipleIntegers(as: (UInt64, UInt64, UInt32).self)
        else { return nil }
        var checksum = Checksum()
        checksum.add(covered)
        guard magic == "\(Self.magic)", checksum.value == sum else { return nil }
        return Header(generation: generation, oldest: oldest)
    }

    func sync() throws(SpoolError) {
        guard fdatasync(descriptor) == 0 else { throw .last("fdatasync journal") }
    }

    /// Gives every operation of a generation to the closure, up to the first record that is torn.
    func replay(generation: UInt64, _ apply: (SpoolOperation) throws(SpoolError) -> Void) throws(SpoolError) {
        var offset = Self.start
        var window = ByteBuffer()
        // A record is taken once it's whole in the window; none is larger than a segment.
        while true {
            while let operations = JournalRecord.next(from: &window, generation: generation) {
                for operation in operations { try apply(operation) }
            }
            let length = window.getInteger(at: window.readerIndex, as: UInt32.self).map { Int($0) } ?? 0
            let missing = max(JournalRecord.header + length - window.readableBytes, 0)
            // A record that is whole, or longer than a segment, and was not taken: the journal ends here.
            if length > size || (missing == 0 && window.readableBytes >= JournalRecord.header) { return }
            let maximum = min(max(1 << 20, missing), max(0, size - offset))
            let more = try SpoolFiles.read(descriptor, at: offset, maximum: maximum)
            if more.readableBytes == 0 { return }
            offset += more.readableBytes
            window.discardReadBytes()
            window.writeImmutableBuffer(more)
        }
    }
}
