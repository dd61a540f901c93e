import Bus
import NIOCore
import SMTP
import Spool

/// Requests that change messages.
extension ControlSession {
    /// How many messages are changed at the same time: they share what is waited for on the disk.
    private static let changedAtOnce = 200

    /// What came of a change of many messages.
    private struct Tally {
        var count = 0
        /// How many were so before.
        var unchanged = 0
        /// Whether some wait for the end of a delivery.
        var isLater = false
        /// The first that isn't there.
        var missing: MessageID?
        /// The first that could not be changed.
        var failed: (MessageID, SpoolError)?
    }

    /// What a request has that is neither a condition nor known to a verb that changes messages: whoever wrote it means
    /// other messages than those that would be changed.
    private func unknownField(_ request: Frame) -> Frame? {
        let known = MessageFilter.names.union(["tag", "all", "text"])
        return request.fields.first { !known.contains($0.name) }.map { malformed(request, "\($0.name): is not known") }
    }

    /// Some messages could not be looked at: whether they are meant, nobody knows.
    func deferred(_ unread: MessageSelection.Unread, _ request: Frame, _ fields: [Frame.Field]) -> Frame {
        .reply(
            .defer,
            status: .systemTrouble,
            text: "\(unread.id): \(unread.error)",
            tag: request["tag"],
            fields
        )
    }

    /// Has all messages tried now that a request is about.
    func flush(_ request: Frame, _ filter: MessageFilter) async throws -> Frame {
        if let refusal = unknownField(request) { return refusal }
        let tag = request["tag"]
        // A domain elsewhere is its own destination.
        if filter.isEmpty || filter.isByDestination || filter.isByDomain && !filter.needsSpool(queue) {
            let count = await withCheckedContinuation { continuation in
                queue.flush(destination: filter.destination ?? filter.domain) { continuation.resume(returning: $0) }
            }
            return .ok(tag: tag, [.init("count", String(count))])
        }
        if filter.isByID { return flush(filter.ids, request) }
        var count = 0
        let number = queue.schedule.failureCount
        let unread = try await MessageSelection(queue: queue, filter: filter).forEach(Self.changedAtOnce) { messages in
            for message in messages where !message.state.isHeld {
                queue.flush(message, before: number)
                count += 1
            }
        }
        let fields: [Frame.Field] = [.init("count", String(count))]
        return unread.map { deferred($0, request, fields) } ?? .ok(tag: tag, fields)
    }

    /// Has those tried now that are there and not held, and says of the first other one what is wrong with it.
    private func flush(_ ids: [MessageID], _ request: Frame) -> Frame {
        var count = 0
        var held: MessageID?
        var missing: MessageID?
        for id in ids {
            guard let message = queue.store[id] else {
                missing = missing ?? id
                continue
            }
            guard !message.state.isHeld else {
                held = held ?? id
                continue
            }
            queue.flush(message)
            count += 1
        }
        let fields: [Frame.Field] = [.init("count", String(count))]
        if let missing { return self.missing(missing, request, fields) }
        if let held { return .reply(.defer, status: .busy, text: "\(held): it is held", tag: request["tag"], fields) }
        return .ok(tag: request["tag"], fields)
    }

    /// Has all messages changed that a request is about.
    func change(_ request: Frame, _ filter: MessageFilter, _ change: MessageChange) async throws -> Frame {
        if let refusal = unknownField(request) { return refusal }
        guard !filter.isEmpty || request["all"] == "yes" else {
            return malformed(request, "which messages? all: yes for every one")
        }
        var tally = Tally()
        tally.missing = filter.ids.first { queue.store[$0] == nil }
        // Reports that come of the change are not among them.
        let end = filter.isByID ? nil : queue.store.arrivalCount
        let selection = MessageSelection(queue: queue, filter: filter, end: end)
        let unread = try await selection.forEach(Self.changedAtOnce) { messages in
            guard tally.failed == nil else { return }
            let condition = filter.isByID ? nil : filter
            for (id, result) in await make(change, of: messages.map(\.id), condition) {
                switch result {
                case nil:
                    tally.isLater = true
                    tally.count += 1
                case .done, .doneInPart: tally.count += 1
                case .unchanged: tally.unchanged += 1
                case .missing: if filter.isByID { tally.missing = tally.missing ?? id }
                case .failed(let error): tally.failed = tally.failed ?? (id, error)
                }
            }
        }
        var fields: [Frame.Field] = [.init("count", String(tally.count))]
        if tally.unchanged > 0 { fields.append(.init("unchanged", String(tally.unchanged))) }
        if let (id, error) = tally.failed {
            return .reply(
                .defer,
                status: .systemTrouble,
                text: "\(id): \(error)",
                tag: request["tag"],
                fields
            )
        }
        if let unread { return deferred(unread, request, fields) }
        if let id = tally.missing { return missing(id, request, fields) }
        if tally.isLater { fields.append(.init("text", "as soon as the delivery that is going on is over")) }
        return .ok(tag: request["tag"], fields)
    }

    /// What came of it for each; nil where it's done after a delivery that goes on.
    private func make(
        _ change: MessageChange,
        of ids: [MessageID],
        _ condition: MessageFilter?
    ) async -> [(MessageID, ChangeResult?)] {
        await withTaskGroup(of: (MessageID, ChangeResult?).self) { group in
            for id in ids { group.addTask { (id, await make(change, of: id, condition)) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }

    private func make(_ change: MessageChange, of id: MessageID, _ condition: MessageFilter?) async -> ChangeResult? {
        queue.loop.assertInEventLoop()
        if let message = queue.store[id], case .delivering = message.state {
            // What is being delivered is not held.
            if change == .release, message.changes.isEmpty { return .unchanged }
            queue.request(change, of: id, if: condition) { _ in }
            return nil
        }
        return await withCheckedContinuation { continuation in
            queue.request(change, of: id, if: condition) { continuation.resume(returning: $0) }
        }
    }
}
