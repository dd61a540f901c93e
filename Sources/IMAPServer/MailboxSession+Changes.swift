import Logging
import IMAP
import Mailbox
import MailboxProcess
import NIOCore
import Network

extension MailboxSession {
    /// Tells the client what others did to the selected folder.
    ///
    /// - Parameter expunges: whether message numbers may change now; otherwise messages that are gone stay known.
    /// - Returns: false where the folder is no more.
    func announceChanges(expunges: Bool) async throws(ConnectionError) -> Bool {
        guard await hasSelection() else { return false }
        if let selected { try await report(selected, expunges: expunges) }
        return true
    }

    /// Looks at the selected folder again; false where it is no more. Any other failure may pass: the command before it has
    /// its own answer, and the next one will find out.
    func hasSelection() async -> Bool {
        guard let folder = selected?.folder else { return true }
        do throws(MailboxError) {
            _ = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in try folder.refresh() }
        } catch {
            guard error != .notFound, error != .vanished else { return false }
            logger.debug("folder not refreshed", metadata: ["mailbox": "\(location.path)", "reason": "\(error)"])
        }
        return true
    }

    /// Writes the difference between what the client knows and the folder's list.
    func report(_ selected: SelectedFolder, expunges: Bool) async throws(ConnectionError) {
        let current = selected.folder.messages
        announceKeywords(selected)
        let news = newSequences(selected)
        guard selected.known != current || !news.isEmpty else { return announceRecent(selected, current) }
        let before = selected.known.count
        var merged: [StoredMessage] = []
        merged.reserveCapacity(current.count)
        var gone: [Int] = []
        var changed: [Int] = []
        var untold: [UInt32] = []
        var next = 0
        for (place, message) in selected.known.enumerated() {
            while next < current.count, current[next].uid < message.uid {
                merged.append(current[next])
                next += 1
            }
            if next < current.count, current[next].uid == message.uid {
                let now = current[next]
                if now.flags != message.flags || now.keywords != message.keywords || news.contains(now.uid) {
                    changed.append(merged.count)
                }
                merged.append(now)
                next += 1
            } else if expunges {
                gone.append(place)
            } else {
                untold.append(message.uid)
                merged.append(message)
            }
        }
        merged += current[next...]
        selected.untold = untold
        try await announceRemoval(gone.map { (place: $0, uid: selected.known[$0].uid) })
        if merged.count != before - gone.count {
            respond { $0.number(merged.count, "EXISTS") }
            indexTexts(of: selected, after: selected.known.last?.uid ?? 0)
        }
        // The same list as the folder's shares its memory.
        selected.known = merged.count == current.count ? current : merged
        announceRecent(selected, selected.known)
        for place in changed {
            announceFlags(selected, place, withUID: false)
            try await flushBatch()
        }
    }

    /// What the folder has of sequences is what the client is told from now on.
    ///
    /// - Returns: UIDs of messages whose sequences it doesn't know, though it may know their flags.
    private func newSequences(_ selected: SelectedFolder) -> Set<UInt32> {
        let before = selected.changes
        selected.changes = selected.folder.changes
        let told = selected.toldSequences
        selected.toldSequences = [:]
        guard let before, let now = selected.changes, now.highest > before.highest else { return [] }
        return Set(now.changed(since: before.highest).filter { told[$0] == nil || told[$0] != now.sequence(of: $0) })
    }

    /// EXPUNGE for each message, or VANISHED for all (RFC 9586 §3.4).
    private func announceRemoval(_ gone: [(place: Int, uid: UInt32)]) async throws(ConnectionError) {
        guard !dialect.tellsVanished else {
            let uids = SequenceSet.text(gone.map(\.uid))
            if !gone.isEmpty { respond { $0.vanished(uids) } }
            return
        }
        for message in gone.reversed() {
            respond { $0.number(message.place + 1, "EXPUNGE") }
            try await flushBatch()
        }
    }

    private func announceRecent(_ selected: SelectedFolder, _ messages: [StoredMessage]) {
        guard !dialect.isRev2 else { return }
        let count = messages.reduce(0) { $0 + ($1.isRecent ? 1 : 0) }
        guard count != selected.announcedRecent else { return }
        selected.announcedRecent = count
        respond { $0.number(count, "RECENT") }
    }

    func announceKeywords(_ selected: SelectedFolder) {
        let names = selected.folder.keywords
        let rights = selected.folder.rights
        guard names != selected.announcedKeywords || rights != selected.announcedRights else { return }
        selected.announcedKeywords = names
        selected.announcedRights = rights
        let flags = SystemFlags.all.map(\.flag) + names.filter { !$0.isEmpty }.map { Flag($0) }
        respond { $0.flags(flags) }
        // RFC 4314 §5.1.1: those that this user may change.
        let mayAdd = rights.contains(.write) && names.count < KeywordSet.maximum
        let changeable = flags.filter { flag in
            SystemFlags.all.first { $0.flag == flag }.map { rights.flags.contains($0.bit) } ?? rights.contains(.write)
        }
        let permanent = selected.isReadOnly ? [] : changeable + (mayAdd ? [.wildcard] : [])
        respond { $0.status(.ok, code: .permanentFlags(permanent), "flags that are kept") }
    }

    /// - Parameter flags: whether they are told; otherwise only that they have changed.
    func announceFlags(_ selected: SelectedFolder, _ place: Int, withUID: Bool, flags tellsFlags: Bool = true) {
        let message = selected.known[place]
        let flags = SystemFlags.flags(of: message, keywords: selected.folder.keywords, for: dialect)
        let sequence = tellsModSequences ? selected.folder.changes?.sequence(of: message.uid) : nil
        respond { writer in
            writer.fetchHead(number: place + 1, uid: message.uid)
            // RFC 7162 §3.2.4
            if withUID || dialect.usesQResync, !dialect.usesUIDsOnly { writer.raw("UID \(message.uid) ") }
            if tellsFlags {
                writer.raw("FLAGS ")
                writer.flagList(flags)
            }
            if let sequence {
                if tellsFlags { writer.space() }
                writer.modSequence(sequence)
            }
            writer.raw(")")
            writer.end()
        }
    }

    // MARK: IDLE

    /// IDLE (RFC 2177): changes are reported as they happen, until the client sends DONE.
    func idle(_ tag: String) async throws(ConnectionError) -> Next {
        respond { $0.continuation("idling") }
        selected?.structures = StructureCache()
        selected?.index = nil
        try await connection.flush()
        let waker = Waker(on: connection.eventLoop)
        let watches = watch(waker)
        let stop = IdleStop(on: connection.eventLoop)
        let updates = Task(executorPreference: LoopExecutor.of(connection.eventLoop)) {
            await self.reportChanges(waker, stop, isWatched: !watches.isEmpty)
        }
        let line: Result<ByteBuffer?, ConnectionError>
        do throws(ConnectionError) {
            line = .success(try await connection.readLine(maximum: 100))
        } catch {
            line = .failure(error)
        }
        stop.stop()
        waker.wake()
        await updates.value
        for watch in watches { watcher?.unwatch(watch, waker) }
        guard let end = try line.get() else { return .close }
        guard end.readableBytesView.elementsEqual("DONE".utf8, by: { $0 & 0xDF == $1 }) else {
            return fault(tag: tag, "DONE expected")
        }
        respond { $0.status(.ok, tag: tag, "done") }
        return .command
    }

    /// Tells the task that reports changes that the client wants no more of them.
    private final class IdleStop: @unchecked Sendable {
        // Unchecked: all state belongs to the event loop's thread, which debug builds check.
        private let loop: any EventLoop
        private var hasStopped = false

        init(on loop: any EventLoop) { self.loop = loop }

        var isStopped: Bool {
            loop.assertInEventLoop()
            return hasStopped
        }

        func stop() {
            loop.assertInEventLoop()
            hasStopped = true
        }
    }

    private func reportChanges(_ waker: Waker, _ stop: IdleStop, isWatched: Bool) async {
        let interval = isWatched ? settings.pollInterval : min(settings.pollInterval, .seconds(5))
        while !stop.isStopped {
            do throws(ConnectionError) {
                guard try await announceChanges(expunges: true) else {
                    // The wait for DONE ends with the connection.
                    _ = endWithoutMailbox()
                    return connection.close()
                }
                // Also what was too long to be kept until now.
                try await connection.flush()
            } catch {
                return
            }
            if stop.isStopped { return }
            await waker.wait(selected == nil ? settings.idleTimeout : interval)
        }
    }

    /// Watches the directories in which the selected folder changes, where it has any.
    private func watch(_ waker: Waker) -> [CInt] {
        guard let selected, let watcher, let home = home(of: selected.path) else { return [] }
        return home.location.directories(of: home.name, beneath: settings.mailDirectory).compactMap {
            watcher.watch($0, waker)
        }
    }
}
