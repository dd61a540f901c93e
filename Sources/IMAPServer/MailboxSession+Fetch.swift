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
    ) async throws {
        var items = asked
        if byUID, !dialect.usesUIDsOnly, !items.contains(.uid) { items.insert(.uid, at: 0) }
        var places = try selected.places(set, byUID: byUID)
        if let range = modifiers.partial { places = Array(places[range.places(of: places.count)]) }
        let flagged = try await markSeen(selected, places, items)
        for place in places {
            var own = items
            if flagged.contains(place), !own.contains(.flags) { own.append(.flags) }
            guard let source = try await source(selected, place, own) else { continue }
            try await answer(place, uid: selected.known[place].uid, own, from: source)
            try await flushBatch()
        }
    }

    /// Sets \Seen where the items ask for it; returns the places of messages that hadn't it.
    private func markSeen(
        _ selected: SelectedFolder,
        _ places: [Int],
        _ items: [FetchItem]
    ) async throws -> Set<Int> {
        guard !selected.isReadOnly, items.contains(where: \.setsSeen) else { return [] }
        let unseen = places.filter { !selected.known[$0].flags.contains(.seen) }
        guard !unseen.isEmpty else { return [] }
        let uids = unseen.map { selected.known[$0].uid }
        let folder = selected.folder
        let stored = try await onDisk { () throws(MailboxError) in try folder.store(FlagChange(.add, .seen), to: uids) }
        for place in unseen {
            if let index = stored.index(ofUID: selected.known[place].uid) { selected.known[place] = stored[index] }
        }
        return Set(unseen)
    }

    /// A message that is ready to be answered for; nil where it's gone: it has no answer then, and its EXPUNGE comes later.
    private func source(
        _ selected: SelectedFolder,
        _ place: Int,
        _ items: [FetchItem]
    ) async throws -> FetchSource? {
        let message = selected.known[place]
        let cached = selected.structures[message.uid]
        let source = FetchSource(
            message,
            flags: flags(of: message, in: selected),
            folder: selected.folder,
            structure: cached,
            for: dialect
        )
        do throws(MailboxError) {
            while try await !disk.runWhenFree(
                on: connection.eventLoop,
                { () throws(MailboxError) in try source.prepare(for: items) }
            ) {}
        } catch {
            guard error == .notFound else { throw refusal(error) }
            return nil
        }
        if source.hasUnknownEncoding {
            throw Refusal(code: .unknownCTE, text: "a part has an encoding that isn't known here")
        }
        if cached == nil, let structure = source.structure { selected.structures.add(structure, for: message.uid) }
        return source
    }

    /// Writes the response piece by piece, as fast as the client takes it. What was begun can't be taken back: when the
    /// message can't be read to its end, the connection is lost.
    private func answer(
        _ place: Int,
        uid: UInt32,
        _ items: [FetchItem],
        from source: FetchSource
    ) async throws(ConnectionError) {
        respond { $0.fetchHead(number: place + 1, uid: uid) }
        var next = 0
        do {
            while next < items.count {
                let first = next
                let piece = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                    try source.piece(of: items, from: first)
                }
                unflushed += piece.octets.readableBytes
                connection.write(piece.octets)
                switch piece.stream {
                case nil: break
                case .range(let range): if let reader = source.reader { try await stream(reader, range) }
                case .decoded(let body): try await stream(body)
                }
                next = piece.next
                try await flushBatch()
            }
        } catch let error as ConnectionError {
            throw error
        } catch {
            logger.warning("message not sent whole", metadata: ["mailbox": "\(location.path)", "reason": "\(error)"])
            connection.abort()
            throw .closed
        }
        connection.write(")\r\n")
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
