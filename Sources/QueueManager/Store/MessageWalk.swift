import Spool

/// Goes through what an index leads to, a few messages at a time: by IDs, for what they name may leave meanwhile. What comes
/// meanwhile may be met or not.
struct MessageWalk {
    private let index: MessageStore.Index
    /// How many parts there were at the beginning; nil before it.
    private var parts: Int?
    private var part = 0
    private var ids: ArraySlice<MessageID> = []

    init(_ index: MessageStore.Index) { self.index = index }

    /// The next ones, so many at most, none of them perhaps; nil after the last.
    mutating func next(_ maximum: Int, in store: MessageStore) -> ArraySlice<MessageID>? {
        if ids.isEmpty {
            let count = parts ?? store.partCount(index)
            guard part < count else { return nil }
            ids = store.ids(index, part: part)[...]
            part += 1
            parts = count
        }
        defer { ids = ids.dropFirst(maximum) }
        return ids.prefix(maximum)
    }
}
