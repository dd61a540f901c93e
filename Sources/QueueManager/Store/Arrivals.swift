import Spool

/// Messages that came or left since the start, in the directories of the spool that are still to be read: they are known,
/// although their files are found there.
struct Arrivals {
    private var ids: Set<MessageID> = []
    private var unread = Set(0..<MessageID.shards)

    /// A message is about to be put into the spool, or has left.
    mutating func announce(_ id: MessageID) {
        if unread.contains(id.shard) { ids.insert(id) }
    }

    func contains(_ id: MessageID) -> Bool { ids.contains(id) }

    /// All that was in a directory of the spool at the start is known.
    mutating func shardWasRead(_ shard: Int) {
        unread.remove(shard)
        if unread.isEmpty { ids = [] }
    }

    /// What is still to be read takes long: only what may be found there is kept in mind.
    mutating func forgetElsewhere() { ids = ids.filter { unread.contains($0.shard) } }
}
