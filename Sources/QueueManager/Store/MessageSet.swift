import Spool

/// What an index leads to: mostly to one message, else to so many parts that none is large.
enum MessageSet {
    case none
    case one(QueuedMessage)
    /// One part, or all of them.
    case many([MessageTable])

    /// With more messages it has all of its parts.
    private static let undivided = 2048
    private static let maximum = 256

    var count: Int {
        switch self {
        case .none: 0
        case .one: 1
        case .many(let parts): parts.reduce(0) { $0 + $1.count }
        }
    }

    var isEmpty: Bool {
        switch self {
        case .none: true
        case .one: false
        case .many(let parts): parts.allSatisfy(\.isEmpty)
        }
    }

    mutating func insert(_ message: QueuedMessage) {
        switch self {
        case .none: self = .one(message)
        case .one(let other):
            guard other !== message else { return }
            var part = MessageTable()
            part.insert(other)
            part.insert(message)
            self = .many([part])
        case .many(var parts):
            // So that it isn't copied.
            self = .none
            parts[Self.place(message.id, parts.count)].insert(message)
            if parts.count == 1, parts[0].count > Self.undivided {
                var divided = Array(repeating: MessageTable(), count: Self.maximum)
                for message in parts[0].messages { divided[Self.place(message.id, divided.count)].insert(message) }
                parts = divided
            }
            self = .many(parts)
        }
    }

    mutating func remove(_ message: QueuedMessage) {
        switch self {
        case .none: break
        case .one(let other): if other === message { self = .none }
        case .many(var parts):
            self = .none
            parts[Self.place(message.id, parts.count)].remove(message.id)
            if parts.count > 1 || parts[0].count > 0 { self = .many(parts) }
        }
    }

    /// Other bits than those by which a part finds its messages.
    private static func place(_ id: MessageID, _ count: Int) -> Int {
        count == 1 ? 0 : Int(MessageTable.hash(id) >> 24 & UInt64(maximum - 1))
    }

    // MARK: Walks

    /// How many parts there are now; later there may be more.
    var partCount: Int {
        switch self {
        case .none: 0
        case .one: 1
        case .many(let parts): parts.count
        }
    }

    /// The IDs of one part, in no order.
    func ids(part: Int) -> [MessageID] {
        switch self {
        case .one(let message) where part == 0: [message.id]
        case .many(let parts) where parts.indices.contains(part): parts[part].ids
        case .none, .one, .many: []
        }
    }
}

/// The messages of one sender, or for one destination, all of which share its name.
final class MessageGroup {
    let name: String
    /// Changed by the store alone.
    var messages = MessageSet.none

    init(_ name: String) { self.name = name }
}
