import Spool

/// Messages by their IDs, in little room: a reference and a half each. The IDs that are compared are the messages' own.
struct MessageTable {
    /// A message is at the place that its ID leads to, or behind it, with no empty one between.
    private var places: [QueuedMessage?] = []
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// In no order.
    var ids: [MessageID] {
        var ids: [MessageID] = []
        ids.reserveCapacity(count)
        for case let message? in places { ids.append(message.id) }
        return ids
    }

    var messages: [QueuedMessage] { places.compactMap { $0 } }

    /// Spreads IDs, also such as were made one after the other.
    static func hash(_ id: MessageID) -> UInt64 {
        (id.random ^ id.time &* 0xD6E8_FEB8_6659_FD93) &* 0x9E37_79B9_7F4A_7C15
    }

    private func home(_ id: MessageID) -> Int { Int((Self.hash(id) >> 32) * UInt64(places.count) >> 32) }

    private func next(_ place: Int) -> Int { place + 1 < places.count ? place + 1 : 0 }

    private func place(_ id: MessageID) -> Int? {
        guard count > 0 else { return nil }
        var place = home(id)
        while let message = places[place] {
            if message.id == id { return place }
            place = next(place)
        }
        return nil
    }

    subscript(id: MessageID) -> QueuedMessage? { place(id).flatMap { places[$0] } }

    /// - Returns: false where there is one of that ID.
    @discardableResult mutating func insert(_ message: QueuedMessage) -> Bool {
        if place(message.id) != nil { return false }
        // A fifth stays empty.
        if (count + 1) * 5 > places.count * 4 { resize(to: places.count + places.count / 2 + 4) }
        put(message)
        count += 1
        return true
    }

    private mutating func put(_ message: QueuedMessage) {
        var place = home(message.id)
        while places[place] != nil { place = next(place) }
        places[place] = message
    }

    private mutating func resize(to size: Int) {
        let former = places
        places = Array(repeating: nil, count: size)
        for case let message? in former { put(message) }
    }

    /// - Returns: whether it was there.
    @discardableResult mutating func remove(_ id: MessageID) -> Bool {
        guard var hole = place(id) else { return false }
        places[hole] = nil
        count -= 1
        if count == 0 {
            places = []
            return true
        }
        // Who came behind it because its place was taken comes forward.
        var place = next(hole)
        while let other = places[place] {
            let home = home(other.id)
            let isWhereItMayStay = hole < place ? hole < home && home <= place : hole < home || home <= place
            if !isWhereItMayStay {
                places[hole] = other
                places[place] = nil
                hole = place
            }
            place = next(place)
        }
        if count * 4 < places.count { resize(to: count * 2 + 4) }
        return true
    }
}
