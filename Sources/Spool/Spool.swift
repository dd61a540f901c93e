import Files
import NIOConcurrencyHelpers
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// The mail queue on disk (docs/queue.md): what was committed to it is there after a crash, exactly as it was.
package final class Spool: Sendable {
    /// How a spool is laid out.
    package struct Options: Sendable {
        /// Of one journal file, of which there are two to six. Octets; less where the file system is small.
        package var journalSegment = 64 << 20
        /// Messages up to this size go through the journal. Octets.
        package var journaledMessage = 64 << 10
        /// What is left free on the file system. Octets; less where it is small.
        package var reserve = 64 << 20
        /// What messages without files may take of our memory. Octets.
        package var memory = 32 << 20

        /// The values for a usual machine.
        package init() {}
    }

    /// What the spool is made on: this machine, or what a test pretends.
    package struct Host: Sendable {
        package var disk: any FileSystem
        package var workers: any SpoolWorkers
        /// Microseconds since 1970.
        package var microseconds: @Sendable () -> UInt64
        /// Bits that never come again; they need not be secret.
        package var random: @Sendable () -> UInt64
        /// Told when a message's file could not be made, changed or removed; it's tried again.
        package var onLate: @Sendable (MessageID, SpoolError) -> Void = { _, _ in }

        package init(
            disk: any FileSystem,
            workers: any SpoolWorkers,
            microseconds: @escaping @Sendable () -> UInt64,
            random: @escaping @Sendable () -> UInt64
        ) {
            self.disk = disk
            self.workers = workers
            self.microseconds = microseconds
            self.random = random
        }
    }

    /// Messages up to this size go through the journal, and are held in memory until their end. Octets.
    package let journaledMessage: Int
    let files: SpoolFiles
    private let host: Host
    private let journal: Journal
    private let publisher: Publisher
    private let unfiled: UnfiledMessages
    private let reserve: Int
    /// What was free when it was last looked at, less what has been taken since.
    private let room = NIOLockedValueBox((free: 0, until: UInt64(0)))

    /// How long what the file system said of its room is believed. Microseconds.
    private static let roomLifetime: UInt64 = 250_000

    /// Opens the spool in a directory, and makes what is missing. What was in the journal is in its files when this
    /// returns, and what was never acknowledged is gone. Blocks.
    ///
    /// - Parameter onFailure: told when nothing can be promised any more; the process should end and start again.
    /// - Throws: `owned` where another process has it; `newer` where a later version of Martlet had it; `failed` and `corrupt` where it can't be known what is in the
    ///   journal: nothing in it was changed.
    package init(
        path: String,
        options: Options = Options(),
        host: Host,
        onFailure: @escaping @Sendable (SpoolError) -> Void
    ) throws(SpoolError) {
        self.host = host
        files = try SpoolFiles(path: path, disk: host.disk, owner: "process \(getpid())")
        do throws(SpoolError) {
            let total = try files.space().total
            reserve = min(options.reserve, total / 16)
            for id in try files.list(.incoming) { try files.remove(.incoming, id) }
            let size = min(options.journalSegment, max(2 << 20, total / 32))
            let found = try JournalRecovery.run(files, segmentSize: size)
            unfiled = UnfiledMessages(share: options.memory)
            publisher = Publisher(files: files, unfiled: unfiled, workers: host.workers, onFailure: host.onLate)
            journal = try Journal(
                found,
                publisher: publisher,
                workers: host.workers,
                random: host.random,
                onFailure: onFailure
            )
            journaledMessage = min(options.journaledMessage, journal.recordLimit / 2)
            // Its journal was read, and its other files are read as they are.
            do throws(SpoolError) { try files.bringForward() } catch .full {
                // Until the next start: nothing that is written now would be wrong with the old one.
            }
        } catch {
            files.close()
            throw error
        }
    }

    /// Returns when everything that was committed is in its files. Nothing may be committed afterwards.
    package func close() async {
        await journal.close()
        files.close()
    }

    /// A new name.
    package func makeID() -> MessageID { MessageID(time: host.microseconds(), random: host.random()) }

    /// Sees whether a message of that size may be taken: neither disk nor inodes run out with it.
    ///
    /// - Throws: `full`; `failed` where nobody knows.
    package func requireSpace(for octets: Int = 0) throws(SpoolError) {
        let now = host.microseconds()
        var free = room.withLockedValue { room in
            room.free -= octets
            return room.until > now && room.until - now <= Self.roomLifetime ? room.free : nil
        }
        // Near the end it's looked at each time.
        if free.map({ $0 / 2 <= reserve }) ?? true {
            let found = try files.space().free
            room.withLockedValue { $0 = (found - octets, now + Self.roomLifetime) }
            free = found - octets
        }
        guard let free, free > reserve else { throw .full }
    }

    // MARK: Committing

    /// Has operations done as one transaction.
    ///
    /// - Parameter durable: told once they survive a power failure, or that they never will.
    package func commit(_ operations: [SpoolOperation], durable: (@Sendable (SpoolError?) -> Void)? = nil) {
        journal.commit(SpoolTransaction(operations: operations, durable: durable))
    }

    /// Begins a message that is too large for the journal. Blocks, as its methods do.
    package func begin(_ envelope: MessageEnvelope) throws(SpoolError) -> IncomingMessage {
        try IncomingMessage(envelope, files: files, journal: journal)
    }

    /// Runs the closure where completions run, once everything that was committed before is as the operations say, in
    /// files or in memory.
    package func whenApplied(_ run: @escaping @Sendable () -> Void) {
        let host = host
        commit([]) { [publisher] _ in publisher.whenIdle { host.workers.callBack(run) } }
    }

    // MARK: Reading

    /// A message's file, where it has none on disk yet. Doesn't block.
    package func fileInMemory(_ id: MessageID) -> ByteBuffer? { unfiled.file(of: id) }

    /// The messages in `queue/` whose IDs have this shard, in no order. Blocks, as all that follows.
    package func messages(shard: Int) throws(SpoolError) -> [MessageID] { try files.list(.queue, shard: shard) }

    /// The messages in `hold/`, in no order.
    package func heldMessages() throws(SpoolError) -> [MessageID] { try files.list(.hold) }

    /// What happened to a message so far, oldest first.
    package func state(of id: MessageID) throws(SpoolError) -> [StateEntry] {
        if let lines = unfiled.lines(of: id) { return StateEntry.parse(lines) }
        return try files.readIfThere(.state, id).map { StateEntry.parse($0) } ?? []
    }

    /// A message as it was read.
    package struct Content: Sendable {
        package var head: QueueFileHead
        /// Whether its file is in `hold/`.
        package var isHeld: Bool
        /// What goes in front of the message.
        package var added: ByteBuffer
        /// The message, where it is no larger than was asked for.
        package var message: ByteBuffer?

        package init(head: QueueFileHead, isHeld: Bool, added: ByteBuffer, message: ByteBuffer?) {
            self.head = head
            self.isHeld = isHeld
            self.added = added
            self.message = message
        }
    }

    /// Reads a message's envelope with the recipients that it got since, the added block, and the message where it is small.
    ///
    /// - Parameters:
    ///   - isHeld: where it should be. A file that is not there is looked for in the other place.
    ///   - verified: whether the whole file is read to see that it is what was written.
    ///   - messageLimit: the largest message that is given out. Octets.
    /// - Throws: `missing`, `corrupt`, `failed`.
    package func content(
        of id: MessageID,
        isHeld: Bool = false,
        verified: Bool,
        messageLimit: Int = 0
    ) throws(SpoolError) -> Content {
        var content = try written(id, isHeld: isHeld, verified: verified, messageLimit: messageLimit)
        guard content.head.envelope.expandedFrom != nil else { return content }
        let known = content.head.envelope.recipients.count
        content.head.envelope.recipients += StateEntry.added(try state(of: id), after: known)
        return content
    }

    /// What the message came with.
    private func written(
        _ id: MessageID,
        isHeld: Bool,
        verified: Bool,
        messageLimit: Int
    ) throws(SpoolError) -> Content {
        if let file = unfiled.file(of: id) { return try Self.content(of: file, messageLimit: messageLimit) }
        let (handle, isHeld) = try open(id, isHeld: isHeld)
        defer { host.disk.close(handle) }
        let (head, start) = try files.head(of: id, handle)
        if verified { try files.verify(head, start: start, handle) }
        let added = try files.read(handle, at: head.offset + head.octets, count: head.added)
        guard added.readableBytes == head.added else { throw .corrupt("the added block is cut") }
        var content = Content(head: head, isHeld: isHeld, added: added, message: nil)
        if head.octets <= messageLimit {
            let message = try files.read(handle, at: head.offset, count: head.octets)
            guard message.readableBytes == head.octets else { throw .corrupt("the message is cut") }
            content.message = message
        }
        return content
    }

    /// The same of a file that is in memory.
    ///
    /// - Parameter head: what the file says, where that is known.
    package static func content(
        of file: ByteBuffer,
        head: QueueFileHead? = nil,
        messageLimit: Int
    ) throws(SpoolError) -> Content {
        var head = head
        if head == nil { head = try QueueFile.parseHead(file) }
        guard let head, let message = file.getSlice(at: file.readerIndex + head.offset, length: head.octets),
            let added = file.getSlice(at: file.readerIndex + head.offset + head.octets, length: head.added)
        else { throw .corrupt("the envelope has no end") }
        return Content(
            head: head,
            isHeld: false,
            added: added,
            message: head.octets <= messageLimit ? message : nil
        )
    }

    /// Opens a message's file where it should be, or where it is.
    private func open(_ id: MessageID, isHeld: Bool) throws(SpoolError) -> (FileHandle, isHeld: Bool) {
        // The third time for one that was moved between the first look and the second.
        for isElsewhere in [false, true, false] {
            let isHeld = isHeld != isElsewhere
            do throws(SpoolError) {
                return (try files.open(isHeld ? .hold : .queue, id, .reading), isHeld)
            } catch .missing {
                continue
            }
        }
        throw .missing
    }

    /// Octets of a message, from its first on; fewer than were asked for only at its end.
    ///
    /// - Throws: `missing`, `corrupt` where the file is shorter than the message, `failed`.
    package func piece(
        of id: MessageID,
        _ head: (offset: Int, octets: Int),
        at position: Int,
        maximum: Int,
        isHeld: Bool = false
    ) throws(SpoolError) -> ByteBuffer {
        let count = min(maximum, max(0, head.octets - position))
        if count <= 0 { return ByteBuffer() }
        if let file = unfiled.file(of: id) {
            guard let piece = file.getSlice(at: file.readerIndex + head.offset + position, length: count) else {
                throw .corrupt("the message is cut")
            }
            return piece
        }
        let (handle, _) = try open(id, isHeld: isHeld)
        defer { host.disk.close(handle) }
        let piece = try files.read(handle, at: head.offset + position, count: count)
        guard piece.readableBytes == count else { throw .corrupt("the message is cut") }
        return piece
    }

    /// What is written of mail that waits as it comes; nil where there never was any.
    package func pauses() throws(SpoolError) -> ByteBuffer? { try files.readPauses() }

    /// Replaces that; on stable storage when this returns.
    package func setPauses(_ content: ByteBuffer) throws(SpoolError) { try files.replacePauses(content) }

    // MARK: Moving

    /// Puts a message aside, or back; on stable storage when the completion is called, where completions run.
    package func setHeld(_ id: MessageID, _ isHeld: Bool, done: @escaping @Sendable (SpoolError?) -> Void) {
        move(id, to: isHeld ? .hold : .queue, done)
    }

    /// Puts a message away that is not what was written, for a person to look at.
    package func setCorrupt(_ id: MessageID, done: @escaping @Sendable (SpoolError?) -> Void) {
        move(id, to: .corrupt) { [self] error in
            if error == nil { commit([.done(id)]) }
            done(error)
        }
    }

    private func move(_ id: MessageID, to area: SpoolFiles.Area, _ done: @escaping @Sendable (SpoolError?) -> Void) {
        let workers = host.workers
        // Behind everything that is still to be done to its file.
        publisher.move(id, to: area) { error in workers.callBack { done(error) } }
    }

    /// Does work that blocks for somebody on an event loop.
    package func perform<Value: Sendable>(
        _ work: @escaping @Sendable (Spool) throws(SpoolError) -> Value,
        done: @escaping @Sendable (Result<Value, SpoolError>) -> Void
    ) {
        let workers = host.workers
        workers.run(.reader) { [self] in
            let result: Result<Value, SpoolError>
            do throws(SpoolError) { result = .success(try work(self)) } catch { result = .failure(error) }
            workers.callBack { done(result) }
        }
    }

    /// The same for straight-line code.
    package func perform<Value: Sendable>(
        _ work: @escaping @Sendable (Spool) throws(SpoolError) -> Value
    ) async throws(SpoolError) -> Value {
        let result: Result<Value, SpoolError> = await withCheckedContinuation { continuation in
            perform(work) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }
}
