import Bus
import NIOCore
import Network
import SMTP
import Spool

/// Requests that only look.
extension ControlSession {
    /// How many messages are read from the spool at a time for a list.
    private static let listed = 50
    /// The longest page of a list in order.
    private static let longestPage = 10_000
    /// How many messages are chosen at a time for a page, however few fit on it: each time the whole queue is gone through.
    private static let leastChosen = 5_000

    /// One `MESSAGE` for each; the peer's reading sets the pace.
    func list(_ request: Frame, _ filter: MessageFilter, on connection: Connection) async throws {
        let tag = request["tag"]
        if request["limit"] != nil || request["after"] != nil {
            guard let page = Page(request, longest: Self.longestPage) else {
                connection.write(malformed(request, "limit is no number, or after no message's ID"))
                return
            }
            return try await list(page, request, filter, on: connection)
        }
        var count = 0
        var arrivals = 0
        var unread: MessageSelection.Unread?
        // A message may come into a part that was passed while the last one leaves another, as a report does: the queue is
        // called empty only if nothing came meanwhile.
        repeat {
            arrivals = queue.store.arrivals
            count = 0
            let selection = MessageSelection(queue: queue, filter: filter)
            try await selection.forEach(Self.listed, isLooking: false) { messages in
                let written = try await write(messages, selection, request, on: connection)
                count += written.count
                unread = unread ?? written.unread
            }
        } while filter.isEmpty && count == 0 && queue.store.arrivals != arrivals
        let fields: [Frame.Field] = [.init("count", String(count))]
        connection.write(unread.map { deferred($0, request, fields) } ?? Frame.ok(tag: tag, fields))
    }

    /// A part of a list in the order of IDs.
    private struct Page {
        var limit: Int
        var after: MessageID?

        /// nil where the fields make no sense.
        init?(_ request: Frame, longest: Int) {
            limit = longest
            if let text = request["limit"] {
                guard let number = Int(text), number > 0 else { return nil }
                limit = min(number, longest)
            }
            if let text = request["after"] {
                guard let id = MessageID(text) else { return nil }
                after = id
            }
        }
    }

    private func list(
        _ page: Page,
        _ request: Frame,
        _ filter: MessageFilter,
        on connection: Connection
    ) async throws {
        let selection = MessageSelection(queue: queue, filter: filter)
        var (page, count, isMore) = (page, 0, true)
        let isOfAll = filter.isEmpty && page.after == nil
        var arrivals = queue.store.arrivals
        var unread: MessageSelection.Unread?
        while isMore, count < page.limit {
            // Those that are in the spool otherwise than was asked for leave room for others.
            let wanted = max(page.limit - count, filter.needsSpool(queue) ? Self.leastChosen : 0)
            let found = await selection.oldest(wanted, after: page.after)
            isMore = found.count == wanted
            var rest = found[...]
            while !rest.isEmpty, count < page.limit {
                // Nobody reads it any more.
                guard !connection.hasEnded else { throw ConnectionError.closed }
                let batch = rest.prefix(min(Self.listed, page.limit - count))
                rest = rest.dropFirst(batch.count)
                let messages = batch.compactMap { queue.store[$0] }
                let written = try await write(messages, selection, request, on: connection)
                count += written.count
                unread = unread ?? written.unread
                page.after = batch.last ?? page.after
            }
            isMore = isMore || !rest.isEmpty
            // As above: the queue is called empty only if nothing came meanwhile.
            if isOfAll, count == 0, arrivals != queue.store.arrivals {
                (isMore, page.after, arrivals) = (true, nil, queue.store.arrivals)
            }
        }
        var fields: [Frame.Field] = [.init("count", String(count))]
        if isMore, let last = page.after { fields.append(.init("next", last.description)) }
        connection.write(unread.map { deferred($0, request, fields) } ?? Frame.ok(tag: request["tag"], fields))
    }

    /// Writes of those messages that are meant; returns how many, and the first that could not be looked at.
    private func write(
        _ messages: [QueuedMessage],
        _ selection: MessageSelection,
        _ request: Frame,
        on connection: Connection
    ) async throws -> (count: Int, unread: MessageSelection.Unread?) {
        let (found, unread) = await selection.look(at: messages)
        for message in found { connection.write(frame(message, request, "MESSAGE")) }
        if connection.hasOutput { try await connection.flush() }
        return (found.count, unread)
    }

