import Bus
import DequeModule
import NIOCore
import Network
import Spool

#if canImport(Glibc)
import Glibc
#endif

/// Answers the requests on control.sock (docs/protocols.md, "control.sock").
struct ControlSession {
    let scheduler: Scheduler

    /// Answers one request, with as many replies as it takes.
    func answer(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        switch request.verb {
        case "LIST": try await list(request, on: connection)
        case "STATISTICS": try await statistics(request, on: connection)
        default:
            guard mayAdminister(connection.peerUser) else {
                connection.write(Frame.reply(.reject, status: "5.7.1", text: "only for the administrator", tag: tag))
                return
            }
            connection.write(await administer(request))
        }
    }

    private func mayAdminister(_ peer: UInt32?) -> Bool {
        peer.map { $0 == 0 || $0 == getuid() || scheduler.settings.administrators.contains($0) } ?? false
    }

    private func administer(_ request: Frame) async -> Frame {
        let tag = request["tag"]
        if request.verb == "FLUSH", request["id"] == nil {
            let count = scheduler.flush(destination: request["destination"].map(destinationName))
            return .ok(tag: tag, [.init("count", String(count))])
        }
        let ids = request.all("id").compactMap { MessageID($0) }
        guard !ids.isEmpty, ids.count == request.all("id").count else {
            return .reply(.reject, status: "5.5.4", text: "id is missing or malformed", tag: tag)
        }
        if request.verb == "SHOW" { return await show(ids[0], tag: tag) }
        var isLater = false
        for id in ids {
            let result = await administer(request, id)
            switch result {
            case .done: continue
            case .later: isLater = true
            case .missing: return .reply(.reject, status: "5.5.0", text: "no such message: \(id)", tag: tag)
            case .refused(let why): return .reply(.defer, status: "4.5.0", text: "\(id): \(why)", tag: tag)
            case .failed(let error): return .reply(.defer, status: "4.3.0", text: "\(id): \(error)", tag: tag)
            case nil: return .reply(.reject, status: "5.5.1", text: "unknown verb", tag: tag)
            }
        }
        var fields: [Frame.Field] = [.init("count", String(ids.count))]
        if isLater { fields.append(.init("text", "as soon as the delivery that is going on is over")) }
        return .ok(tag: tag, fields)
    }

    /// nil for an unknown verb.
    private func administer(_ request: Frame, _ id: MessageID) async -> AdministrationResult? {
        switch request.verb {
        case "FLUSH": return scheduler.flush(id)
        case "HOLD": return await scheduler.hold(id)
        case "RELEASE": return await scheduler.release(id)
        case "REQUEUE": return await scheduler.requeue(id)
        case "REMOVE": return await scheduler.remove(id)
        case "BOUNCE": return await scheduler.bounce(id, text: request["text"] ?? "returned by the administrator")
        default: return nil
        }
    }

    /// `local` stands for our mailboxes; they have no name within.
    private func destinationName(_ text: String) -> String { text == "local" ? "" : text.lowercased() }

    // MARK: Looking

    /// One `MESSAGE` for each, as they are found; the peer's reading sets the pace.
    private func list(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        let destination = request["destination"].map(destinationName)
        let state = request["state"]
        var count = 0
        for shard in 0..<MessageID.shards {
            for message in scheduler.table.messages(shard: shard) where !message.isRemoved {
                if let state, message.stateName != state { continue }
                if let destination, !message.jobs.contains(where: { $0.destination.name == destination }) { continue }
                guard let frame = await describe(message, verb: "MESSAGE", tag: tag) else { continue }
                connection.write(frame)
                count += 1
            }
            if connection.hasOutput { try await connection.flush() }
        }
        connection.write(Frame.ok(tag: tag, [.init("count", String(count))]))
    }

    private func show(_ id: MessageID, tag: String?) async -> Frame {
        guard let message = scheduler.table[id], var frame = await describe(message, verb: "OK", tag: tag) else {
            return .reply(.reject, status: "5.5.0", text: "no such message: \(id)", tag: tag)
        }
        let spool = scheduler.spool
        let (offset, isHeld) = (message.offset, message.isHeld)
        let length = min(message.octets, QueueReport.headerLimit)
        let start = try? await scheduler.offLoop { () throws(SpoolError) in
            try spool.read(id, at: offset, maximum: length, isHeld: isHeld)
        }
        frame.fields.insert(.init("status", "2.0.0"), at: 0)
        frame.body = start.map { QueueReport.headerLines($0) }
        return frame
    }

    /// nil where the message has left meanwhile.
    private func describe(_ message: QueuedMessage, verb: String, tag: String?) async -> Frame? {
        let spool = scheduler.spool
        let (id, isHeld) = (message.id, message.isHeld)
        let read = try? await scheduler.offLoop { () throws(SpoolError) in
            (try spool.head(of: id, isHeld: isHeld, verified: false).envelope, try spool.state(of: id))
        }
        guard let (envelope, entries) = read, !message.isRemoved else { return nil }
        let progress = MessageProgress(entries)
        var fields: [Frame.Field] = []
        func add(_ name: String, _ value: String?) { if let value { fields.append(.init(name, value)) } }
        add("tag", tag)
        add("id", id.description)
        add("state", message.stateName)
        add("arrived", String(message.arrived))
        add("octets", String(message.octets))
        add("sender", envelope.sender)
        add("client", envelope.client)
        add("user", envelope.user)
        add("uid", envelope.uid.map { String($0) })
        for (index, recipient) in envelope.recipients.enumerated() where !progress.final.contains(index) {
            add("recipient", recipient)
            add("reason", progress.texts[index] ?? "")
        }
        let waiting = message.jobs.filter { $0.phase == .deferred }.map(\.due).min()
        add("next", waiting.map { String($0 / 1000) })
        add("attempts", message.jobs.map(\.attempts).max().map { String($0) })
        return Frame(verb, fields)
    }

    private func statistics(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        var states: [String: Int] = ["queued": 0, "active": 0, "deferred": 0, "held": 0]
        scheduler.table.forEach { states[$0.stateName, default: 0] += 1 }
        for destination in scheduler.destinations.values.sorted(by: { $0.name < $1.name }) {
            var frame = Frame("DESTINATION", tag.map { [.init("tag", $0)] } ?? [])
            frame["name"] = destination.isLocal ? "local" : destination.name
            frame["ready"] = String(destination.line.count { $0.phase == .ready })
            frame["active"] = String(destination.active)
            frame["limit"] = String(Int(destination.window))
            if destination.failures > 0 {
                frame["blocked-until"] = String(destination.blockedUntil / 1000)
                frame["reason"] = "\(destination.failure.status) \(destination.failure.text)"
            }
            connection.write(frame)
            if connection.hasOutput { try await connection.flush() }
        }
        var fields: [Frame.Field] = [.init("messages", String(scheduler.table.count))]
        fields += states.sorted { $0.key < $1.key }.map { .init($0.key, String($0.value)) }
        fields += QueueCounters.names.map { .init("total-\($0)", String(scheduler.counters.values[$0] ?? 0)) }
        connection.write(Frame.ok(tag: tag, fields))
    }
}
