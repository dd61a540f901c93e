import DNS

/// Finds policies and organisational domains by walking up the tree of names (RFC 9989 §4.10).
///
/// Records are kept, so that several walks of one check ask for each name once.
package struct DMARCTreeWalk {
    /// A record and the domain it belongs to.
    package struct Found: Sendable, Hashable {
        package var domain: DomainName
        package var record: DMARCRecord
    }

    /// What a name had, for those who want to know.
    package struct Step: Sendable, Hashable {
        package var name: DomainName
        package var text: [UInt8]?
        package var note: String
    }

    /// A walk asks for the domain itself, then for its ancestors from the seventh label on (RFC 9989 §4.10).
    static let longestAncestor = 7
    /// The most names that one check asks for.
    static let maximumLookups = 64

    private let lookup: any MailAuthLookup
    private var known: [DomainName: DMARCRecord?] = [:]
    package private(set) var steps: [Step] = []

    package init(_ lookup: any MailAuthLookup) { self.lookup = lookup }

    /// All names that a walk may ask for, the domain's own first.
    static func names(from domain: DomainName) -> [DomainName] {
        var names: [DomainName] = []
        var current = domain
        while !current.isRoot {
            if let name = try? current.prepending(label: Array("_dmarc".utf8)) { names.append(name) }
            current = current.suffix(labels: min(current.labelCount - 1, longestAncestor))
        }
        return names
    }

    /// The records on the way from the domain to the root, the longest name first.
    ///
    /// - Throws: when a name could not be looked up.
    package mutating func walk(from domain: DomainName) async throws(MailAuthLookupError) -> [Found] {
        var found: [Found] = []
        var current = domain
        while !current.isRoot {
            if let record = try await record(of: current) {
                found.append(Found(domain: current, record: record))
                if record.publicSuffix != .unknown { break }
            }
            current = current.suffix(labels: min(current.labelCount - 1, Self.longestAncestor))
        }
        return found
    }

    /// The only valid record of one domain; nil where there is none, or several.
    package mutating func record(of domain: DomainName) async throws(MailAuthLookupError) -> DMARCRecord? {
        if let record = known[domain] { return record }
        guard known.count < Self.maximumLookups, let name = try? domain.prepending(label: Array("_dmarc".utf8)) else {
            return nil
        }
        let record = try await ask(name)
        known[domain] = .some(record)
        return record
    }

    private mutating func ask(_ name: DomainName) async throws(MailAuthLookupError) -> DMARCRecord? {
        let records = try await DMARCRecord.texts(at: name, lookup)
        guard let text = records.first else {
            steps.append(Step(name: name, text: nil, note: "no record"))
            return nil
        }
        guard records.count == 1 else {
            steps.append(Step(name: name, text: nil, note: "\(records.count) records, so that none counts"))
            return nil
        }
        let record = DMARCRecord(parsing: text)
        let note =
            record.map { $0.problems.joined(separator: "; ") } ?? "no policy that can be read, so that it is none"
        steps.append(Step(name: name, text: text, note: note))
        return record
    }

    /// The organisational domain that a walk from a domain tells (RFC 9989 §4.10.2).
    package static func organizationalDomain(of domain: DomainName, found: [Found]) -> DomainName {
        for entry in found {
            switch entry.record.publicSuffix {
            case .no: return entry.domain
            case .yes where entry.domain != domain: return domain.suffix(labels: entry.domain.labelCount + 1)
            case .yes, .unknown: continue
            }
        }
        return found.last?.domain ?? domain
    }

    /// The organisational domain of a name, by a walk of its own.
    package mutating func organizationalDomain(
        of domain: DomainName
    ) async throws(MailAuthLookupError) -> DomainName {
        Self.organizationalDomain(of: domain, found: try await walk(from: domain))
    }

    /// The record that applies to mail from a domain: its own, its organisation's, or its public suffix's (RFC 9989
    /// §4.10.1).
    package static func policy(for domain: DomainName, found: [Found]) -> Found? {
        let organization = organizationalDomain(of: domain, found: found)
        return found.first { $0.domain == domain } ?? found.first { $0.domain == organization }
            ?? found.first { $0.record.publicSuffix == .yes }
    }
}
