import NIOCore
import Network
import SMTP
import Spool

/// Goes through the messages that meet a filter, in turns: mail comes in on the same loop.
struct MessageSelection {
    let queue: Queue
    let filter: MessageFilter
    /// Only messages that came before so many new ones had come; nil for no limit.
    var end: Int?

    /// A message with what is in the spool of it.
    struct Found {
        let message: QueuedMessage
        let envelope: MessageEnvelope
        let entries: [StateEntry]
        let progress: MessageProgress

        /// The last words about each recipient, or about its destination where its turn never came.
        var reasons: [Int: String] = [:]

        /// Recipients without a final result, from 0.
        var open: [Int] { envelope.recipients.indices.filter { !progress.final.contains($0) } }
    }

    /// How long others wait at most.
    private static let turn = TimeAmount.milliseconds(2)
    /// How many messages are looked at between two looks at the clock.
    private static let lookedAt = 100
    /// How many messages are read from the spool at a time.
    private static let read = 50

    /// A message of which nobody knows whether it meets the filter, because it can't be read now.
    struct Unread {
        let id: MessageID
        let error: SpoolError
    }

    /// Gives messages in no order, so many at a time at most, as they are found: messages come and go meanwhile.
    ///
    /// - Parameter isLooking: whether what is in the spool is looked at where that is needed; otherwise the caller does it.
    /// - Returns: the first that could not be looked at.
    @discardableResult func forEach(
        _ maximum: Int,
        isLooking: Bool = true,
        _ use: ([QueuedMessage]) async throws -> Void
    ) async throws -> Unread? {
        var unread: Unread?
        let needsSpool = isLooking && filter.needsSpool(queue)
        let size = needsSpool ? min(maximum, Self.read) : maximum
        var batch: [QueuedMessage] = []
        func give() async throws {
            // Some may be something else by now: those before them took their time.
            var found = matching(batch)
            batch = []
            if needsSpool {
                let looked = await look(at: found)
                found = matching(looked.found.map(\.message))
                unread = unread ?? looked.unread
            }
            if !found.isEmpty { try await use(found) }
        }
        var walk = MessageWalk(index)
        var began = NIODeadline.now()
        while let ids = walk.next(Self.lookedAt, in: queue.store) {
            batch += matching(ids.compactMap { queue.store[$0] })
            while batch.count >= size {
                let rest = batch[size...]
                batch = Array(batch[..<size])
                try await give()
                batch = Array(rest)
            }
            guard .now() - began >= Self.turn else { continue }
            await queue.loop.letOthersGo()
            began = .now()
        }
        if !batch.isEmpty { try await give() }
        return unread
    }

    /// Those that may meet the filter, by what is in memory.
    private func matching(_ messages: [QueuedMessage]) -> [QueuedMessage] {
        let now = queue.clock.now()
        return messages.filter { message in
            end.map { message.number <= $0 } ?? true && filter.mayMatch(message, queue, at: now)
        }
    }

    /// The oldest messages behind an ID that may meet the filter: what is in the spool was not looked at.
    ///
    /// - Returns: in their order; as many as were asked for where there are so many.
    func oldest(_ count: Int, after start: MessageID?) async -> [MessageID] {
        var found: [MessageID] = []
        // Beyond the last of so many, nothing has to be looked at.
        var limit: MessageID?
        func trim() {
            found.sort()
            guard found.count > count else { return }
            found.removeLast(found.count - count)
            limit = found.last
        }
        var walk = MessageWalk(index)
        var began = NIODeadline.now()
        while let ids = walk.next(Self.lookedAt, in: queue.store) {
            let behind = ids.filter { id in start.map { $0 < id } ?? true && limit.map { id < $0 } ?? true }
            found += matching(behind.compactMap { queue.store[$0] }).map(\.id)
            if found.count > 2 * count { trim() }
            guard .now() - began >= Self.turn else { continue }
            await queue.loop.letOthersGo()
            began = .now()
        }
        trim()
        return found
    }

    /// Where to look for the messages.
    private var index: MessageStore.Index {
        if !filter.ids.isEmpty { return .these(Array(Set(filter.ids))) }
        if let account = filter.account { return .sender(account) }
        if case .address(let sender) = filter.sender { return .sender(sender) }
        if case .address(let recipient) = filter.recipient { return .recipient(recipient) }
        if let destination = filter.destination { return .destination(destination) }
        // Nobody knows yet where mail for a domain that isn't decided on goes.
        guard let domain = filter.domain, !filter.needsSpool(queue) else { return .all }
        return .destination(domain)
    }

    private struct Read: Sendable {
        let envelope: MessageEnvelope
        let entries: [StateEntry]
    }

    /// Reads messages, and gives those that meet the filter and have not left meanwhile; and the first that can't be read now.
    func look(at messages: [QueuedMessage]) async -> (found: [Found], unread: Unread?) {
        let places = messages.map { ($0.id, $0.state.isHeld) }
        let read: [Result<Read, SpoolError>]
        do throws(SpoolError) {
            read = try await queue.spool.perform { (spool) throws(SpoolError) in
                places.map { (id, isHeld) in
                    Result { () throws(SpoolError) in
                        let content = try spool.content(of: id, isHeld: isHeld, verified: false)
                        return Read(envelope: content.head.envelope, entries: try spool.state(of: id))
                    }
                }
            }
        } catch {
            return ([], messages.first.map { Unread(id: $0.id, error: error) })
        }
        var unread: Unread?
        let found = zip(messages, read).compactMap { message, read -> Found? in
            guard message.state != .gone else { return nil }
            switch read {
            // It left, or moved, while it was looked for.
            case .failure(.missing): return nil
            case .failure(let error):
                unread = unread ?? Unread(id: message.id, error: error)
                return nil
            case .success(let read): return self.found(message, read)
            }
        }
        return (found, unread)
    }

    private func found(_ message: QueuedMessage, _ read: Read) -> Found? {
        var found = Found(
            message: message,
            envelope: read.envelope,
            entries: read.entries,
            progress: MessageProgress(read.entries)
        )
        found.reasons = found.progress.texts.merging(queue.destinationWords(message)) { text, _ in text }
        return filter.matches(found.envelope, open: found.open, reasons: found.reasons) ? found : nil
    }
}
