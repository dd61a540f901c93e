import Logging
import IMAP
import MIME
import Mailbox
import MailboxProcess
import NIOCore
import Network

extension MailboxSession {
    /// FETCH (RFC 3501 §6.4.5).
    func fetch(
        _ selected: SelectedFolder,
        _ set: SequenceSet,
        _ asked: [FetchItem],
        _ modifiers: FetchModifiers,
        byUID: Bool
    ) async throws -> OKResponse {
        var items = asked
        if modifiers.changedSince != nil || items.contains(.modSequence) {
            _ = try await modSequences(of: selected)
            // RFC 7162 §3.1.4.1
            if !items.contains(.modSequence) { items.append(.modSequence) }
        }
        if modifiers.vanished {
            guard byUID, modifiers.changedSince != nil, dialect.usesQResync else {
                throw SyntaxError("VANISHED is for UID FETCH with CHANGEDSINCE, after ENABLE QRESYNC")
            }
        }
        if byUID, !dialect.usesUIDsOnly, !items.contains(.uid) { items.insert(.uid, at: 0) }
        var places = try selected.places(set, byUID: byUID)
        if let since = modifiers.changedSince {
            if modifiers.vanished { announceEarlier(selected, set, since: since) }
            places = places.filter {
                selected.changes?.sequence(of: selected.known[$0].uid).map { $0 > since } ?? false
            }
        }
        if let range = modifiers.partial {
            places = Array(places[range.places(of: places.count)])
            // RFC 9738 §3.1
            let limit = settings.capabilities.messagesPerCommand
            guard limit == 0 || places.count <= limit else {
                throw Refusal(code: .messageLimit(limit, lowest: nil), text: "too many messages at once")
            }
        }
        let limit: ResponseCode?
        (places, limit) = limited(places, of: selected)
        let flagged = try await markSeen(selected, places, items)
        let tellsSequences = tellsModSequences && (items.contains(.modSequence) || !flagged.isEmpty)
        let requests = places.map { place in
            let uid = selected.known[place].uid
            let isFlagged = flagged.contains(place)
            let changes = isFlagged ? selected.folder.changes : selected.changes
            return FetchRun.Request(
                place: place,
                message: selected.known[place],
                tellsFlags: isFlagged,
                sequence: tellsSequences ? changes?.sequence(of: uid) ?? selected.changes?.highest : nil
            )
        }
        let run = FetchRun(
            requests,
            items,
            in: selected.folder,
            for: dialect,
            index: FetchRun.isHelped(items, dialect) ? await index(of: selected) : nil,
            structures: selected.structures
        )
        try await answer(run)
        selected.structures = run.structures
        return OKResponse(limit: limit)
    }

    /// Writes the responses step by step, as fast as the client takes them. What was begun can't be taken back: when the message
    /// can't be read to its end, the connection is lost.
    private func answer(_ run: FetchRun) async throws {
        var isOver = false
        while !isOver {
            do {
                let step = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                    try run.advance()
                }
                unflushed += step.octets.readableBytes
                connection.write(step.octets)
                switch step.stream {
                case nil: break
                case .range(let range): if let reader = step.reader { try await stream(reader, range) }
                case .decoded(let body): try await stream(body)
                }
                isOver = step.isLast
            } catch let error as MailboxError {
                guard run.hasBegun else { throw refusal(error) }
                logger.warning(
                    "message not sent whole",
                    metadata: ["mailbox": "\(location.path)", "reason": "\(error)"]
                )
                connection.abort()
                throw ConnectionError.closed
            }
            try await flushBatch()
        }
        if run.hasUnknownEncoding {
            throw Refusal(code: .unknownCTE, text: "a part has an encoding that isn't known here")
        }
    }

    /// Sets \Seen where the items ask for it; returns the places of messages that hadn't it.
    private func markSeen(
        _ selected: SelectedFolder,
        _ places: [Int],
        _ items: [FetchItem]
    ) async throws -> Set<Int> {
        // Without the right it isn't set (RFC 4314 §4, FETCH).
        guard !selected.isReadOnly, selected.folder.rights.contains(.seen), items.contains(where: \.setsSeen) else {
            return []
        }
        let unseen = places.filter { !selected.known[$0].flags.contains(.seen) }
        guard !unseen.isEmpty else { return [] }
        let uids = unseen.map { selected.known[$0].uid }
        let stored = try await setFlags(selected, FlagChange(.add, .seen), to: uids).messages
        for place in unseen {
            if let index = stored.index(ofUID: selected.known[place].uid) { tell(selected, place, stored[index]) }
        }
        return Set(unseen)
    }

    /// Sends a part without its transfer encoding, whose literal was announced.
    private func stream(_ body: DecodedBody) async throws {
        while let piece = try await disk.run({ () throws(MailboxError) in try body.read() }) {
            connection.write(piece)
            try await connection.flush()
        }
    }

    /// Sends octets of a message, whose literal was announced.
    private func stream(_ reader: MessageReader, _ range: Range<Int>) async throws {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let start = offset
            let count = min(MessageContent.chunk, range.upperBound - offset)
            let piece = try await disk.run { () throws(MailboxError) in try reader.read(at: start, count: count) }
            guard piece.readableBytes > 0 else { throw MailboxError.corrupt("message shorter than it was") }
            connection.write(ResponseWriter.withoutNUL(piece))
            try await connection.flush()
            offset += piece.readableBytes
        }
    }
}
