import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// The mail queue on disk (docs/queue.md): what was committed to it is there after a crash, exactly as it was.
package final class Spool: Sendable {
    /// Runs a closure where the spool's user wants to hear of things, such as on its event loop.
    package typealias CallBack = @Sendable (@escaping @Sendable () -> Void) -> Void

    /// How a spool is laid out.
    package struct Options: Sendable {
        /// Of one journal file, of which there are two to six. Octets; less where the file system is small.
        package var journalSegment = 64 << 20
        /// Messages up to this size go through the journal. Octets.
        package var journaledMessage = 64 << 10
        /// What is left free on the file system. Octets; less where it is small.
        package var reserve = 64 << 20

        /// The values for a usual machine.
        package init() {}
    }

    /// Messages up to this size go through the journal, and are held in memory until their end. Octets.
    package let journaledMessage: Int
    let files: SpoolFiles
    /// Held for as long as the spool is open: two processes that write one journal lose mail.
    private let lock: CInt
    private let journal: Journal
    private let reserve: Int
    /// For what must not block an event loop.
    package let pool = NIOThreadPool(numberOfThreads: 4)

    /// Opens the spool in a directory, and makes what is missing. What was in the journal is in its files when this
    /// returns, and what was never acknowledged is gone. Blocks.
    ///
    /// Queue files must be readable for deliverers, so the process's umask must not forbid that.
    ///
    /// - Parameters:
    ///   - callBack: where completions run.
    ///   - onFailure: told when nothing can be promised any more; the process should end and start again.
    package init(
        path: String,
        options: Options = Options(),
        callBack: @escaping CallBack,
        onFailure: @escaping @Sendable (SpoolError) -> Void
    ) throws(SpoolError) {
        let files = try SpoolFiles(path: path)
        self.files = files
        do throws(SpoolError) {
            lock = try files.lock()
        } catch {
            files.close()
            throw error
        }
        do throws(SpoolError) {
            let total = files.space().total
            reserve = min(options.reserve, total / 16)
            for id in try files.list(.incoming) { files.remove(.incoming, id) }
            let size = max(2 << 20, min(options.journalSegment, total / 32))
            let found = try JournalRecovery.run(files, segmentSize: size)
            journal = try Journal(
                directory: found.directory,
                segments: found.segments,
                generation: found.generation,
                files: files,
                callBack: callBack,
                onFailure: onFailure
            )
        } catch {
            Glibc.close(lock)
            files.close()
            throw error
        }
        journaledMessage = min(options.journaledMessage, journal.recordLimit / 2)
        pool.start()
    }

    /// Returns when everything that was committed is in its files. Nothing may be committed afterwards.
    package func close() async {
        await journal.close()
        Glibc.close(lock)
        files.close()
    }

    /// A new name.
    package func makeID() -> MessageID {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let microseconds = UInt64(clamping: now.tv_sec) &* 1_000_000 &+ UInt64(clamping: now.tv_nsec / 1000)
        return MessageID(time: microseconds, random: .random(in: 0 ... .max))
    }

    /// Whether a message of that size may be taken: neither disk nor inodes run out with it.
    package func hasSpace(for octets: Int = 0) -> Bool { files.space().free / 2 > reserve / 2 + octets }

    // MARK: Committing

    /// Makes operations happen together or not at all.
    ///
    /// - Parameters:
    ///   - durable: told once they survive a power failure, or that they never will.
    ///   - applied: told once the files are there: then a new message can be given to a deliverer.
    package func commit(
        _ operations: [SpoolOperation],
        durable: (@Sendable (SpoolError?) -> Void)? = nil,
        applied: (@Sendable () -> Void)? = nil
    ) {
        journal.commit(SpoolTransaction(operations: operations, durable: durable, applied: applied))
    }

    /// Makes operations happen together or not at all; returns once they survive a power failure.
    package func commitDurably(_ operations: [SpoolOperation]) async throws(SpoolError) {
        let error: SpoolError? = await withCheckedContinuation { continuation in
            commit(operations, durable: { continuation.resume(returning: $0) })
        }
        if let error { throw error }
    }

    /// Begins a message that is too large for the journal. Blocks, as its methods do.
    package func begin(_ envelope: MessageEnvelope) throws(SpoolError) -> IncomingMessage {
        try IncomingMessage(envelope, files: files)
    }

    // MARK: Reading. All of this blocks.

    /// The messages in `queue/` whose IDs have this shard, in no order.
    package func messages(shard: Int) throws(SpoolError) -> [MessageID] { try files.list(.queue, shard: shard) }

    /// The messages in `hold/`, in no order.
    package func heldMessages() throws(SpoolError) -> [MessageID] { try files.list(.hold) }

    /// What happened to a message so far, oldest first.
    package func state(of id: MessageID) throws(SpoolError) -> [StateEntry] {
        try files.readIfThere(.state, id).map { StateEntry.parse($0) } ?? []
    }

    /// Reads a message's envelope.
    ///
    /// - Parameter verified: whether the whole file is read to see that it is what was written.
    /// - Throws: `missing`, `corrupt`, `failed`.
    package func head(of id: MessageID, isHeld: Bool = false, verified: Bool) throws(SpoolError) -> QueueFileHead {
        let descriptor = try files.open(isHeld ? .hold : .queue, id, O_RDONLY)
        defer { Glibc.close(descriptor) }
        var start = ByteBuffer()
        var maximum = 8192
        while true {
            let more = try SpoolFiles.read(descriptor, at: start.readableBytes, maximum: maximum)
            if more.readableBytes == 0 { throw .corrupt("the envelope has no end") }
            start.writeImmutableBuffer(more)
            if let head = try QueueFile.parseHead(start) {
                guard head.envelope.id == id else { throw .corrupt("another message's envelope") }
                if verified { try verify(head, start: start, descriptor) }
                return head
            }
            guard start.readableBytes < 16 << 20 else { throw .corrupt("the envelope has no end") }
            maximum = 1 << 18
        }
    }

    private func verify(_ head: QueueFileHead, start: ByteBuffer, _ descriptor: CInt) throws(SpoolError) {
        var checksum = Checksum()
        var left = head.octets
        while left > 0 {
            let chunk = try SpoolFiles.read(
                descriptor,
                at: head.offset + head.octets - left,
                maximum: min(left, 1 << 16)
            )
            if chunk.readableBytes == 0 { throw .corrupt("\(left) octets are missing") }
            checksum.add(chunk)
            left -= chunk.readableBytes
        }
        if let covered = start.getSlice(at: start.readerIndex, length: head.coveredHead) { checksum.add(covered) }
        guard checksum.value == head.checksum else { throw .corrupt("the checksum is wrong") }
    }

    /// The first octets of a message, such as for its header.
    package func read(_ id: MessageID, at offset: Int, maximum: Int, isHeld: Bool = false) throws(SpoolError)
        -> ByteBuffer
    {
        let descriptor = try files.open(isHeld ? .hold : .queue, id, O_RDONLY)
        defer { Glibc.close(descriptor) }
        return try SpoolFiles.read(descriptor, at: offset, maximum: maximum)
    }

    // MARK: Moving. All of this blocks.

    /// Puts a message aside, or back; on stable storage when this returns.
    package func setHeld(_ id: MessageID, _ isHeld: Bool) throws(SpoolError) {
        try files.move(id, from: isHeld ? .queue : .hold, to: isHeld ? .hold : .queue)
    }

    /// Puts a message away that is not what was written, for a person to look at.
    package func setCorrupt(_ id: MessageID, isHeld: Bool = false) throws(SpoolError) {
        try files.move(id, from: isHeld ? .hold : .queue, to: .corrupt)
        commit([.done(id)])
    }
}
