import MIME

/// A header's fields by their names: made once for a message, however many signatures choose from it.
struct FieldIndex: Sendable {
    /// Places among the fields, in their order, by names in small letters.
    private let places: [[UInt8]: [Int]]

    init(_ header: HeaderBlock) {
        var places: [[UInt8]: [Int]] = [:]
        for (place, field) in header.fields.enumerated() {
            places[header.octets[field.name].map(ASCII.lower), default: []].append(place)
        }
        self.places = places
    }

    /// The places of all fields of a name in small letters.
    func all(_ name: [UInt8]) -> [Int] { places[name] ?? [] }

    /// The fields that h= chooses, each name taking the lowest field that no earlier one took (RFC 6376 §5.4.2).
    ///
    /// - Parameter excluded: the signature's own field, which never signs itself.
    func select(_ names: [[UInt8]], excluding excluded: Int?) -> [Int] {
        var left: [[UInt8]: Int] = [:]
        return names.compactMap { name in
            let all = all(name)
            var count = left[name] ?? all.count
            if count > 0, all[count - 1] == excluded { count -= 1 }
            left[name] = max(0, count - 1)
            return count > 0 ? all[count - 1] : nil
        }
    }
}
