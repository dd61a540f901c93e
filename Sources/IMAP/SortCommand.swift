/// SORT (RFC 5256 §3), with result options (RFC 5267).
package struct SortCommand: Sendable, Equatable {
    package enum Key: String, Sendable, Equatable, CaseIterable {
        case arrival = "ARRIVAL"
        case cc = "CC"
        case date = "DATE"
        case from = "FROM"
        case size = "SIZE"
        case subject = "SUBJECT"
        case to = "TO"
        /// RFC 5957
        case displayFrom = "DISPLAYFROM"
        case displayTo = "DISPLAYTO"
        /// The best match first (RFC 6203 §6).
        case relevancy = "RELEVANCY"
    }

    package struct Criterion: Sendable, Equatable {
        package var key: Key
        package var isReverse: Bool

        package init(_ key: Key, isReverse: Bool = false) {
            self.key = key
            self.isReverse = isReverse
        }
    }

    package var criteria: [Criterion]
    package var search: SearchCommand

    package init(_ criteria: [Criterion], _ search: SearchCommand) {
        self.criteria = criteria
        self.search = search
    }
}

/// THREAD (RFC 5256 §3).
package struct ThreadCommand: Sendable, Equatable {
    package enum Algorithm: String, Sendable, Equatable, CaseIterable {
        case orderedSubject = "ORDEREDSUBJECT"
        case references = "REFERENCES"
        /// As REFERENCES, but subjects join nothing, and threads are in the order of their latest messages
        /// (draft-ietf-morg-inthread).
        case refs = "REFS"
    }

    package var algorithm: Algorithm
    package var search: SearchCommand

    package init(_ algorithm: Algorithm, _ search: SearchCommand) {
        self.algorithm = algorithm
        self.search = search
    }
}
