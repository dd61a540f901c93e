import NIOCore

/// The connections of a listener: who has how many, and who goes when there is no place left. A value behind its owner's
/// lock.
struct AdmittedConnections {
    private struct Entry {
        let connection: Connection
        let client: [UInt8]?
        /// Counts up: who came first has the smallest.
        let number: UInt64
        var standing: ConnectionStanding
    }

    /// What became of a new connection.
    enum Admission {
        case admitted
        /// It's admitted in place of another, which is to be dismissed.
        case inPlaceOf(Connection)
        case refused(Listener.Refusal)
    }

    private let limits: Listener.Limits
    private var entries: [ObjectIdentifier: Entry] = [:]
    private var clients: [[UInt8]: Int] = [:]
    private var number: UInt64 = 0
    /// Those that were dismissed and are not over yet.
    private var leaving: Set<ObjectIdentifier> = []

    init(_ limits: Listener.Limits) { self.limits = limits }

    var count: Int { entries.count }
    var connections: [Connection] { entries.values.map(\.connection) }

    /// - Parameters:
    ///   - client: who it is from; nil for whom no limit holds.
    mutating func admit(_ connection: Connection, client: [UInt8]?) -> Admission {
        var dismissed: Connection?
        if let client {
            let mine = clients[client, default: 0]
            if mine >= limits.perClient { return .refused(.tooManyFromClient) }
            if entries.count >= limits.connections {
                guard let left = makeRoom(besides: mine) else { return .refused(.tooManyConnections) }
                dismissed = left
            }
            clients[client, default: 0] += 1
        }
        number += 1
        entries[ObjectIdentifier(connection)] = Entry(
            connection: connection,
            client: client,
            number: number,
            standing: .stranger
        )
        return dismissed.map { .inPlaceOf($0) } ?? .admitted
    }

    /// A proxy has said who the client of an admitted connection is: it counts as that one's from now on. Where there is no
    /// place left, another is dismissed for it.
    ///
    /// - Returns: why it can't stay; nothing changes then.
    mutating func recount(_ connection: Connection, client: [UInt8]) -> Listener.Refusal? {
        let id = ObjectIdentifier(connection)
        guard var entry = entries[id] else { return nil }
        if clients[client, default: 0] >= limits.perClient { return .tooManyFromClient }
        // Proxies are never turned away, so the places may be taken: somebody goes as for a client that comes itself.
        if entries.count > limits.connections {
            guard let left = makeRoom(besides: clients[client, default: 0]) else { return .tooManyConnections }
            left.eventLoop.execute { left.dismiss() }
        }
        release(entry.client)
        clients[client, default: 0] += 1
        entry = Entry(connection: entry.connection, client: client, number: entry.number, standing: entry.standing)
        entries[id] = entry
        return nil
    }

    /// Takes away the place of another connection for a client that has so many.
    ///
    /// - Returns: the one that is to be dismissed; nil where none may be.
    private mutating func makeRoom(besides mine: Int) -> Connection? {
        // Those that leave still hold their descriptors: never more of them than places.
        guard leaving.count < limits.connections, let id = victim(besides: mine),
            let entry = entries.removeValue(forKey: id)
        else { return nil }
        leaving.insert(id)
        release(entry.client)
        return entry.connection
    }

    /// A connection is over.
    mutating func remove(_ connection: Connection) {
        let id = ObjectIdentifier(connection)
        if let entry = entries.removeValue(forKey: id) { release(entry.client) } else { leaving.remove(id) }
    }

    private mutating func release(_ client: [UInt8]?) {
        guard let client, let count = clients[client] else { return }
        clients[client] = count > 1 ? count - 1 : nil
    }

    /// How many connections the client of one has; 0 for whom no limit holds.
    func count(ofClientOf connection: Connection) -> Int {
        entries[ObjectIdentifier(connection)]?.client.flatMap { clients[$0] } ?? 0
    }

    mutating func note(_ standing: ConnectionStanding, of connection: Connection) {
        entries[ObjectIdentifier(connection)]?.standing = standing
    }

    /// Who has to go for a client that has so many: the oldest stranger's connection of whoever has most of them, and more
    /// than the client; where all are at work, the oldest of whoever has more than the client will have.
    private func victim(besides mine: Int) -> ObjectIdentifier? {
        var strangers: [[UInt8]: Int] = [:]
        for entry in entries.values where entry.standing == .stranger {
            if let client = entry.client { strangers[client, default: 0] += 1 }
        }
        if let most = strangers.values.max(), most > mine {
            return oldest(.stranger) { strangers[$0] == most }
        }
        guard let most = clients.values.max(), most > mine + 1 else { return nil }
        return oldest(.atWork) { clients[$0] == most }
    }

    private func oldest(_ standing: ConnectionStanding, where isMeant: ([UInt8]) -> Bool) -> ObjectIdentifier? {
        var found: (id: ObjectIdentifier, number: UInt64)?
        for (id, entry) in entries where entry.standing == standing && entry.number < found?.number ?? .max {
            if let client = entry.client, isMeant(client) { found = (id, entry.number) }
        }
        return found?.id
    }
}

/// How much a connection has to lose when places are short.
package enum ConnectionStanding: Sendable {
    /// Nothing: it has not said who it is, and nothing goes on.
    case stranger
    /// It's in the middle of something, such as a message.
    case atWork
    /// Its client is known: it's never dismissed.
    case known
}
