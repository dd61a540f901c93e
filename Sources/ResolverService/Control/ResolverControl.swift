import Bus
import DNS
import LocalZones
import Logging
import NIOCore
import Network
import Recursion

#if canImport(Glibc)
import Glibc
#endif

/// Answers the requests on dns-control.sock (docs/protocols.md, "dns-control.sock").
struct ResolverControl: Sendable {
    let server: ResolverServer

    /// How many cached answers one request lists.
    private static let maximumEntries = 100_000

    /// Answers one request, with as many replies as it takes.
    func answer(_ request: Frame, on connection: Connection) async throws {
        let tag = request["tag"]
        let name = request["name"].map { DomainName(lenient: $0) }
        if case .some(nil) = name {
            connection.write(Frame.reply(.reject, status: "5.5.4", text: "name is not a domain name", tag: tag))
            return
        }
        switch request.verb {
        case "LIST", "SHOW": try await list(name ?? nil, isExact: request.verb == "SHOW", tag, connection)
        case "FLUSH": await flush(name ?? nil, request["below"] == "yes", tag, connection)
        case "STATISTICS": await statistics(tag, connection)
        case "ZONES": zones(tag, connection)
        case "TRANSFER": await transfer(name ?? nil, tag, connection)
        case "ANCHORS": anchors(tag, connection)
        case "SERVERS": try await servers(tag, connection)
        case "LOG": await log(request["queries"], tag, connection)
        case "RELOAD":
            await server.reload()
            connection.write(Frame.ok(tag: tag))
        case "SYNC": await sync(name ?? nil, tag, connection)
        case "PUBLISH": await publish(request, name ?? nil, tag, connection)
        default: connection.write(Frame.reply(.reject, status: "5.5.1", text: "unknown verb", tag: tag))
        }
    }

    private func list(_ name: DomainName?, isExact: Bool, _ tag: String?, _ connection: Connection) async throws {
        var count = 0
        for shard in server.shards {
            let entries = await shard.onLoop { shard in
                shard.entries(name, isExact: isExact, maximum: Self.maximumEntries)
            }
            for entry in entries.prefix(Self.maximumEntries - count) {
                connection.write(entry.frame(tag))
                count += 1
                if count.isMultiple(of: 64) { try await connection.flush() }
            }
        }
        connection.write(Frame.ok(tag: tag, [.init("count", String(count))]))
    }

    private func flush(_ name: DomainName?, _ isBelow: Bool, _ tag: String?, _ connection: Connection) async {
        let count = await server.flush(name, below: isBelow)
        connection.write(Frame.ok(tag: tag, [.init("count", String(count))]))
    }

    private func statistics(_ tag: String?, _ connection: Connection) async {
        var sum = ShardStatistics()
        for shard in server.shards { sum.add(await shard.onLoop { $0.statistics }) }
        let ready = await server.readyOctets
        let fields: [(String, Int)] = [
            ("answers", sum.answers), ("octets", sum.octets + sum.derivedOctets + ready.octets),
            ("limit", sum.limit + ready.limit), ("answer-octets", sum.octets), ("ready-octets", ready.octets),
            ("zone-octets", sum.derivedOctets), ("in-flight", sum.inFlight),
            ("waiting", sum.waiting), ("servers", sum.servers), ("event-loops", server.shards.count),
        ]
        connection.write(Frame.ok(tag: tag, fields.map { .init($0.0, String($0.1)) }))
    }

    private func zones(_ tag: String?, _ connection: Connection) {
        for zone in server.localZones {
            var frame = Frame("ZONE", tag.map { [.init("tag", $0)] } ?? [])
            frame["name"] = zone.name.description
            frame["kind"] = zone.kind
            frame["serial"] = zone.serial.map { String($0) }
            frame["records"] = zone.records.map { String($0) }
            if let secondary = zone.secondary {
                frame["state"] = secondary.state.rawValue
                frame["confirmed"] = secondary.confirmed.map { String($0) }
                frame["expires"] = secondary.expires.map { String($0) }
                frame["next-check"] = String(secondary.nextCheck)
                frame["reason"] = secondary.problem
            }
            connection.write(frame)
        }
        connection.write(Frame.ok(tag: tag))
    }

