import IMAP
import Mailbox
import NIOCore
import Network

extension MailboxSession {
    /// SORT (RFC 5256), with result options (RFC 5267 §3).
    func sort(_ selected: SelectedFolder, _ command: SortCommand, byUID: Bool, tag: String) async throws {
        let sequences = command.search.key.usesModSequences ? try await modSequences(of: selected) : nil
        let found = try await saving(selected, command.search) {
            let found = try await self.find(selected, command.search, tag: tag)
            try self.requireAll(found)
            let messages = found.places.map { (place: $0, uid: selected.known[$0].uid) }
            let run = SortRun(
                command.criteria,
                messages,
                scores: found.scores,
                in: selected.folder,
                index: await self.index(of: selected),
                memory: self.sortMemory
            )
            defer { run.giveMemoryBack() }
            var progress = ProgressClock()
            while try await !self.limited({ () throws(MailboxError) in try run.advance() }) {
                try await self.tell(&progress, tag, run.done, of: messages.count)
            }
            return Found(places: run.sorted, scores: run.sortedScores)
        }
        let results = command.search.results
        if results?.contains(.save) == true { save(found.places, results ?? [], in: selected) }
        try await answer(selected, found, results, sequences, byUID: byUID, tag: tag, plain: "SORT")
    }

    /// THREAD (RFC 5256).
    func thread(_ selected: SelectedFolder, _ command: ThreadCommand, byUID: Bool, tag: String) async throws {
        if command.search.key.usesModSequences { _ = try await modSequences(of: selected) }
        let found = try await find(selected, command.search, tag: tag)
        try requireAll(found)
        let messages = found.places.map { place in
            (number: byUID ? selected.known[place].uid : UInt32(clamping: place + 1), uid: selected.known[place].uid)
        }
        let run = ThreadRun(
            command.algorithm,
            messages,
            in: selected.folder,
            index: await index(of: selected),
            memory: sortMemory
        )
        // The threads are there until they're sent.
        defer { run.giveMemoryBack() }
        var progress = ProgressClock()
        while try await !limited({ () throws(MailboxError) in try run.advance() }) {
            try await tell(&progress, tag, run.done, of: messages.count)
        }
        let forest = await disk.run { run.finish() }
        connection.write("* THREAD")
        if !forest.roots.isEmpty { connection.write(" ") }
        for root in forest.roots {
            connection.write { buffer in
                let before = buffer.writerIndex
                forest.write(root, to: &buffer)
                unflushed += buffer.writerIndex - before
            }
            try await flushBatch()
        }
        connection.write("\r\n")
    }

    /// An order of some of the messages, or threads of some of them, would be a wrong one (RFC 9738 §3.3).
    private func requireAll(_ found: Found) throws(Refusal) {
        guard let limit = found.limit else { return }
        throw Refusal(code: limit, text: "too many messages at once")
    }

    /// Work whose memory is bounded: `noSpace` says that it was too much.
    private func limited<Value: Sendable>(
        _ body: @escaping @Sendable () throws(MailboxError) -> Value
    ) async throws -> Value {
        do throws(Refusal) {
            return try await onDisk(body)
        } catch {
            if error.code == .overQuota {
                throw Refusal(code: .limit, text: "too many messages at once: search for fewer, or later")
            }
            throw error
        }
    }
}
