import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// A message that is too large for the journal: it's written to `incoming/` as it comes, and renamed into `queue/` once
/// it is whole and synced. Every method blocks; one at a time.
package final class IncomingMessage: @unchecked Sendable {
    // Unchecked: its user calls one method at a time.
    private let envelope: MessageEnvelope
    private let files: SpoolFiles
    private let descriptor: CInt
    private var head: ByteBuffer
    private let octetsLine: Int
    private let offset: Int
    private var checksum = Checksum()
    private var octets = 0
    private var isOver = false

    init(_ envelope: MessageEnvelope, files: SpoolFiles) throws(SpoolError) {
        self.envelope = envelope
        self.files = files
        head = envelope.head()
        octetsLine = head.readableBytes
        head.writeString(MessageEnvelope.octetsLine(0))
        var start = head
        start.writeString(MessageEnvelope.checksumLine(checksum))
        offset = start.readableBytes
        descriptor = try files.open(.incoming, envelope.id, O_WRONLY | O_CREAT | O_EXCL)
        do throws(SpoolError) {
            try SpoolFiles.write(start, to: descriptor)
        } catch {
            discard()
            throw error
        }
    }

    deinit { discard() }

    /// Adds octets of the message.
    ///
    /// - Throws: `full`, `failed`; the message is gone then.
    package func append(_ chunk: ByteBuffer) throws(SpoolError) {
        guard !isOver else { throw .missing }
        do throws(SpoolError) {
            try SpoolFiles.write(chunk, to: descriptor)
        } catch {
            discard()
            throw error
        }
        checksum.add(chunk)
        octets += chunk.readableBytes
    }

    /// Makes it a message in the queue; on stable storage, with its name, when this returns.
    ///
    /// - Returns: where the message begins in its file, and its size. Octets.
    package func finish() throws(SpoolError) -> (offset: Int, octets: Int) {
        guard !isOver else { throw .missing }
        do throws(SpoolError) {
            head.moveWriterIndex(to: octetsLine)
            head.writeString(MessageEnvelope.octetsLine(octets))
            checksum.add(head)
            head.writeString(MessageEnvelope.checksumLine(checksum))
            try SpoolFiles.write(head, to: descriptor, at: 0)
            guard fsync(descriptor) == 0 else { throw SpoolError.last("fsync incoming/\(envelope.id)") }
            try files.move(envelope.id, from: .incoming, to: .queue)
        } catch {
            files.remove(.queue, envelope.id)
            discard()
            throw error
        }
        isOver = true
        close(descriptor)
        return (offset, octets)
    }

    /// Throws the message away.
    package func discard() {
        guard !isOver else { return }
        isOver = true
        files.remove(.incoming, envelope.id)
        close(descriptor)
    }
}
