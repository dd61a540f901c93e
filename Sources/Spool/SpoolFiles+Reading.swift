import Files
import NIOCore

/// Reading messages' files, and putting files where they belong.
extension SpoolFiles {
    func read(_ file: FileHandle, at offset: Int, count: Int) throws(SpoolError) -> ByteBuffer {
        do throws(FileError) { return try disk.read(count, from: file, at: offset) } catch {
            throw SpoolError(error)
        }
    }

    /// The envelope of a message's file, and the octets that it was read from.
    func head(of id: MessageID, _ file: FileHandle) throws(SpoolError) -> (QueueFileHead, start: ByteBuffer) {
        var start = ByteBuffer()
        var maximum = 8192
        while true {
            let more = try read(file, at: start.readableBytes, count: maximum)
            if more.readableBytes == 0 { throw .corrupt("the envelope has no end") }
            start.writeImmutableBuffer(more)
            if let head = try QueueFile.parseHead(start) {
                guard head.envelope.id == id else { throw .corrupt("another message's envelope") }
                return (head, start)
            }
            guard start.readableBytes < 16 << 20 else { throw .corrupt("the envelope has no end") }
            maximum = 1 << 18
        }
    }

    /// Sees whether a message's file is what was written.
    ///
    /// - Parameter start: what its head was read from.
    /// - Throws: `corrupt` where it isn't.
    func verify(_ head: QueueFileHead, start: ByteBuffer, _ file: FileHandle) throws(SpoolError) {
        var checksum = Checksum()
        let (whole, overflow) = head.octets.addingReportingOverflow(head.added)
        guard !overflow else { throw .corrupt("the sizes are wrong") }
        var left = whole
        while left > 0 {
            let chunk = try read(file, at: head.offset + whole - left, count: min(left, 1 << 18))
            if chunk.readableBytes == 0 { throw .corrupt("\(left) octets are missing") }
            checksum.add(chunk)
            left -= chunk.readableBytes
        }
        if let covered = start.getSlice(at: start.readerIndex, length: head.coveredHead) { checksum.add(covered) }
        guard checksum.value == head.checksum else { throw .corrupt("the checksum is wrong") }
    }
}
