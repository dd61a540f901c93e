import DNS
import HashTreeCollections

/// The names of a zone with their records. A changed copy shares with the one before all that is equal, so that a version
/// more of a large zone costs little.
struct ZoneNodes: Sendable {
    typealias Sets = [RecordType: [ResourceRecord]]

    private struct Node: Sendable {
        var sets: Sets = [:]
        /// How many names are one label longer.
        var children = 0
    }

    let origin: DomainName
    private(set) var recordCount = 0
    private var nodes: TreeDictionary<DomainName, Node> = [:]

    init(origin: DomainName) {
        self.origin = origin
        nodes[origin] = Node()
    }

    /// The records of a name; empty for one that only others lie below of, nil for one that isn't there.
    subscript(_ name: DomainName) -> Sets? { nodes[name]?.sets }

    /// Whether other names lie below a name.
    func hasNamesBelow(_ name: DomainName) -> Bool { nodes[name].map { $0.children > 0 } ?? false }

    /// All names with their records, in no order.
    var all: some Sequence<(name: DomainName, sets: Sets)> { nodes.lazy.map { ($0.key, $0.value.sets) } }

    /// All records, in no order.
    var records: some Sequence<ResourceRecord> { nodes.lazy.flatMap { $0.value.sets.lazy.flatMap(\.value) } }

    /// Puts records in the place of a set; none take it away, and with its last set a name, and names above it that were
    /// there only because of it.
    ///
    /// - Parameter name: at or below the origin.
    mutating func set(_ records: [ResourceRecord], _ type: RecordType, at name: DomainName) {
        if nodes[name] == nil {
            guard !records.isEmpty else { return }
            add(name)
        }
        let former = nodes[name]?.sets[type]?.count ?? 0
        nodes[name, default: Node()].sets[type] = records.isEmpty ? nil : records
        recordCount += records.count - former
        if records.isEmpty { prune(name) }
    }

    private mutating func add(_ name: DomainName) {
        nodes[name] = Node()
        var name = name
        while name != origin, let parent = name.parent {
            let isKnown = nodes[parent] != nil
            nodes[parent, default: Node()].children += 1
            if isKnown { return }
            name = parent
        }
    }

    private mutating func prune(_ name: DomainName) {
        var name = name
        while name != origin, let node = nodes[name], node.sets.isEmpty, node.children == 0, let parent = name.parent {
            nodes[name] = nil
            nodes[parent, default: Node()].children -= 1
            name = parent
        }
    }
}
