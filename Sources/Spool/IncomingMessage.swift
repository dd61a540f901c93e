import Files
import NIOCore

/// A message that is too large for the journal: it's written to `incoming/` as it comes, and renamed into `queue/` once it
/// is whole and synced. Every method blocks; one at a time.
package final class IncomingMessage: @unchecked Sendable {
    // Unchecked: its user calls one method at a time.
    private var envelope: MessageEnvelope
    package var id: MessageID { envelope.id }
    private let files: SpoolFiles
    private let journal: Journal
    private let file: FileHandle
    private var head: ByteBuffer
    private let sizesStart: Int
    private let offset: Int
    private var checksum = Checksum()
    private var octets = 0
    private var isOver = false

    /// - Parameter journal: of the spool; after it has failed, nothing is promised.
    init(_ envelope: MessageEnvelope, files: SpoolFiles, journal: Journal) throws(SpoolError) {
        self.envelope = envelope
        self.files = files
        self.journal = journal
        head = envelope.head()
        sizesStart = head.readableBytes
        head.writeString(MessageEnvelope.endLines(added: 0, octets: 0, isQuarantined: false, route: nil))
        var start = head
        start.writeString(MessageEnvelope.checksumLine(checksum))
        offset = start.readableBytes
        file = try files.open(.incoming, envelope.id, [.writing, .creating, .exclusive])
        try write(start)
    }

    deinit { discard() }

    private func write(_ octets: ByteBuffer, at offset: Int? = nil) throws(SpoolError) {
        do throws(FileError) {
            try files.disk.write(octets, to: file, at: offset)
        } catch {
            discard()
            throw SpoolError(error)
        }
    }

    private func sync() throws(SpoolError) {
        do throws(FileError) { try files.disk.sync(file) } catch { throw SpoolError(error) }
    }

    /// Adds octets of the message.
    ///
    /// - Throws: `full`, `failed`; the message is gone then.
    package func append(_ chunk: ByteBuffer) throws(SpoolError) {
        guard !isOver else { throw .missing }
        try write(chunk)
        checksum.add(chunk)
        octets += chunk.readableBytes
    }

    /// Makes it a message in the queue; on stable storage, with its name, when this returns.
    ///
    /// - Parameters:
    ///   - added: the block that goes in front of it.
    ///   - isQuarantined: whether it belongs into its recipients' Junk.
    ///   - route: the name of its route, of `MessageEnvelope.routeLength` octets at most.
    /// - Returns: what the file says.
    package func finish(
        added: ByteBuffer,
        isQuarantined: Bool = false,
        route: String? = nil
    ) throws(SpoolError) -> QueueFileHead {
        guard !isOver else { throw .missing }
        try write(added)
        checksum.add(added)
        head.moveWriterIndex(to: sizesStart)
        envelope.isQuarantined = isQuarantined
        envelope.route = route
        let end = MessageEnvelope.endLines(
            added: added.readableBytes,
            octets: octets,
            isQuarantined: isQuarantined,
            route: route
        )
        head.writeString(end)
        checksum.add(head)
        head.writeString(MessageEnvelope.checksumLine(checksum))
        try write(head, at: 0)
        do throws(SpoolError) {
            try sync()
            // A sync of the whole file system that failed may have lost octets of this file too, and this one not know it.
            if journal.isBroken { throw .broken }
            try files.move(envelope.id, from: .incoming, to: .queue)
        } catch {
            files.removeQuietly(.queue, envelope.id)
            discard()
            throw error
        }
        isOver = true
        files.disk.close(file)
        return QueueFileHead(envelope, offset: offset, octets: octets, added: added.readableBytes)
    }

    /// Throws the message away.
    package func discard() {
        guard !isOver else { return }
        isOver = true
        files.removeQuietly(.incoming, envelope.id)
        files.disk.close(file)
    }
}
