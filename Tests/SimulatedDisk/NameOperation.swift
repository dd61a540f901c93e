/// What a call did to the entries of one directory or of two: durable or lost as a whole.
struct NameOperation {
    struct Change {
        let directory: SimulatedInode
        let name: String
        /// What has the name now.
        let inode: SimulatedInode?

        func apply() { directory.durableEntries[name] = inode }

        var entry: Entry { Entry(directory: ObjectIdentifier(directory), name: name) }
    }

    struct Entry: Hashable {
        let directory: ObjectIdentifier
        let name: String
    }

    let first: Change
    let second: Change?

    func touches(_ directory: SimulatedInode) -> Bool {
        first.directory === directory || second?.directory === directory
    }

    func apply() {
        first.apply()
        second?.apply()
    }
}

extension [NameOperation] {
    /// Which operations become durable where those must that `isWanted` names: also the earlier ones of the same entries.
    func closure(_ isWanted: (NameOperation) -> Bool) -> [Bool] {
        var result = [Bool](repeating: false, count: count)
        var needed: Set<NameOperation.Entry> = []
        for index in indices.reversed() {
            let operation = self[index]
            let isNeeded =
                !needed.isEmpty
                && (needed.contains(operation.first.entry)
                    || operation.second.map { needed.contains($0.entry) } == true)
            // Asked in any case: the answer may draw a random number.
            let isWanted = isWanted(operation)
            guard isWanted || isNeeded else { continue }
            result[index] = true
            needed.insert(operation.first.entry)
            if let second = operation.second { needed.insert(second.entry) }
        }
        return result
    }

    /// Makes these durable and forgets them.
    mutating func settle(_ chosen: [Bool]) {
        var kept: [NameOperation] = []
        for (operation, isChosen) in zip(self, chosen) {
            if isChosen { operation.apply() } else { kept.append(operation) }
        }
        self = kept
    }
}
