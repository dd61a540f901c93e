import Bus
import NIOCore
import Network
import SMTP
import Spool

/// Answers the requests on control.sock (docs/protocols.md, "control.sock").
struct ControlSession {
    let queue: Queue

    /// How many messages are read from the spool at a time for a list.
    private static let listed = 50
    /// How long a list may go on before other connections have their turn: mail comes in on the same loop.
    private static let turn = TimeAmount.milliseconds(2)

    /// Answers one request, with as many replies as it takes.
    func answer(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        guard let verb = Verb(rawValue: request.verb) else {
            connection.write(Frame.reply(.reject, status: .invalidCommand, text: "unknown verb", tag: tag))
            return
        }
        guard mayUse(verb, connection) else {
            let text =
                verb.isReadOnly ? "only for the administrator and the group martlet" : "only for the administrator"
            connection.write(Frame.reply(.reject, status: .notAuthorized, text: text, tag: tag))
            return
        }
        switch verb {
        case .list: try await list(request, on: connection)
        case .statistics: try await statistics(request, on: connection)
        case .show: connection.write(await show(request))
        case .flush: connection.write(flush(request))
        case .hold: connection.write(await change(request, .hold))
        case .release: connection.write(await change(request, .release))
        case .requeue: connection.write(await change(request, .requeue))
        case .remove: connection.write(await change(request, .remove))
        case .bounce:
            let text = request["text"] ?? "returned by the administrator"
            connection.write(await change(request, .bounce(text: text)))
        }
    }

    private enum Verb: String {
        case list = "LIST"
        case statistics = "STATISTICS"
        case show = "SHOW"
        case flush = "FLUSH"
        case hold = "HOLD"
        case release = "RELEASE"
        case requeue = "REQUEUE"
        case remove = "REMOVE"
        case bounce = "BOUNCE"

        var isReadOnly: Bool {
            switch self {
            case .list, .statistics, .show: true
            case .flush, .hold, .release, .requeue, .remove, .bounce: false
            }
        }
    }

    private func mayUse(_ verb: Verb, _ connection: Connection) -> Bool {
        guard let peer = connection.peerUser else { return false }
        if queue.settings.administrators.contains(peer) { return true }
        guard verb.isReadOnly, let readers = queue.settings.readers else { return false }
        return connection.peerGroups.contains(readers)
    }

    // MARK: Changing

    /// The messages that a request names; nil where a name is no ID, or there is none.
    private func ids(_ request: Frame) -> [MessageID]? {
        let names = request.all("id")
        let ids = names.compactMap { MessageID($0) }
        return ids.isEmpty || ids.count != names.count ? nil : ids
    }

    private func malformed(_ request: Frame) -> Frame {
        .reply(.reject, status: .invalidArguments, text: "id is missing or malformed", tag: request["tag"])
    }

    private func missing(_ id: MessageID, _ request: Frame) -> Frame {
        .reply(.reject, status: .notFound, text: "no such message: \(id)", tag: request["tag"])
    }

    private func flush(_ request: Frame) -> Frame {
        let tag = request["tag"]
        guard request["id"] != nil else {
            let count = queue.flush(destination: request["destination"].map(destinationName))
            return .ok(tag: tag, [.init("count", String(count))])
        }
        guard let ids = ids(request) else { return malformed(request) }
        for id in ids {
            guard let message = queue.store[id] else { return missing(id, request) }
            guard !message.state.isHeld else {
                return .reply(.defer, status: .busy, text: "\(id): it is held", tag: tag)
            }
            queue.flush(message)
        }
        return .ok(tag: tag, [.init("count", String(ids.count))])
    }

