import IMAP
import MIME
import MailIndex
import Mailbox
import MailboxProcess
import NIOCore
import Network

#if canImport(Glibc)
import Glibc
#endif

extension MailboxSession {
    /// SEARCH (RFC 3501 §6.4.4) and ESEARCH (RFC 4731).
    func search(_ selected: SelectedFolder, _ command: SearchCommand, byUID: Bool, tag: String) async throws
        -> OKResponse
    {
        if dialect.acceptsUTF8, command.charset != nil {
            throw SyntaxError("with UTF8=ACCEPT there is one character set")  // RFC 6855 §3
        }
        let sequences = command.key.usesModSequences ? try await modSequences(of: selected) : nil
        let found = try await saving(selected, command) { try await self.find(selected, command, tag: tag) }
        if command.results?.contains(.save) == true { save(found.places, command.results ?? [], in: selected) }
        let results = command.results ?? (dialect.isRev2 ? [.all] : nil)
        try await answer(selected, found, results, sequences, byUID: byUID, tag: tag, plain: "SEARCH")
        return OKResponse(limit: found.limit)
    }

    /// What a search has found.
    struct Found {
        /// Of messages that match: ascending, or in the order of SORT.
        var places: [Int]
        /// How well each matches, from 1 to 100, where keys may match in part.
        var scores: [Int] = []
        /// Where not all of the messages were looked at.
        var limit: ResponseCode?
    }

    func requireKnownCharset(_ command: SearchCommand) throws(Refusal) {
        guard let charset = command.charset, !ASCII.equal(charset, "UTF-8"), !ASCII.equal(charset, "US-ASCII") else {
            return
        }
        throw Refusal(code: .badCharset(["US-ASCII", "UTF-8"]), text: "unknown character set")
    }

    func find(_ selected: SelectedFolder, _ command: SearchCommand, tag: String) async throws -> Found {
        try requireKnownCharset(command)
        var progress = ProgressClock()
        let messages = FoundIn(
            folder: selected.folder,
            messages: selected.known,
            saved: selected.saved,
            changes: selected.changes
        )
        return try await find(command.key, in: messages, tag, &progress) { await self.index(of: selected) }
    }

    /// Messages that are searched.
    struct FoundIn {
        let folder: any MailFolder
        let messages: [StoredMessage]
        /// `$`: UIDs.
        let saved: [ClosedRange<UInt32>]
        /// Nil where sequences aren't searched for.
        let changes: FolderChanges?
    }

    /// - Parameter index: gives what is kept of the folder's messages, where that may help.
    func find(
        _ key: SearchKey,
        in place: FoundIn,
        _ tag: String,
        _ progress: inout ProgressClock,
        index: () async -> FolderIndex?
    ) async throws -> Found {
        let messages = place.messages
        let search = MessageSearch(key, in: SearchContext(messages, saved: place.saved, now: time(nil)))
        let index = search.usesIndex ? await index() : nil
        let (start, limit) = searchStart(key, in: place)
        let run = SearchRun(search, in: place.folder, messages, from: start, changes: place.changes, index: index)
        while try await !onDisk({ () throws(MailboxError) in try run.advance() }) {
            try await tell(&progress, tag, run.done, of: messages.count)
        }
        return Found(places: run.found, scores: run.scores, limit: limit)
    }

    /// Between the steps of a long command: says how far it is (RFC 9585), and ends it when the client is gone.
    func tell(_ progress: inout ProgressClock, _ tag: String, _ done: Int, of all: Int) async throws(ConnectionError) {
        guard !connection.hasEnded else { throw ConnectionError.closed }
        guard settings.capabilities.offers(.inProgress), progress.isDue else { return }
        respond { $0.status(.ok, code: .inProgress(tag: tag, done: done, of: all), "still at it") }
        try await connection.flush()
    }

    /// Runs a search; when it is refused, nothing is saved any more where it was to save something (RFC 5182 §2.1).
    func saving(
        _ selected: SelectedFolder,
        _ command: SearchCommand,
        _ body: () async throws -> Found
    ) async throws -> Found {
        do {
            return try await body()
        } catch let refusal as Refusal {
            if command.results?.contains(.save) == true { selected.saved = [] }
            throw refusal
        }
    }

    /// Keeps what was found as `$` (RFC 5182 §2.4): all of it, or what MIN, MAX and PARTIAL name where only they were asked for.
    func save(_ found: [Int], _ results: [SearchCommand.Result], in selected: SelectedFolder) {
        var places = found
        if !results.contains(.all), !results.contains(.count), results.contains(where: { $0 != .save }) {
            var some: [Int] = []
            if results.contains(.min) { some += found.prefix(1) }
            if results.contains(.max) { some += found.suffix(1) }
            for case .partial(let range) in results { some += found[range.places(of: found.count)] }
            places = some
        }
        selected.saved = SequenceSet.ranges(of: Set(places).sorted().map { selected.known[$0].uid })
    }

