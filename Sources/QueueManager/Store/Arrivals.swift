import Spool

/// Messages that came or left since the start, in the directories of the spool that are still to be read: they are known,
/// although their files are found there.
struct Arrivals {
    /// By directory; nil for one that was read.
    private var unread = [Set<MessageID>?](repeating: [], count: MessageID.shards)

    /// A message is about to be put into the spool, or has left.
    mutating func announce(_ id: MessageID) { unread[id.shard]?.insert(id) }

    func contains(_ id: MessageID) -> Bool { unread[id.shard]?.contains(id) ?? false }

    /// All that was in a directory of the spool at the start is known.
    mutating func shardWasRead(_ shard: Int) { unread[shard] = nil }
}
