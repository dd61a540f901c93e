import DNS

extension Zone {
    /// Where the records of a name come from (RFC 1034 §4.3.2, RFC 4592, RFC 6672).
    package enum Location {
        /// The name is there, perhaps without records.
        case node([RecordType: [ResourceRecord]])
        /// It isn't, and a wildcard stands for it.
        case wildcard(DomainName, [RecordType: [ResourceRecord]])
        /// It belongs to a zone below, which begins at a name and has these NS records.
        case cut(DomainName, [ResourceRecord])
        /// It's below a DNAME record.
        case redirection(ResourceRecord)
        /// It isn't there; the longest name above it that is.
        case missing(encloser: DomainName)
    }

    /// - Parameters:
    ///   - name: at or below the zone's top.
    ///   - type: DS records are on this side of a cut, everything else below it (RFC 4035 §3.1.4.1).
    package func locate(_ name: DomainName, _ type: RecordType) -> Location {
        let depth = name.labelCount
        var encloser = origin
        for labels in origin.labelCount...max(depth, origin.labelCount) {
            let step = name.suffix(labels: labels)
            guard let sets = nodes[step] else {
                guard let source = try? encloser.prepending(label: [0x2A]), let sets = nodes[source] else {
                    return .missing(encloser: encloser)
                }
                return .wildcard(source, sets)
            }
            encloser = step
            if labels > origin.labelCount, let servers = sets[.ns], labels < depth || type != .ds {
                return .cut(step, servers)
            }
            if labels < depth, let redirection = sets[.dname]?.first { return .redirection(redirection) }
        }
        return .node(nodes[name] ?? [:])
    }
}
