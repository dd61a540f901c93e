import DNS
import NIOConcurrencyHelpers

/// What a local zone says to a question (RFC 1034 §4.3.2).
package struct LocalAnswer: Equatable {
    package var code = ResponseCode.noError
    package var answers: [ResourceRecord] = []
    package var authorities: [ResourceRecord] = []
    package var additionals: [ResourceRecord] = []
    /// That the names which wildcards stood for aren't there themselves. They stay with the whole chain of aliases.
    package var proofs: [ResourceRecord] = []
    /// Whether signatures are in it, which don't count for ever.
    package var isSigned = false
    /// Whether the response code goes with a proof by RFC 9824, as the client wished.
    package var isCompact = false
    /// False for a referral to servers of a zone below.
    package var isAuthoritative = true
    /// Where an alias leads out of the zone: what is still to be asked.
    package var next: DomainName?
}

/// A zone that we have authority for.
package final class Zone: Sendable {
    /// The zone's top.
    package let origin: DomainName
    /// The SOA record as negative answers carry it (RFC 2308 §3).
    let negative: ResourceRecord
    /// All names, those without records of their own in between included (RFC 4592 §2.2.2).
    let nodes: ZoneNodes

    /// How many records there are, and the zone's version.
    var recordCount: Int { nodes.recordCount }
    let serial: UInt32
    /// The SOA record.
    let start: ResourceRecord
    private let index = NIOLockedValueBox<DenialIndex?>(nil)

    /// Puts a zone together.
    ///
    /// - Throws: what is wrong with it as a whole, at the record that is to blame.
    convenience init(origin: DomainName, file: String, records: [MasterFileRecord]) throws(MasterFileError) {
        var builder = ZoneBuilder(origin: origin, file: file)
        for record in records { try builder.add(record) }
        let start = try builder.finish()
        self.init(builder.nodes, start: start)
    }

    /// A zone from nodes that were checked against each other.
    ///
    /// - Parameter start: the SOA record among them.
    init(_ nodes: ZoneNodes, start: ResourceRecord) {
        origin = nodes.origin
        self.start = start
        self.nodes = nodes
        let authority = StartOfAuthority(start)
        serial = authority?.serial ?? 0
        var negative = start
        negative.timeToLive = min(start.timeToLive, authority?.minimum ?? 0)
        self.negative = negative
    }

    /// Puts a zone together from records that come from no file.
    convenience init(origin: DomainName, records: [ResourceRecord]) throws(MasterFileError) {
        let entries = records.map { MasterFileRecord(record: $0, file: "\(origin)", line: 0) }
        try self.init(origin: origin, file: "\(origin)", records: entries)
    }

    /// Where the zone says what isn't there, if it was signed by others and is prepared; nil otherwise.
    var denialIndex: DenialIndex? { index.withLockedValue { $0 } }

    /// Gets ready to answer with the signatures that the zone has. Looks at all of it, so not on an event loop.
    func prepare() {
        let made = DenialIndex(self)
        index.withLockedValue { $0 = made }
    }

    /// All records, the SOA record first.
    var records: [ResourceRecord] { [start] + nodes.records.filter { $0.type != .soa } }

    /// What a transfer has (RFC 5936 §2.2): all records between two times the SOA record, each made as it's taken.
    var transferRecords: AnyIterator<ResourceRecord> {
        var others = nodes.records.lazy.filter { $0.type != .soa }.makeIterator()
        var starts = 2
        return AnyIterator { [start] in
            if starts == 1, let next = others.next() { return next }
            guard starts > 0 else { return nil }
            starts -= 1
            return start
        }
    }

    /// The answer to a question about a name at or below the zone's top.
    ///
    /// - Parameter extras: sets that the top has beside its own, or in their place.
    package func answer(_ question: Question, with extras: [RecordType: [ResourceRecord]] = [:]) -> LocalAnswer {
        var answer = LocalAnswer()
        var name = question.name
        var visited: Set<DomainName> = []
        for _ in 0...AliasChain.maximum {
            // In a circle: each of its records once, and that they lead nowhere.
            guard visited.insert(name).inserted else { break }
            switch find(name, question.type, extras) {
            case .records(let records):
                answer.answers += records
                addAddresses(of: records, to: &answer)
                return answer
            case .alias(let records, let target):
                answer.answers += records
                guard target.isSubdomain(of: origin) else {
                    answer.next = target
                    return answer
                }
                name = target
            case .tooLong(let records):
                answer.answers += records
                answer.code = .nameExists
                return answer
            case .delegation(let servers):
                if answer.answers.isEmpty { answer.isAuthoritative = false }
                answer.authorities = servers
                addAddresses(of: servers, to: &answer)
                return answer
            case .nothing:
                answer.authorities = [negative]
                return answer
            case .noName:
                answer.code = .nameError
                answer.authorities = [negative]
                return answer
            }
        }
        answer.code = .serverFailure
        return answer
    }

    // MARK: Finding

    private enum Finding {
        case records([ResourceRecord])
        case alias([ResourceRecord], DomainName)
        /// A DNAME whose result is too long (RFC 6672 §2.2).
        case tooLong([ResourceRecord])
        case delegation([ResourceRecord])
        case nothing
        case noName
    }

    private func find(
        _ name: DomainName,
        _ type: RecordType,
        _ extras: [RecordType: [ResourceRecord]]
    ) -> Finding {
        switch locate(name, type) {
        case .node(let sets):
            let all = name == origin && !extras.isEmpty ? sets.merging(extras) { $1 } : sets
            return pick(all, type, owner: nil)
        case .wildcard(_, let sets): return pick(sets, type, owner: name)
        case .cut(_, let servers): return .delegation(servers)
        case .redirection(let redirection): return redirect(name, redirection)
        case .missing: return .noName
        }
    }

    /// - Parameter owner: the name that a wildcard stands for.
    private func pick(_ sets: [RecordType: [ResourceRecord]], _ type: RecordType, owner: DomainName?) -> Finding {
        if let records = sets[type] { return .records(renamed(records, owner)) }
        if type == .any {
            // One of the sets will do (RFC 8482 §4.1).
            let first = sets.keys.min { $0.rawValue < $1.rawValue }
            return first.flatMap { sets[$0] }.map { .records(renamed($0, owner)) } ?? .nothing
        }
        if let alias = sets[.cname], let target = alias.first?.target { return .alias(renamed(alias, owner), target) }
        return .nothing
    }

    private func renamed(_ records: [ResourceRecord], _ owner: DomainName?) -> [ResourceRecord] {
        guard let owner else { return records }
        return records.map { record in
            var record = record
            record.name = owner
            return record
        }
    }

    private func redirect(_ name: DomainName, _ redirection: ResourceRecord) -> Finding {
        guard let base = redirection.target else { return .nothing }
        do {
            guard let target = try name.replacing(suffix: redirection.name, with: base) else { return .nothing }
            let alias = ResourceRecord.naming(name, .cname, target, timeToLive: redirection.timeToLive)
            return .alias([redirection, alias], target)
        } catch {
            return .tooLong([redirection])
        }
    }

    /// Addresses of the hosts that records name, each host's once, where the zone has them, glue included.
    private func addAddresses(of records: [ResourceRecord], to answer: inout LocalAnswer) {
        var hosts: Set<DomainName> = []
        for record in records {
            guard record.type == .ns || record.type == .mx || record.type == .srv, let host = record.target,
                hosts.insert(host).inserted, let sets = nodes[host]
            else { continue }
            answer.additionals += (sets[.a] ?? []) + (sets[.aaaa] ?? [])
        }
    }
}
