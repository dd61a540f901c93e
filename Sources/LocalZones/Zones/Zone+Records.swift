import DNS

extension Zone {
    /// All records but the SOA record, names in canonical order (RFC 4034 §6.1).
    var sortedRecords: [ResourceRecord] {
        let records = Array(records.dropFirst())
        let keyed = records.map { (key: Self.sortKey($0.name) + [UInt8](integer: $0.type.rawValue), record: $0) }
        return keyed.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.record)
    }

    /// All names with their records in canonical order, also those that are only there because of others below them.
    var sortedNames: [(name: DomainName, sets: ZoneNodes.Sets)] {
        let keyed = nodes.all.map { (key: Self.sortKey($0.name), node: $0) }
        return keyed.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.node)
    }

    /// Octets that sort as names do: labels from the right, small letters, each with an end that is less than any octet
    /// of a label.
    private static func sortKey(_ name: DomainName) -> [UInt8] {
        var key: [UInt8] = []
        key.reserveCapacity(name.wireCount + 2)
        for label in name.lowercased.labels.reversed() {
            for octet in label {
                // A zero in a label becomes two octets, so that it isn't taken for an end.
                if octet <= 1 { key += [1, octet] } else { key.append(octet) }
            }
            key.append(0)
        }
        return key
    }
}
