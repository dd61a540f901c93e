import Logging
import IMAP
import MIME
import Mailbox
import MailboxProcess
import NIOCore
import Network

extension MailboxSession {
    /// FETCH (RFC 3501 §6.4.5).
    func fetch(_ selected: SelectedFolder, _ set: SequenceSet, _ asked: [FetchItem], byUID: Bool) async throws {
        var items = asked
        if byUID, !items.contains(.uid) { items.insert(.uid, at: 0) }
        let places = try selected.places(set, byUID: byUID)
        let flagged = try await markSeen(selected, places, items)
        for place in places {
            var own = items
            if flagged.contains(place), !own.contains(.flags) { own.append(.flags) }
            do throws(MailboxError) {
                try await fetch(selected, place, own)
            } catch {
                // A message that is gone has no answer; its EXPUNGE comes later.
                guard error == .notFound else { throw refusal(error) }
            }
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

    /// What an item is answered with.
    private enum Answer: Sendable {
        case written(ByteBuffer)
        /// Octets of the message, behind a name.
        case stream(ByteBuffer, Range<Int>)
    }

    private func fetch(
        _ selected: SelectedFolder,
        _ place: Int,
        _ items: [FetchItem]
    ) async throws(MailboxError) {
        let message = selected.known[place]
        let folder = selected.folder
        let flags = selected.flags(of: message)
        let cached = selected.structures[message.uid]
        let (answers, reader, structure) = try await disk.runWhenFree(on: connection.eventLoop) {
            () throws(MailboxError) -> ([Answer], MessageReader?, MessagePart?) in
            var source = FetchSource(message, flags: flags, folder: folder, structure: cached)
            var answers: [Answer] = []
            for item in items {
                var writer = ResponseWriter()
                let range = try source.write(item, to: &writer)
                answers.append(range.map { .stream(writer.buffer, $0) } ?? .written(writer.buffer))
            }
            return (answers, source.reader, source.structure)
        }
        if cached == nil, let structure { selected.structures.add(structure, for: message.uid) }
        connection.write("* \(place + 1) FETCH (")
        for (index, answer) in answers.enumerated() {
            if index > 0 { connection.write(" ") }
            switch answer {
            case .written(let octets):
                unflushed += octets.readableBytes
                connection.write(octets)
            case .stream(let head, let range):
                connection.write(head)
                if let reader { await stream(reader, range) }
            }
        }
        connection.write(")\r\n")
    }

    /// Sends octets of a message. The literal was announced: when they can't be read, the connection is lost.
    private func stream(_ reader: MessageReader, _ range: Range<Int>) async {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let start = offset
            let count = min(MessageContent.chunk, range.upperBound - offset)
            do {
                let piece = try await disk.run { () throws(MailboxError) in try reader.read(at: start, count: count) }
                guard piece.readableBytes > 0 else { throw MailboxError.corrupt("message shorter than it was") }
                connection.write(ResponseWriter.withoutNUL(piece))
                try await connection.flush()
                offset += piece.readableBytes
            } catch {
                logger.warning(
                    "message not sent whole",
                    metadata: ["mailbox": "\(location.path)", "reason": "\(error)"]
                )
                connection.abort()
                return
            }
        }
    }
}