    private func transfer(_ name: DomainName?, _ tag: String?, _ connection: Connection) async {
        guard let name, let result = await server.authority.transfer(name) else {
            connection.write(
                Frame.reply(.reject, status: "5.5.4", text: "there is no secondary zone of that name", tag: tag)
            )
            return
        }
        switch result {
        case .success(let serial):
            connection.write(Frame.ok(tag: tag, [.init("name", "\(name)"), .init("serial", String(serial))]))
        case .failure(let failure):
            connection.write(Frame.reply(.defer, status: "4.4.0", text: failure.reason, tag: tag))
        }
    }

    private func sync(_ name: DomainName?, _ tag: String?, _ connection: Connection) async {
        guard let failures = await server.authority.updates.write(name) else {
            connection.write(
                Frame.reply(.reject, status: "5.5.4", text: "no zone of that name takes updates", tag: tag)
            )
            return
        }
        guard failures.isEmpty else {
            let text = failures.joined(separator: "; ")
            connection.write(Frame.reply(.reject, status: "5.3.0", text: text, tag: tag))
            return
        }
        connection.write(Frame.ok(tag: tag))
    }

    /// How long what is published may be kept. Seconds.
    private static let timeToLive: UInt32 = 3600

    private func publish(_ request: Frame, _ name: DomainName?, _ tag: String?, _ connection: Connection) async {
        func refuse(_ status: String, _ text: String) {
            connection.write(Frame.reply(.reject, status: status, text: text, tag: tag))
        }
        guard let name else { return refuse("5.5.4", "name is missing") }
        let text = request["text"].map { Array($0.utf8) }
        switch await server.authority.updates.publish(text, at: name, timeToLive: Self.timeToLive) {
        case .done(let zone): connection.write(Frame.ok(tag: tag, [.init("zone", zone.description)]))
        case .elsewhere: refuse("5.4.4", "\(name) is in no zone of this server")
        case .notHere(let zone, let reason): refuse("5.7.1", "\(zone): \(reason)")
        case .failed(let fault):
            connection.write(Frame.reply(.defer, status: "4.3.0", text: fault.reason, tag: tag))
        }
    }

    private func anchors(_ tag: String?, _ connection: Connection) {
        for anchor in server.anchorDescriptions {
            var frame = Frame("ANCHOR", tag.map { [.init("tag", $0)] } ?? [])
            frame["name"] = anchor.zone.description
            frame["key-tag"] = String(anchor.signer.keyTag)
            frame["algorithm"] = String(anchor.signer.algorithm)
            frame["state"] = anchor.state
            frame["since"] = anchor.since.map { String($0) }
            frame["until"] = anchor.until.map { String($0) }
            connection.write(frame)
        }
        connection.write(Frame.ok(tag: tag))
    }

    private func servers(_ tag: String?, _ connection: Connection) async throws {
        for shard in server.shards {
            for server in await shard.onLoop({ $0.servers }) {
                var frame = Frame("SERVER", tag.map { [.init("tag", $0)] } ?? [])
                frame["address"] = server.address
                frame["kind"] = server.kind
                frame["milliseconds"] = String(server.milliseconds)
                frame["state"] = server.state
                connection.write(frame)
            }
            try await connection.flush()
        }
        connection.write(Frame.ok(tag: tag))
    }

    private func log(_ queries: String?, _ tag: String?, _ connection: Connection) async {
        switch queries {
        case "on": await server.logQueries(true)
        case "off": await server.logQueries(false)
        case nil: break
        default:
            connection.write(Frame.reply(.reject, status: "5.5.4", text: "queries is neither on nor off", tag: tag))
            return
        }
        let state = await server.logsQueries ? "on" : "off"
        connection.write(Frame.ok(tag: tag, [.init("queries", state)]))
    }
}

extension DomainName {
    /// A name as people write it; nil for what is none.
    fileprivate init?(lenient text: String) {
        guard let name = try? DomainName(text) else { return nil }
        self = name
    }
}

extension CacheEntry {
    func frame(_ tag: String?) -> Frame {
        var frame = Frame("ENTRY", tag.map { [.init("tag", $0)] } ?? [])
        frame["name"] = name.description
        frame["type"] = type?.description ?? "*"
        frame["code"] = code.description
        frame["ttl"] = String(timeToLive)
        switch security {
        case .secure: frame["security"] = "secure"
        case .insecure: frame["security"] = "insecure"
        case .bogus: frame["security"] = "bogus"
        case .unchecked: break
        }
        frame["reason"] = reason
        frame.fields += records.map { .init("record", $0) }
        return frame
    }
}