    private func change(_ request: Frame, _ change: MessageChange) async -> Frame {
        let tag = request["tag"]
        guard let ids = ids(request) else { return malformed(request) }
        var isLater = false
        for id in ids {
            switch await make(change, of: id) {
            case nil: isLater = true
            case .done: continue
            case .missing: return missing(id, request)
            case .failed(let error):
                return .reply(.defer, status: .systemTrouble, text: "\(id): \(error)", tag: tag)
            }
        }
        var fields: [Frame.Field] = [.init("count", String(ids.count))]
        if isLater { fields.append(.init("text", "as soon as the delivery that is going on is over")) }
        return .ok(tag: tag, fields)
    }

    /// What came of it; nil where it's done after a delivery that goes on.
    private func make(_ change: MessageChange, of id: MessageID) async -> ChangeResult? {
        if let message = queue.store[id], case .delivering = message.state {
            queue.request(change, of: id) { _ in }
            return nil
        }
        return await withCheckedContinuation { continuation in
            queue.request(change, of: id) { continuation.resume(returning: $0) }
        }
    }

    /// What an address is looked up by; a name that is no address, such as a user's, as it is.
    private func key(_ text: String) -> String {
        (try? MailAddress(parsing: text.utf8, options: .envelope)).map { MessageStore.key($0) } ?? text
    }

    /// `local` stands for our mailboxes; they have no name within.
    private func destinationName(_ text: String) -> String { text == "local" ? "" : text.lowercased() }

    // MARK: Queries

    /// One `MESSAGE` for each, as they are found; the peer's reading sets the pace.
    private func list(_ request: Frame, on connection: Connection) async throws {
        let isOfAll = ["state", "sender", "recipient", "destination"].allSatisfy { request[$0] == nil }
        var count = 0
        var arrivals = 0
        // A message may come into a part that was passed while the last one leaves another, as a report does: the queue is
        // called empty only if nothing came meanwhile.
        repeat {
            arrivals = queue.store.arrivals
            count = try await listOnce(request, on: connection)
        } while isOfAll && count == 0 && queue.store.arrivals != arrivals
        connection.write(Frame.ok(tag: request["tag"], [.init("count", String(count))]))
    }

    /// Goes through the queue once; returns how many messages it wrote of.
    private func listOnce(_ request: Frame, on connection: Connection) async throws -> Int {
        var count = 0
        var began = NIODeadline.now()
        for part in parts(request) {
            var rest = part.filter { matches($0, request) }[...]
            while !rest.isEmpty {
                let batch = Array(rest.prefix(Self.listed))
                rest = rest.dropFirst(Self.listed)
                for frame in await describe(batch, request) {
                    connection.write(frame)
                    count += 1
                }
                if connection.hasOutput { try await connection.flush() }
            }
            guard .now() - began >= Self.turn else { continue }
            await connection.eventLoop.letOthersGo()
            began = .now()
        }
        return count
    }

    /// Where the messages are that a request may be about, a part at a time: messages come and go meanwhile.
    private func parts(_ request: Frame) -> some Sequence<[QueuedMessage]> {
        let store = queue.store
        let known: [QueuedMessage]? =
            if let sender = request["sender"] {
                store.messages(sender: key(sender))
            } else if let recipient = request["recipient"] {
                store.messages(recipient: key(recipient))
            } else if let destination = request["destination"] {
                store.messages(destination: destinationName(destination))
            } else {
                nil
            }
        return (0..<(known == nil ? MessageID.shards : 1)).lazy.map { known ?? queue.store.messages(shard: $0) }
    }

    private func matches(_ message: QueuedMessage, _ request: Frame) -> Bool {
        if message.state == .gone { return false }
        if let state = request["state"], message.category.rawValue != state { return false }
        if let sender = request["sender"], message.sender != key(sender) { return false }
        guard let destination = request["destination"].map(destinationName) else { return true }
        return message.jobs.contains { $0.destination == destination }
    }

