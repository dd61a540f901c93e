import Files
import NIOCore

/// One file of the journal: written from its beginning to its end, over and over again. Its blocks are allocated and
/// written once, so that a sync later has nothing but the records to write.
package struct JournalSegment: Sendable {
    /// The first block: what the rest of the file is.
    package struct Header: Equatable, Sendable {
        /// Counts up with each use of any segment; 0 for a segment that was never used.
        var generation: UInt64
        /// Generations before this one are not needed any more.
        var oldest: UInt64
        /// Part of every record's checksum: who sends mail can't write something that looks like a record.
        var salt: UInt64 = 0
        var format = JournalRecord.Format.current

        package init(
            generation: UInt64,
            oldest: UInt64,
            salt: UInt64 = 0,
            format: JournalRecord.Format = .current
        ) {
            self.generation = generation
            self.oldest = oldest
            self.salt = salt
            self.format = format
        }
    }

    /// Octets before the first record.
    static let start = 4096
    private static let magicLength = 18

    let disk: any FileSystem
    let file: FileHandle
    /// Octets of the whole file.
    let size: Int

    /// Makes a segment in a directory, or opens the one of that name. What it holds must not be needed.
    static func make(
        _ name: String,
        in directory: FileHandle,
        size: Int,
        disk: any FileSystem
    ) throws(SpoolError) -> JournalSegment {
        do throws(FileError) {
            let file = try disk.open(name, in: directory, [.reading, .writing, .creating], mode: 0o600)
            let segment = JournalSegment(disk: disk, file: file, size: size)
            var isNew = false
            do throws(FileError) {
                let before = try disk.status(of: file).size
                isNew = before == 0
                if before != size { try segment.allocate() }
                try disk.sync(directory)
            } catch {
                disk.close(file)
                if isNew { try? disk.remove(name, in: directory) }
                throw error
            }
            return segment
        } catch {
            throw SpoolError(error)
        }
    }

    private func allocate() throws(FileError) {
        try disk.truncate(file, to: 0)
        try disk.allocate(file, octets: size)
        let zeros = ByteBuffer(repeating: 0, count: min(size, 1 << 20))
        var offset = 0
        while offset < size {
            let count = min(zeros.readableBytes, size - offset)
            try disk.write(zeros.getSlice(at: 0, length: count) ?? zeros, to: file, at: offset)
            offset += count
        }
        try disk.sync(file)
    }

    /// Starts a new use of the segment. What it held before is gone once this returns: nothing of it can be taken for
    /// current, whatever part of the new content reaches the disk.
    func begin(_ header: Header) throws(SpoolError) {
        var block = ByteBuffer()
        block.writeString(Self.magic(header.format))
        block.writeInteger(header.generation)
        block.writeInteger(header.oldest)
        if header.format != .first { block.writeInteger(header.salt) }
        var checksum = Checksum()
        checksum.add(block)
        block.writeInteger(checksum.value)
        try write(block, at: 0)
        try sync()
    }

    private static func magic(_ format: JournalRecord.Format) -> String { "martlet journal \(format.rawValue)\n" }

    /// nil where the segment was never used or its header is torn.
    func header() throws(SpoolError) -> Header? {
        var block: ByteBuffer
        do throws(FileError) {
            block = try disk.read(Self.start, from: file, at: 0)
        } catch {
            throw SpoolError(error)
        }
        let whole = block
        guard let magic = block.readString(length: Self.magicLength),
            let format = JournalRecord.Format.allCases.first(where: { Self.magic($0) == magic }),
            let (generation, oldest) = block.readMultipleIntegers(as: (UInt64, UInt64).self),
            let salt = format == .first ? 0 : block.readInteger(as: UInt64.self),
            let covered = whole.getSlice(at: whole.readerIndex, length: block.readerIndex - whole.readerIndex),
            let sum = block.readInteger(as: UInt32.self)
        else { return nil }
        var checksum = Checksum()
        checksum.add(covered)
        guard checksum.value == sum else { return nil }
        return Header(generation: generation, oldest: oldest, salt: salt, format: format)
    }

    func write(_ octets: ByteBuffer, at offset: Int) throws(SpoolError) {
        do throws(FileError) { try disk.write(octets, to: file, at: offset) } catch { throw SpoolError(error) }
    }

    func sync() throws(SpoolError) {
        do throws(FileError) { try disk.syncData(file) } catch { throw SpoolError(error) }
    }

    func close() { disk.close(file) }
}
