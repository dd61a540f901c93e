import Spool

/// All messages in the queue, by ID; in as many parts as the spool has directories, so that a walk can go part by part
/// while messages come and go.
struct MessageTable {
    private var shards = [[MessageID: QueuedMessage]](repeating: [:], count: MessageID.shards)
    private(set) var count = 0

    subscript(id: MessageID) -> QueuedMessage? { shards[id.shard][id] }

    mutating func insert(_ message: QueuedMessage) {
        if shards[message.id.shard].updateValue(message, forKey: message.id) == nil { count += 1 }
    }

    mutating func remove(_ id: MessageID) {
        if shards[id.shard].removeValue(forKey: id) != nil { count -= 1 }
    }

    /// One part's messages.
    func messages(shard: Int) -> [QueuedMessage] { Array(shards[shard].values) }

    /// Calls the closure with each message; it must not insert or remove.
    func forEach(_ body: (QueuedMessage) -> Void) {
        for shard in shards { shard.values.forEach(body) }
    }
}