    private func show(_ request: Frame) async -> Frame {
        guard let id = ids(request)?.first else { return malformed(request) }
        guard let message = queue.store[id], var frame = await describe([message], request, verb: "OK").first else {
            return missing(id, request)
        }
        let (head, isHeld) = ((message.offset, min(message.octets, QueueReport.headerLimit)), message.state.isHeld)
        let found = try? await queue.spool.perform { (spool) throws(SpoolError) in
            let added = try spool.content(of: id, isHeld: isHeld, verified: false).added
            return (added, try spool.piece(of: id, head, at: 0, maximum: head.1, isHeld: isHeld))
        }
        frame.fields.insert(.init("status", EnhancedStatusCode.success.description), at: 0)
        if var (header, start) = found {
            header.writeBuffer(&start)
            frame.body = QueueReport.headerLines(header)
        }
        return frame
    }

    private struct Described: Sendable {
        let envelope: MessageEnvelope
        let progress: [StateEntry]
    }

    /// A frame for each message that has not left meanwhile.
    private func describe(_ messages: [QueuedMessage], _ request: Frame, verb: String = "MESSAGE") async -> [Frame] {
        let places = messages.map { ($0.id, $0.state.isHeld) }
        let found = try? await queue.spool.perform { (spool) throws(SpoolError) in
            places.map { (id, isHeld) -> Described? in
                guard let content = try? spool.content(of: id, isHeld: isHeld, verified: false),
                    let progress = try? spool.state(of: id)
                else { return nil }
                return Described(envelope: content.head.envelope, progress: progress)
            }
        }
        return zip(messages, found ?? []).compactMap { message, described in
            guard let described, message.state != .gone else { return nil }
            return frame(message, described.envelope, MessageProgress(described.progress), request, verb)
        }
    }

    /// nil where an index led to a message that the request is not about.
    private func frame(
        _ message: QueuedMessage,
        _ envelope: MessageEnvelope,
        _ progress: MessageProgress,
        _ request: Frame,
        _ verb: String
    ) -> Frame? {
        if let wanted = request["recipient"].map(key),
            !envelope.recipients.contains(where: { MessageStore.key($0.address) == wanted })
        {
            return nil
        }
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
        let now = queue.clock.now()
        let waits = message.jobs.map { queue.schedule.wait(of: $0, at: now) }
        // Whose turn never came has no words of its own.
        var reasons = progress.texts
        for (job, wait) in zip(message.jobs, waits) {
            guard let failure = wait.failure else { continue }
            for index in job.recipients where reasons[Int(index)] == nil {
                reasons[Int(index)] = "\(failure.status) \(failure.summary)"
            }
        }
        for (index, recipient) in envelope.recipients.enumerated() where !progress.final.contains(index) {
            add("recipient", recipient.description)
            add("reason", reasons[index] ?? "")
        }
        add("next", waits.compactMap(\.until).min().map { String($0 / 1000) })
        add("attempts", message.jobs.map(\.attempts).max().map { String($0) })
        return Frame(verb, fields)
    }

    private func statistics(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        for destination in queue.schedule.destinations.values.sorted(by: { $0.name < $1.name }) {
            var frame = Frame("DESTINATION", tag.map { [.init("tag", $0)] } ?? [])
            frame["name"] = destination.isLocal ? "local" : destination.name
            frame["ready"] = String(destination.line.count)
            frame["deferred"] = String(destination.deferred.count + destination.held.count)
            frame["active"] = String(destination.active)
            frame["limit"] = String(Int(destination.window))
            if let failure = destination.failure {
                frame["blocked-until"] = String(destination.blockedUntil / 1000)
                frame["reason"] = "\(failure.status) \(failure.summary)"
            }
            connection.write(frame)
            if connection.hasOutput { try await connection.flush() }
        }
        var fields: [Frame.Field] = [.init("messages", String(queue.store.count))]
        fields += QueuedMessage.Category.allCases.map { .init($0.rawValue, String(queue.store.count($0))) }
        fields += QueueCounters.names.map { .init("total-\($0)", String(queue.counters.values[$0] ?? 0)) }
        connection.write(Frame.ok(tag: tag, fields))
    }
}
