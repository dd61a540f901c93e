/// Values by key within a limit of octets; what was unused longest goes first.
package struct BoundedCache<Key: Hashable, Value> {
    fileprivate struct Slot {
        var key: Key
        var value: Value?
        var cost: Int
        var newer: Int
        var older: Int
    }

    private var index: [Key: Int] = [:]
    private var slots: [Slot] = []
    private var free: [Int] = []
    private var newest = -1
    private var oldest = -1

    /// What all values may cost together, from the next one on that is kept. Octets.
    package var limit: Int
    /// What all values cost now. Octets.
    package private(set) var total = 0

    /// What each value costs beside its own octets: its slot, and its place in the index at its usual load.
    package static var overhead: Int {
        MemoryLayout<Slot>.stride + 2 * (MemoryLayout<Key>.stride + MemoryLayout<Int>.stride)
    }

    package init(limit: Int) {
        self.limit = limit
    }

    package var count: Int { index.count }

    /// The value, which counts as used now.
    package mutating func value(for key: Key) -> Value? {
        guard let slot = index[key] else { return nil }
        if slot != newest {
            unlink(slot)
            linkAsNewest(slot)
        }
        return slots[slot].value
    }

    /// Keeps a value. One that alone is over the limit is not kept.
    package mutating func insert(_ value: Value, for key: Key, cost: Int) {
        remove(key)
        let cost = cost + Self.overhead
        guard cost <= limit else { return }
        while total + cost > limit, oldest >= 0 { remove(slots[oldest].key) }
        let slot: Int
        let entry = Slot(key: key, value: value, cost: cost, newer: -1, older: -1)
        if let reused = free.popLast() {
            slot = reused
            slots[slot] = entry
        } else {
            slot = slots.count
            slots.append(entry)
        }
        index[key] = slot
        total += cost
        linkAsNewest(slot)
    }

    package mutating func remove(_ key: Key) {
        guard let slot = index.removeValue(forKey: key) else { return }
        unlink(slot)
        total -= slots[slot].cost
        slots[slot].value = nil
        free.append(slot)
    }

    package mutating func removeAll() {
        self = BoundedCache(limit: limit)
    }

    /// Looks at all values, which don't count as used by that.
    package func forEach(_ body: (Key, Value) -> Void) {
        for slot in index.values {
            if let value = slots[slot].value { body(slots[slot].key, value) }
        }
    }

    private mutating func unlink(_ slot: Int) {
        let (newer, older) = (slots[slot].newer, slots[slot].older)
        if newer >= 0 { slots[newer].older = older } else { newest = older }
        if older >= 0 { slots[older].newer = newer } else { oldest = newer }
    }

    private mutating func linkAsNewest(_ slot: Int) {
        slots[slot].newer = -1
        slots[slot].older = newest
        if newest >= 0 { slots[newest].newer = slot }
        newest = slot
        if oldest < 0 { oldest = slot }
    }
}

extension BoundedCache: Sendable where Key: Sendable, Value: Sendable {}
extension BoundedCache.Slot: Sendable where Key: Sendable, Value: Sendable {}

/// What an array of octets takes in memory: its header, and malloc's rounding.
package func memoryCost(ofOctets count: Int) -> Int {
    count == 0 ? 0 : (32 + count + 8 + 15) & ~15
}

extension Array {
    /// The same without room for more, for what stays long.
    package var compacted: [Element] { withUnsafeBufferPointer { [Element]($0) } }

    /// What the elements take in memory where they are compacted, without what they refer to. Octets.
    package var memoryCost: Int { Caching.memoryCost(ofOctets: count * MemoryLayout<Element>.stride) }
}