    /// Answers with what was found: by the plain response, or by ESEARCH where results were named.
    ///
    /// - Parameter changes: where the greatest sequence is told (RFC 7162 §3.1.5, RFC 4731 §3.2).
    func answer(
        _ selected: SelectedFolder,
        _ found: Found,
        _ results: [SearchCommand.Result]?,
        _ changes: FolderChanges? = nil,
        byUID: Bool,
        tag: String,
        plain word: StaticString
    ) async throws(ConnectionError) {
        let places = found.places
        let numbers = places.map { byUID ? selected.known[$0].uid : UInt32(clamping: $0 + 1) }
        if let results {
            // Nothing was asked but to keep it (RFC 5182 §2.2).
            guard results != [.save] else { return }
            let sequence = changes.flatMap { changes in
                Self.highest(changes, places.map { selected.known[$0].uid }, results)
            }
            return try await answerExtended(
                tag,
                results,
                numbers,
                byUID: byUID,
                sequence: sequence,
                scores: found.scores
            )
        }
        connection.write("* \(word)")
        for start in stride(from: 0, to: numbers.count, by: 1000) {
            respond { $0.numbers(numbers[start..<min(start + 1000, numbers.count)]) }
            try await flushBatch()
        }
        if let changes, let highest = places.lazy.compactMap({ changes.sequence(of: selected.known[$0].uid) }).max() {
            connection.write(" (MODSEQ \(highest))")
        }
        connection.write("\r\n")
    }

    /// The greatest sequence of what an ESEARCH response tells.
    static func highest(
        _ changes: FolderChanges,
        _ uids: [UInt32],
        _ results: [SearchCommand.Result]
    ) -> UInt64? {
        var told: [UInt32] = []
        for result in results {
            switch result {
            case .all, .count: told = uids
            case .min: told += uids.prefix(1)
            case .max: told += uids.suffix(1)
            case .partial(let range): told += uids[range.places(of: uids.count)]
            case .save, .relevancy: continue
            }
        }
        return told.lazy.compactMap { changes.sequence(of: $0) }.max()
    }

    /// An ESEARCH response; for SORT the numbers are in its order (RFC 5267 §3).
    func answerExtended(
        _ tag: String,
        _ results: [SearchCommand.Result],
        _ numbers: [UInt32],
        byUID: Bool,
        in mailbox: (name: MailboxName, uidValidity: UInt32)? = nil,
        sequence: UInt64? = nil,
        scores: [Int] = []
    ) async throws(ConnectionError) {
        respond {
            $0.extendedSearchHead(tag: tag, byUID: byUID, in: mailbox)
            if results.contains(.min), let first = numbers.first { $0.searchResult("MIN", Int(first)) }
            if results.contains(.max), let last = numbers.last { $0.searchResult("MAX", Int(last)) }
        }
        if results.contains(.all), !numbers.isEmpty {
            respond { $0.raw(" ALL ") }
            try await writeSet(numbers, numbers.indices)
        }
        if results.contains(.count) { respond { $0.searchResult("COUNT", numbers.count) } }
        for case .partial(let range) in results {
            let some = range.places(of: numbers.count)
            respond { $0.raw(" PARTIAL (\(range.text) \(some.isEmpty ? "NIL" : "")") }
            try await writeSet(numbers, some)
            respond { $0.raw(")") }
        }
        if results.contains(.relevancy) { try await writeScores(scores, for: results) }
        if let sequence { respond { $0.searchResult("MODSEQ", Int(clamping: sequence)) } }
        respond { $0.end() }
    }

    /// A score for each message that is told, in their order (RFC 6203 §4): those of a part where only that is told.
    private func writeScores(_ scores: [Int], for results: [SearchCommand.Result]) async throws(ConnectionError) {
        var told = scores.indices
        if !results.contains(.all) {
            for case .partial(let range) in results { told = range.places(of: scores.count) }
        }
        respond { $0.raw(" RELEVANCY (") }
        for (index, place) in told.enumerated() {
            respond { writer in
                if index > 0 { writer.space() }
                writer.decimal(scores[place])
            }
            try await flushBatch()
        }
        respond { $0.raw(")") }
    }

    private func writeSet(_ numbers: [UInt32], _ places: Range<Int>) async throws(ConnectionError) {
        var next = places.lowerBound
        while next < places.upperBound {
            respond { next = $0.setPart(numbers, places, from: next, maximum: 1000) }
            try await flushBatch()
        }
    }
}

/// When a client that waits is told how far its command is.
struct ProgressClock {
    /// RFC 9585 §3 asks for one in ten seconds or so.
    private static let interval = TimeAmount.seconds(10)

    private var next = NIODeadline.now() + interval

    /// Whether it's time; starts the next interval then.
    var isDue: Bool {
        mutating get {
            guard NIODeadline.now() >= next else { return false }
            next = .now() + Self.interval
            return true
        }
    }
}
