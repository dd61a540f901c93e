import NIOCore
import Network
import SMTP
import Spool

/// Goes through the messages that meet a filter, in turns: mail comes in on the same loop.
struct MessageSelection {
    let queue: Queue
    let filter: MessageFilter
    /// Only messages whose IDs come before; nil for no limit.
    var end: MessageID?

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
    /// What an index leads to is looked at at once, up to so many messages.
    private static let atOnce = 2000
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
        var began = NIODeadline.now()
        for part in parts() {
            let now = queue.clock.now()
            var rest = part.filter { isBeforeEnd($0) && filter.mayMatch($0, queue, at: now) }[...]
            while !rest.isEmpty {
                let batch = Array(rest.prefix(needsSpool ? min(maximum, Self.read) : maximum))
                rest = rest.dropFirst(batch.count)
                var found = batch
                if needsSpool {
                    let looked = await look(at: batch)
                    found = looked.found.map(\.message)
                    unread = unread ?? looked.unread
                }
                if !found.isEmpty { try await use(found) }
            }
            guard .now() - began >= Self.turn else { continue }
            await queue.loop.letOthersGo()
            began = .now()
        }
        return unread
    }

    private func isBeforeEnd(_ message: QueuedMessage) -> Bool { end.map { message.id < $0 } ?? true }

    /// The oldest messages behind an ID that may meet the filter: what is in the spool was not looked at.
    ///
    /// - Returns: in their order; as many as were asked for where there are so many.
    func oldest(_ count: Int, after start: MessageID?) async -> [QueuedMessage] {
        var found: [QueuedMessage] = []
        var began = NIODeadline.now()
        // Beyond the last of so many, nothing has to be looked at.
        var limit = end
        func trim() {
            guard found.count > count else { return }
            found.sort { $0.id < $1.id }
            found.removeLast(found.count - count)
            limit = found.last?.id
        }
        for part in parts() {
            let now = queue.clock.now()
            for message in part {
                if let start, message.id <= start { continue }
                if let limit, message.id >= limit { continue }
                if filter.mayMatch(message, queue, at: now) { found.append(message) }
            }
            if found.count > 2 * count { trim() }
            guard .now() - began >= Self.turn else { continue }
            await queue.loop.letOthersGo()
            began = .now()
        }
        trim()
        return found.sorted { $0.id < $1.id }
    }

    /// Where the messages are, a part at a time.
    private func parts() -> some Sequence<[QueuedMessage]> {
        let known = indexed()
        return (0..<(known == nil ? MessageID.shards : 1)).lazy.map { known ?? queue.store.messages(shard: $0) }
    }

    /// What an index leads to; nil where there is none for the filter, or all are to be looked at anyway.
    private func indexed() -> [QueuedMessage]? {
        let store = queue.store
        if !filter.ids.isEmpty { return Set(filter.ids).compactMap { store[$0] } }
        if let account = filter.account, store.count(sender: account) <= Self.atOnce {
            return store.messages(sender: account)
        }
        if case .address(let sender) = filter.sender, store.count(sender: sender) <= Self.atOnce {
            return store.messages(sender: sender)
        }
        if case .address(let recipient) = filter.recipient, store.count(recipient: recipient) <= Self.atOnce {
            return store.messages(recipient: recipient)
        }
        if let destination = filter.destination, store.count(destination: destination) <= Self.atOnce {
            return store.messages(destination: destination)
        }
        return nil
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
        let now = queue.clock.now()
        var unread: Unread?
        let found = zip(messages, read).compactMap { message, read -> Found? in
            guard message.state != .gone else { return nil }
            switch read {
            // It left, or moved, while it was looked for.
            case .failure(.missing): return nil
            case .failure(let error):
                unread = unread ?? Unread(id: message.id, error: error)
                return nil
            case .success(let read): return self.found(message, read, at: now)
            }
        }
        return (found, unread)
    }

    private func found(_ message: QueuedMessage, _ read: Read, at now: Int64) -> Found? {
        var found = Found(
            message: message,
            envelope: read.envelope,
            entries: read.entries,
            progress: MessageProgress(read.entries)
        )
        found.reasons = found.progress.texts
        for job in message.jobs {
            guard let failure = queue.schedule.wait(of: job, at: now).failure else { continue }
            for index in job.recipients where found.reasons[Int(index)] == nil {
                found.reasons[Int(index)] = "\(failure.status) \(failure.summary)"
            }
        }
        return filter.matches(found.envelope, open: found.open, reasons: found.reasons) ? found : nil
    }
}