    /// The newest entries of a message's history that one frame has room for.
    private static let longestHistory = 200

    /// All that is known of one message.
    func show(_ request: Frame, _ filter: MessageFilter) async -> Frame {
        guard let id = filter.ids.first else { return malformed(request, "id is missing") }
        let selection = MessageSelection(queue: queue, filter: MessageFilter())
        guard let message = queue.store[id] else { return missing(id, request) }
        let (found, unread) = await selection.look(at: [message])
        guard let described = found.first else {
            return unread.map { deferred($0, request, []) } ?? missing(id, request)
        }
        var frame = frame(described, request, "OK")
        for entry in described.entries.suffix(Self.longestHistory) {
            let recipient =
                described.envelope.recipients.indices.contains(entry.recipient - 1)
                ? described.envelope.recipients[entry.recipient - 1].address.description : "-"
            frame.fields.append(.init("history", "\(entry.time) \(recipient) \(entry.words) \(entry.text)"))
        }
        let (head, isHeld) = ((message.offset, min(message.octets, QueueReport.headerLimit)), message.state.isHeld)
        let content = try? await queue.spool.perform { (spool) throws(SpoolError) in
            let added = try spool.content(of: id, isHeld: isHeld, verified: false).added
            return (added, try spool.piece(of: id, head, at: 0, maximum: head.1, isHeld: isHeld))
        }
        frame.fields.insert(.init("status", EnhancedStatusCode.success.description), at: 0)
        if var (header, start) = content {
            header.writeBuffer(&start)
            frame.body = QueueReport.headerLines(header)
        }
        return frame
    }

    private func frame(_ found: MessageSelection.Found, _ request: Frame, _ verb: String) -> Frame {
        let (message, envelope) = (found.message, found.envelope)
        var fields: [Frame.Field] = []
        func add(_ name: String, _ value: String?) { if let value { fields.append(.init(name, value)) } }
        add("tag", request["tag"])
        add("id", message.id.description)
        add("state", message.category.rawValue)
        add("arrived", String(message.arrived))
        add("octets", String(message.octets))
        add("sender", envelope.sender.description)
        add("client", envelope.client)
        add("user", envelope.user)
        add("uid", envelope.uid.map { String($0) })
        for field in envelope.terms.fields { add("\(field.name)", field.value) }
        for index in found.open {
            add("recipient", envelope.recipients[index].description)
            add("reason", found.reasons[index] ?? "")
        }
        let now = queue.clock.now()
        let waits = message.jobs.map { queue.schedule.wait(of: $0, at: now) }
        add("next", waits.compactMap(\.until).min().map { String($0 / 1000) })
        add("attempts", message.jobs.map(\.attempts).max().map { String($0) })
        add("paused", message.jobs.lazy.compactMap { queue.schedule.pauses.pause(of: $0)?.summary }.first)
        return Frame(verb, fields)
    }

    /// A `DESTINATION` for each that has mail or trouble, in no order.
    func statistics(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        var number = 0
        for part in 0..<queue.schedule.destinations.partCount {
            for destination in queue.schedule.destinations[part: part].values {
                connection.write(frame(destination, tag))
                if connection.hasOutput { try await connection.flush() }
                number += 1
                if number.isMultiple(of: Self.writtenAtOnce) { await queue.loop.letOthersGo() }
            }
        }
        connection.write(Frame.ok(tag: tag, counts))
    }

    private func frame(_ destination: Destination, _ tag: String?) -> Frame {
        var frame = Frame("DESTINATION", tag.map { [.init("tag", $0)] } ?? [])
        frame["name"] = destination.isLocal ? "local" : destination.name
        frame["ready"] = String(destination.line.count)
        frame["deferred"] = String(destination.deferred)
        frame["active"] = String(destination.active)
        frame["limit"] = String(Int(destination.window))
        if let failure = destination.failure {
            frame["blocked-until"] = String(destination.blockedUntil / 1000)
            frame["reason"] = "\(failure.status) \(failure.summary)"
        }
        return frame
    }

    /// How many short frames are written in one turn.
    static let writtenAtOnce = 100

