import Algorithms
import IMAP
import Logging
import MIME
import MailIndex
import Mailbox
import MailboxProcess
import NIOConcurrencyHelpers
import NIOCore
import Network
import OrderedCollections

/// Puts the texts of messages into the accounts' indexes while nobody waits for it: one folder after the other, a few messages at
/// a time in the account's own line, and no more than half of the time.
final class TextIndexer: Sendable {
    /// A folder whose messages are to be searched at once.
    struct Job: Sendable {
        /// The account's mailbox.
        let location: MailboxLocation
        let store: any MailStore
        let folder: FolderName
        let index: MessageIndex
        /// Only messages above this UID; 0 for all, when the index is also rid of what is gone.
        var after: UInt32

        fileprivate struct Key: Hashable {
            let mailbox: String
            let folder: FolderName
        }

        fileprivate var key: Key { Key(mailbox: location.path, folder: folder) }
    }

    private struct State {
        /// In the order in which they came.
        var waiting: OrderedDictionary<Job.Key, Job> = [:]
        var isRunning = false
        var isClosed = false
    }

    private let pool: BlockingPool
    private let loop: any EventLoop
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    /// Folders that wait; whoever comes then is looked at the next time that somebody selects it.
    private static let maximumWaiting = 1000
    /// The shortest pause after each step.
    private static let pause = TimeAmount.milliseconds(5)

    init(pool: BlockingPool, loop: any EventLoop, logger: Logger) {
        self.pool = pool
        self.loop = loop
        self.logger = logger
    }

    /// Has a folder looked through soon.
    func add(_ job: Job) {
        let starts = state.withLockedValue { state in
            if let known = state.waiting[job.key] {
                state.waiting[job.key]?.after = min(known.after, job.after)
                return false
            }
            guard !state.isClosed, state.waiting.count < Self.maximumWaiting else { return false }
            state.waiting[job.key] = job
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard starts else { return }
        Task(executorPreference: LoopExecutor.of(loop)) { await self.run() }
    }

    /// Ends the work after the step that goes on.
    func close() {
        state.withLockedValue { state in
            state.isClosed = true
            state.waiting = [:]
        }
    }

    private func run() async {
        while let job = next() {
            let line = pool.line(job.location.path)
            let run = TextIndexRun(job)
            var isOver = false
            while !isOver, !state.withLockedValue(\.isClosed) {
                let start = NIODeadline.now()
                do throws(MailboxError) {
                    isOver = try await line.runWhenFree(on: loop) { () throws(MailboxError) in try run.advance() }
                } catch {
                    logger.debug(
                        "texts not indexed",
                        metadata: ["mailbox": "\(job.location.path)", "reason": "\(error)"]
                    )
                    isOver = true
                }
                await loop.pause(max(Self.pause, NIODeadline.now() - start))
            }
        }
    }

    private func next() -> Job? {
        state.withLockedValue { state in
            guard !state.waiting.isEmpty else {
                state.isRunning = false
                return nil
            }
            return state.waiting.removeFirst().value
        }
    }
}

/// Goes through a folder, the latest messages first, and keeps the texts that the index hasn't. Every call may block on the disk.
private final class TextIndexRun: @unchecked Sendable {
    // Unchecked: one call at a time is under way.
    private let job: TextIndexer.Job
    private var folder: (any MailFolder)?
    private var index: FolderIndex?
    /// UIDs of messages without a text there, ascending.
    private var missing: [UInt32] = []
    private var current: (message: ScannedMessage, texts: TextCollection?, uid: UInt32)?
    private var texts: [FolderIndex.Text] = []
    private var collected = 0

    /// What one step reads. Octets.
    private static let turn = 128 * 1024
    /// Texts that are kept at once: the index is locked meanwhile.
    private static let batch = 16
    private static let maximumCollected = 128 * 1024

    init(_ job: TextIndexer.Job) { self.job = job }

    /// Goes on for a turn; true at the end.
    func advance() throws(MailboxError) -> Bool {
        guard let folder, let index else { return try begin() }
        var budget = Self.turn
        while budget > 0 {
            guard var current = self.current ?? next(in: folder) else {
                keep(in: index)
                return true
            }
            self.current = nil
            do throws(MailboxError) {
                guard try collect(&current, &budget) else {
                    self.current = current
                    return false
                }
                add(current, of: folder)
            } catch {
                if error == .busy {
                    self.current = current
                    throw error
                }
                // It's gone, or this one can't be read: the others can.
            }
            if texts.count >= Self.batch || collected >= Self.maximumCollected {
                keep(in: index)
                return false
            }
        }
        return false
    }

    private func begin() throws(MailboxError) -> Bool {
        let folder = try job.store.open(job.folder, readOnly: true)
        guard let index = job.index.folder(job.folder.description, validity: folder.uidValidity) else { return true }
        if job.after == 0 {
            try tidy(index, folder)
            let known = Dictionary(index.textStates().map { ($0.message.uid, $0.message.identity) }) { first, _ in first
            }
            missing = folder.messages.map(\.uid).filter { known[$0] == nil || known[$0] != folder.identity(of: $0) }
        } else {
            let after = job.after
            let messages = folder.messages
            missing = messages[messages.partitioningIndex { $0.uid > after }...].map(\.uid)
        }
        self.folder = folder
        self.index = index
        return missing.isEmpty
    }

    /// Rids the index of what is gone.
    private func tidy(_ index: FolderIndex, _ folder: any MailFolder) throws(MailboxError) {
        index.retain(folders: Set(try job.store.folders().map(\.name.description)))
        index.retain(folder.messages.map(\.uid))
    }

    private func next(
        in folder: any MailFolder
    ) -> (message: ScannedMessage, texts: TextCollection?, uid: UInt32)? {
        guard let uid = missing.popLast() else { return nil }
        return (ScannedMessage(uid: uid, in: folder), nil, uid)
    }

    /// - Returns: false as long as it has to be called again.
    private func collect(
        _ current: inout (message: ScannedMessage, texts: TextCollection?, uid: UInt32),
        _ budget: inout Int
    ) throws(MailboxError) -> Bool {
        if current.texts == nil {
            let before = current.message.work
            defer { budget -= current.message.work - before }
            guard let root = try current.message.parts() else { return false }
            current.texts = TextCollection(try current.message.opened(), root)
        }
        // Where there is too much text, that is what is kept of it.
        return try current.texts?.advance(&budget, maximum: FolderIndex.maximumText) != nil
    }

    private func add(
        _ current: (message: ScannedMessage, texts: TextCollection?, uid: UInt32),
        of folder: any MailFolder
    ) {
        guard let found = current.texts, let identity = folder.identity(of: current.uid) else { return }
        let message = IndexedMessage(uid: current.uid, identity: identity)
        texts.append(FolderIndex.Text(message: message, header: found.header, body: found.body))
        collected += found.header.count + found.body.count
    }

    private func keep(in index: FolderIndex) {
        index.keep(texts)
        texts = []
        collected = 0
    }
}
