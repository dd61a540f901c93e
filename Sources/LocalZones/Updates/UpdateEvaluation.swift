import DNS
import Daemon
import ZoneTransfer

/// What comes of a dynamic update (RFC 2136 §3).
enum UpdateOutcome {
    case refused(UpdateFault)
    /// All is well, and nothing was to be changed.
    case unchanged
    case changed(Zone, ZoneDifference)
}

/// Makes an update on a zone for the holder of a key, as far as the zone's rules let it. No I/O.
struct UpdateEvaluation {
    private let rules: [UpdateRule]
    private let signer: DomainName
    private var editor: ZoneEditor

    /// How many records a zone may get by updates.
    private static let maximumRecords = 5_000_000
    /// And a set: many more don't fit into a message, and each one that comes is compared with all that are there.
    private static let maximumSet = 1000

    static func evaluate(
        _ request: UpdateRequest,
        on zone: Zone,
        rules: [UpdateRule],
        signer: DomainName
    ) -> UpdateOutcome {
        // Who may change nothing learns nothing from prerequisites either.
        let rules = rules.filter { $0.key == signer }
        guard !rules.isEmpty else { return .refused(UpdateFault(.refused, "this key may change nothing here")) }
        var evaluation = UpdateEvaluation(rules: rules, signer: signer, editor: ZoneEditor(zone))
        do {
            try evaluation.checkPrerequisites(request.prerequisites)
            try evaluation.scan(request.updates)
            for record in request.updates { try evaluation.checkPermission(record) }
            for record in request.updates { try evaluation.apply(record) }
        } catch {
            return .refused(error)
        }
        guard let (zone, difference) = evaluation.editor.finish() else { return .unchanged }
        guard zone.recordCount <= maximumRecords else {
            return .refused(UpdateFault(.refused, "the zone would get too large"))
        }
        return .changed(zone, difference)
    }

    // MARK: Prerequisites (RFC 2136 §3.2)

    private func checkPrerequisites(_ records: [ResourceRecord]) throws(UpdateFault) {
        struct SetKey: Hashable {
            var name: DomainName
            var type: RecordType
        }
        var wanted: [SetKey: [ResourceRecord]] = [:]
        for record in records {
            guard record.timeToLive == 0 else { throw UpdateFault(.formatError, "a prerequisite with a time to live") }
            guard record.name.isSubdomain(of: editor.origin) else {
                throw UpdateFault(.notZone, "\(record.name) is not in the zone")
            }
            switch record.class {
            case .any: try checkPresence(record)
            case .none: try checkAbsence(record)
            case .internet:
                guard !record.type.isMeta else { throw UpdateFault(.formatError, "\(record.type) is no data") }
                wanted[SetKey(name: record.name, type: record.type), default: []].append(record)
            default: throw UpdateFault(.formatError, "a prerequisite of class \(record.class)")
            }
        }
        for (key, records) in wanted {
            let there = editor.records(key.name, key.type)
            guard Set(records.map(RecordIdentity.init)) == Set(there.map(RecordIdentity.init)) else {
                throw UpdateFault(.noSuchSet, "\(key.name) \(key.type) is otherwise")
            }
        }
    }

    private func checkPresence(_ record: ResourceRecord) throws(UpdateFault) {
        try checkForm(record)
        if record.type == .any {
            guard !editor.sets(record.name).isEmpty else { throw UpdateFault(.nameError, "there is no \(record.name)") }
        } else if editor.records(record.name, record.type).isEmpty {
            throw UpdateFault(.noSuchSet, "there is no \(record.name) \(record.type)")
        }
    }

    private func checkAbsence(_ record: ResourceRecord) throws(UpdateFault) {
        try checkForm(record)
        if record.type == .any {
            guard editor.sets(record.name).isEmpty else { throw UpdateFault(.nameExists, "there is \(record.name)") }
        } else if !editor.records(record.name, record.type).isEmpty {
            throw UpdateFault(.setExists, "there is \(record.name) \(record.type)")
        }
    }

    private func checkForm(_ record: ResourceRecord) throws(UpdateFault) {
        guard record.data.isEmpty, !record.type.isMeta || record.type == .any else {
            throw UpdateFault(.formatError, "a prerequisite of the wrong form")
        }
    }

    // MARK: What is to be changed (RFC 2136 §3.4)

