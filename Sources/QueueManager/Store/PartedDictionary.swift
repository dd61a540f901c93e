/// A dictionary that is never long at work: a large one has many parts, each of which grows by itself, and a walk takes one
/// part after the other while entries come and go.
struct PartedDictionary<Key: Hashable, Value> {
    /// None before the first entry: there are very many of these with nothing in them.
    private var parts: [[Key: Value]] = []

    /// With more entries it has all of its parts.
    private static var undivided: Int { 2048 }
    private static var maximum: Int { 256 }

    init() {}

    private func place(of key: Key) -> Int {
        // Not the lowest bits: a part finds its entries by those.
        parts.count <= 1 ? 0 : Int(truncatingIfNeeded: UInt(bitPattern: key.hashValue) >> (UInt.bitWidth - 8))
    }

    subscript(key: Key) -> Value? {
        get { parts.isEmpty ? nil : parts[place(of: key)][key] }
        _modify {
            if parts.isEmpty { parts = [[:]] }
            yield &parts[place(of: key)][key]
            if parts.count == 1, parts[0].count > Self.undivided { divide() }
        }
    }

    subscript(key: Key, default value: Value) -> Value {
        get { self[key] ?? value }
        _modify {
            if parts.isEmpty { parts = [[:]] }
            yield &parts[place(of: key)][key, default: value]
            if parts.count == 1, parts[0].count > Self.undivided { divide() }
        }
    }

    private mutating func divide() {
        let all = parts[0]
        parts = Array(repeating: [:], count: Self.maximum)
        for (key, value) in all { parts[place(of: key)][key] = value }
    }

    var count: Int { parts.reduce(0) { $0 + $1.count } }

    // Not by a key path: of a generic type it's put together anew each time.
    var isEmpty: Bool { parts.allSatisfy { $0.isEmpty } }

    // MARK: Walks

    /// How many parts there are now. Who goes through all of these, in their order, has met every entry that stays; later there
    /// may be more.
    var partCount: Int { parts.count }

    subscript(part part: Int) -> [Key: Value] { parts.indices.contains(part) ? parts[part] : [:] }

    /// Takes an entry out; nil where there is none.
    mutating func popFirst() -> (key: Key, value: Value)? {
        for part in parts.indices where !parts[part].isEmpty { return parts[part].popFirst() }
        return nil
    }

    /// Lets entries of one part go.
    mutating func filter(part: Int, _ isKept: (Key, Value) -> Bool) {
        guard parts.indices.contains(part) else { return }
        parts[part] = parts[part].filter(isKept)
    }
}
