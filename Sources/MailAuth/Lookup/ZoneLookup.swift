import DNS

/// Answers from records at hand, such as those of a master file: for tests, and to try records out before they are
/// published. Aliases and wildcards work as in the DNS; what isn't there doesn't exist.
package struct ZoneLookup: MailAuthLookup {
    private var records: [DomainName: [ResourceRecord]] = [:]
    /// All names with records, and all above them.
    private var names: Set<DomainName> = []
    /// Names whose lookups fail for now.
    package var failing: Set<DomainName> = []

    package init(_ records: [ResourceRecord]) {
        for record in records {
            self.records[record.name, default: []].append(record)
            var name: DomainName? = record.name
            while let current = name, names.insert(current).inserted { name = current.parent }
        }
    }

    /// The records of a master file; `$INCLUDE` is refused.
    package init(
        masterFile octets: [UInt8],
        file: String = "zone",
        origin: DomainName = .root
    ) throws(MasterFileError) {
        let records = try MasterFile.parse(octets, file: file, origin: origin) { _ in
            .failure(MasterFileIncludeError(reason: "not here"))
        }
        self.init(records.map(\.record))
    }

    private func find(_ name: DomainName, _ type: RecordType) throws(MailAuthLookupError) -> [ResourceRecord] {
        var name = name
        for _ in 0...MailAuthRecords.maximumAliases {
            guard !failing.contains(name) else { throw .temporary }
            let here = owned(by: name)
            guard let here else { throw .noSuchName }
            let wanted = here.filter { $0.type == type }
            if !wanted.isEmpty { return wanted }
            guard let target = here.lazy.compactMap({ $0.type == .cname ? MailAuthRecords.target($0) : nil }).first
            else { throw .noSuchRecord }
            name = target
        }
        throw .temporary
    }

    /// The records of a name or of the wildcard that covers it (RFC 4592 §3.3.1); nil where there is neither.
    private func owned(by name: DomainName) -> [ResourceRecord]? {
        if names.contains(name) { return records[name] ?? [] }
        var encloser = name.parent
        while let current = encloser, !names.contains(current) { encloser = current.parent }
        guard let wildcard = try? encloser?.prepending(label: [UInt8(ascii: "*")]) else { return nil }
        return records[wildcard]
    }

    package func txt(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
        try find(name, .txt).compactMap { MailAuthRecords.text($0) }
    }

    package func ip4Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
        try find(name, .a).compactMap { MailAuthRecords.address($0) }
    }

    package func ip6Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
        try find(name, .aaaa).compactMap { MailAuthRecords.address($0) }
    }

    package func mailExchanges(_ name: DomainName) async throws(MailAuthLookupError) -> [MailExchange] {
        MailAuthRecords.exchanges(try find(name, .mx))
    }

    package func pointers(_ name: DomainName) async throws(MailAuthLookupError) -> [DomainName] {
        try find(name, .ptr).compactMap { MailAuthRecords.target($0) }
    }
}