    /// Looks at all of the update section before anything is changed (RFC 2136 §3.4.1).
    private func scan(_ records: [ResourceRecord]) throws(UpdateFault) {
        for record in records {
            guard record.name.isSubdomain(of: editor.origin) else {
                throw UpdateFault(.notZone, "\(record.name) is not in the zone")
            }
            let isRight =
                switch record.class {
                case .internet: !record.type.isMeta
                case .any:
                    record.timeToLive == 0 && record.data.isEmpty && (!record.type.isMeta || record.type == .any)
                case .none: record.timeToLive == 0 && !record.type.isMeta
                default: false
                }
            guard isRight else { throw UpdateFault(.formatError, "an update of the wrong form") }
        }
    }

    /// RFC 2136 §3.3, by the zone's rules. Taking away all of a name needs the right to each of its sets.
    private func checkPermission(_ record: ResourceRecord) throws(UpdateFault) {
        let types: [RecordType]
        if record.type == .any {
            let present = editor.sets(record.name).keys.filter { !isKept(record.name, $0) }
            // Of a name that isn't there any right to it will do.
            guard !present.isEmpty else {
                guard rules.contains(where: { $0.covers(record.name) }) else { throw refusal(record) }
                return
            }
            types = Array(present)
        } else {
            types = [record.type]
        }
        for type in types where !rules.contains(where: { $0.allows(signer, record.name, type) }) {
            throw refusal(record)
        }
    }

    private func refusal(_ record: ResourceRecord) -> UpdateFault {
        UpdateFault(.refused, "this key may not change \(record.name) \(record.type)")
    }

    private mutating func apply(_ record: ResourceRecord) throws(UpdateFault) {
        switch record.class {
        case .internet: try add(record)
        case .any where record.type == .any:
            for type in editor.sets(record.name).keys where !isKept(record.name, type) {
                editor.replace(record.name, type, with: [])
            }
        case .any:
            if !isKept(record.name, record.type) { editor.replace(record.name, record.type, with: []) }
        default: remove(record)
        }
    }

    /// SOA and NS at the zone's top aren't taken away (RFC 2136 §3.4.2.3).
    private func isKept(_ name: DomainName, _ type: RecordType) -> Bool {
        name == editor.origin && (type == .soa || type == .ns)
    }

    /// RFC 2136 §3.4.2.2.
    private mutating func add(_ record: ResourceRecord) throws(UpdateFault) {
        let sets = editor.sets(record.name)
        if record.type == .cname {
            // Signatures and NSEC may stand beside an alias (RFC 4035 §2.5).
            guard sets.keys.allSatisfy({ [.cname, .rrsig, .nsec].contains($0) }) else { return }
        } else if sets[.cname] != nil, record.type != .rrsig, record.type != .nsec {
            return
        }
        if record.type == .soa {
            guard record.name == editor.origin, isLater(record) else { return }
            editor.replace(record.name, .soa, with: [record])
            return
        }
        try checkRedirections(record)
        if record.type == .cname || record.type == .dname {
            editor.replace(record.name, record.type, with: [record])
            return
        }
        let others = (sets[record.type] ?? []).filter { !$0.hasData(of: record) }
        guard others.count < Self.maximumSet else {
            throw UpdateFault(.refused, "\(record.name) \(record.type) would get too large")
        }
        editor.replace(record.name, record.type, with: others + [record])
    }

    private func isLater(_ start: ResourceRecord) -> Bool {
        guard let old = editor.records(editor.origin, .soa).first.flatMap({ StartOfAuthority($0) }),
            let new = StartOfAuthority(start)
        else { return false }
        return SerialNumber(new.serial).isAfter(SerialNumber(old.serial))
    }

    /// Nothing may lie below a DNAME (RFC 6672 §2.4): neither may one come above names nor a name below one.
    private func checkRedirections(_ record: ResourceRecord) throws(UpdateFault) {
        if record.type == .dname, editor.nodes.hasNamesBelow(record.name) {
            throw UpdateFault(.refused, "there are names below \(record.name)")
        }
        var above = record.name == editor.origin ? nil : record.name.parent
        while let ancestor = above, ancestor.isSubdomain(of: editor.origin) {
            guard editor.records(ancestor, .dname).isEmpty else {
                throw UpdateFault(.refused, "\(record.name) lies below the DNAME at \(ancestor)")
            }
            above = ancestor == editor.origin ? nil : ancestor.parent
        }
    }

    /// RFC 2136 §3.4.2.4.
    private mutating func remove(_ record: ResourceRecord) {
        guard record.type != .soa else { return }
        let set = editor.records(record.name, record.type)
        let rest = set.filter { !$0.hasData(of: record) }
        guard rest.count < set.count else { return }
        // The last server of the zone stays.
        if record.type == .ns, record.name == editor.origin, rest.isEmpty { return }
        editor.replace(record.name, record.type, with: rest)
    }
}