    private var counts: [Frame.Field] {
        var fields: [Frame.Field] = [.init("messages", String(queue.store.count))]
        fields += QueuedMessage.Category.allCases.map { .init($0.rawValue, String(queue.store.count($0))) }
        fields += QueueCounters.names.map { .init("total-\($0)", String(queue.counters.values[$0] ?? 0)) }
        return fields
    }

    // MARK: Summary

    /// Messages that wait at one destination for one reason.
    private struct Group {
        var messages = 0
        var octets = 0
        /// Seconds since 1970.
        var oldest = Int64.max
        /// When the first of them is tried again. Milliseconds since 1970.
        var next: Int64?

        mutating func add(_ message: QueuedMessage, next time: Int64? = nil) {
            messages += 1
            octets += message.octets
            oldest = min(oldest, message.arrived)
            if let time { next = min(next ?? .max, time) }
        }
    }

    private struct GroupKey: Hashable {
        let destination: String
        let reason: String
    }

    private static let usualGroups = 100
    /// More are counted together: they are all in memory at the same time.
    private static let mostGroups = 5_000
    private static let otherGroups = GroupKey(destination: "other destinations", reason: "other reasons")

    /// A `GROUP` for each destination and reason, the largest first, and the counts.
    func summary(_ request: Frame, _ filter: MessageFilter, on connection: Connection) async throws {
        let limit = request["limit"].map { Int($0) } ?? Self.usualGroups
        guard let limit, limit >= 0 else {
            connection.write(malformed(request, "limit is no number"))
            return
        }
        var groups: [GroupKey: Group] = [:]
        var total = Group()
        let unread = try await MessageSelection(queue: queue, filter: filter).forEach(Self.writtenAtOnce) { messages in
            let now = queue.clock.now()
            for message in messages {
                total.add(message)
                for job in message.jobs { add(job, to: &groups, at: now) }
            }
        }
        let tag = request["tag"]
        for (number, (key, group)) in try await largest(limit, of: groups).enumerated() {
            var frame = Frame("GROUP", tag.map { [.init("tag", $0)] } ?? [])
            frame["destination"] = key.destination.isEmpty ? "local" : key.destination
            frame["reason"] = key.reason
            frame["messages"] = String(group.messages)
            frame["octets"] = String(group.octets)
            frame["oldest"] = String(group.oldest)
            frame["next"] = group.next.map { String($0 / 1000) }
            connection.write(frame)
            if connection.hasOutput { try await connection.flush() }
            if number % Self.writtenAtOnce == Self.writtenAtOnce - 1 { await queue.loop.letOthersGo() }
        }
        var fields: [Frame.Field] = [
            .init("count", String(total.messages)), .init("octets", String(total.octets)),
            .init("groups", String(groups.count)),
        ]
        if total.messages > 0 { fields.append(.init("oldest", String(total.oldest))) }
        connection.write(unread.map { deferred($0, request, fields) } ?? Frame.ok(tag: tag, fields + counts))
    }

    /// On a thread of the spool: so many names take a while to compare.
    private func largest(_ limit: Int, of groups: [GroupKey: Group]) async throws(SpoolError) -> [(GroupKey, Group)] {
        try await queue.spool.perform { (_) throws(SpoolError) in
            groups.sorted {
                ($1.value.messages, $0.key.destination, $0.key.reason) < (
                    $0.value.messages, $1.key.destination, $1.key.reason
                )
            }.prefix(limit).map { ($0.key, $0.value) }
        }
    }

    private func add(_ job: DeliveryJob, to groups: inout [GroupKey: Group], at now: Int64) {
        let message = job.message
        let (until, failure) = queue.schedule.wait(of: job, at: now)
        let reason: String
        if message.state.isHeld {
            reason = "held"
        } else if let pause = queue.schedule.pauses.pause(of: job) {
            reason = pause.summary
        } else if let known = job.reason {
            reason = known.text
        } else if let failure {
            reason = FailureReasons.shortened("\(failure.status) \(failure.summary)")
        } else {
            reason = job.phase == .active ? "being delivered" : "not tried yet"
        }
        var key = GroupKey(destination: job.destination, reason: reason)
        if groups.count >= Self.mostGroups, groups[key] == nil { key = Self.otherGroups }
        groups[key, default: Group()].add(message, next: until)
    }
}
