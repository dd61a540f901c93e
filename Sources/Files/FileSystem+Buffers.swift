import NIOCore

extension FileSystem {
    /// What is known of a name; a symbolic link is not followed.
    package func status(_ path: String, in directory: FileHandle?) throws(FileError) -> FileStatus {
        try status(path, in: directory, followingLinks: false)
    }

    /// Writes the readable octets of a buffer.
    package func write(_ octets: ByteBuffer, to file: FileHandle, at offset: Int? = nil) throws(FileError) {
        var failure: FileError?
        octets.withUnsafeReadableBytes { memory in
            do throws(FileError) { try write(memory, to: file, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Reads octets from an offset on: fewer than the maximum only at the file's end.
    package func read(_ maximum: Int, from file: FileHandle, at offset: Int) throws(FileError) -> ByteBuffer {
        var octets = ByteBuffer()
        var failure: FileError?
        octets.writeWithUnsafeMutableBytes(minimumWritableBytes: maximum) { memory in
            do throws(FileError) {
                return try read(
                    into: UnsafeMutableRawBufferPointer(rebasing: memory[..<maximum]),
                    from: file,
                    at: offset
                )
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        return octets
    }

    private static var pieceSize: Int { 64 * 1024 }

    /// All of a file that can't be large.
    ///
    /// - Throws: EFBIG where it has more octets than the maximum.
    package func contents(
        of path: String,
        in directory: FileHandle?,
        maximum: Int
    ) throws(FileError) -> ByteBuffer {
        let file = try open(path, in: directory, .reading, mode: 0)
        defer { close(file) }
        // Memory for what is there, not for what might be.
        var octets = ByteBuffer()
        while true {
            let piece = try read(Self.pieceSize, from: file, at: octets.readableBytes)
            if octets.readableBytes == 0 { octets = piece } else { octets.writeImmutableBuffer(piece) }
            guard octets.readableBytes <= maximum else { throw FileError("read \(path)", code: FileError.tooLarge) }
            if piece.readableBytes < Self.pieceSize { return octets }
        }
    }
}
