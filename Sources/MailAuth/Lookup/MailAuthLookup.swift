import DNS

/// Why a lookup gave no records.
package enum MailAuthLookupError: Error, Sendable, Equatable {
    /// The name doesn't exist (RFC 1035 §4.1.1, Name Error).
    case noSuchName
    /// The name has no record of that type.
    case noSuchRecord
    /// No answer, or none that can be believed; it may come later.
    case temporary

    /// Whether it is certain that there is nothing.
    package var isVoid: Bool { self != .temporary }
}

/// The DNS as checks of mail see it. Aliases are followed, answers are never empty, and every lookup ends in time.
package protocol MailAuthLookup: Sendable {
    /// The texts of a name's TXT records, the strings of each joined (RFC 7208 §3.3).
    func txt(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]]
    /// Addresses of four octets.
    func ip4Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]]
    /// Addresses of sixteen octets.
    func ip6Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]]
    /// In the order of preference.
    func mailExchanges(_ name: DomainName) async throws(MailAuthLookupError) -> [MailExchange]
    /// The targets of the PTR records of a name below in-addr.arpa or ip6.arpa.
    func pointers(_ name: DomainName) async throws(MailAuthLookupError) -> [DomainName]
    /// What was read from records before; nil where nothing is kept.
    var knownRecords: KnownRecords? { get }
}

extension MailAuthLookup {
    package var knownRecords: KnownRecords? { nil }
}

/// What a server answered to one question.
package struct MailAuthAnswer: Sendable {
    package let responseCode: ResponseCode
    package let records: [ResourceRecord]
    /// Whether the server follows aliases by itself (RA).
    package let isRecursive: Bool

    package init(responseCode: ResponseCode, records: [ResourceRecord], isRecursive: Bool) {
        self.responseCode = responseCode
        self.records = records
        self.isRecursive = isRecursive
    }
}

/// Lookups by a server's answers, in which aliases are followed; what one leads to is asked for where it isn't there.
package protocol MailAuthServer: MailAuthLookup {
    /// - Throws: `temporary` alone.
    func answer(_ name: DomainName, _ type: RecordType) async throws(MailAuthLookupError) -> MailAuthAnswer
}

extension MailAuthServer {
    private func find(_ name: DomainName, _ type: RecordType) async throws(MailAuthLookupError) -> [ResourceRecord] {
        var name = name
        for _ in 0...MailAuthRecords.maximumAliases {
            let answer = try await answer(name, type)
            guard answer.responseCode == .noError || answer.responseCode == .nameError else { throw .temporary }
            // The aliases that the answer holds; what they end in may be in it too, or is asked for.
            var seen: Set<DomainName> = [name]
            var target = name
            while let next = answer.records.first(where: { $0.name == target && $0.type == .cname }),
                let followed = MailAuthRecords.target(next), seen.insert(followed).inserted
            { target = followed }
            let found = answer.records.filter { $0.name == target && $0.type == type }
            if !found.isEmpty { return found }
            if answer.responseCode == .nameError { throw .noSuchName }
            if target == name || answer.isRecursive { throw .noSuchRecord }
            name = target
        }
        throw .temporary
    }

    package func txt(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
        try await find(name, .txt).compactMap { MailAuthRecords.text($0) }
    }

    package func ip4Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
        try await find(name, .a).compactMap { MailAuthRecords.address($0) }
    }

    package func ip6Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
        try await find(name, .aaaa).compactMap { MailAuthRecords.address($0) }
    }

    package func mailExchanges(_ name: DomainName) async throws(MailAuthLookupError) -> [MailExchange] {
        MailAuthRecords.exchanges(try await find(name, .mx))
    }

    package func pointers(_ name: DomainName) async throws(MailAuthLookupError) -> [DomainName] {
        try await find(name, .ptr).compactMap { MailAuthRecords.target($0) }
    }
}

/// Takes what checks need out of records, for those who make lookups.
package enum MailAuthRecords {
    /// Aliases that are followed from one name.
    static let maximumAliases = 10

    /// The strings of a TXT record, joined; nil for any other record.
    package static func text(_ record: ResourceRecord) -> [UInt8]? {
        guard record.type == .txt else { return nil }
        var text: [UInt8] = []
        var rest = record.data[...]
        while let length = rest.popFirst() {
            guard rest.count >= Int(length) else { return nil }
            text += rest.prefix(Int(length))
            rest = rest.dropFirst(Int(length))
        }
        return text
    }

    /// The address of an A or AAAA record; nil for any other.
    package static func address(_ record: ResourceRecord) -> [UInt8]? {
        switch record.type {
        case .a: record.data.count == 4 ? Array(record.data) : nil
        case .aaaa: record.data.count == 16 ? Array(record.data) : nil
        default: nil
        }
    }

    /// The name that a CNAME or PTR record leads to; nil for any other.
    package static func target(_ record: ResourceRecord) -> DomainName? {
        record.type == .cname || record.type == .ptr ? try? DomainName(wire: record.data) : nil
    }

    /// The exchanges of MX records by preference, those of equal preference as they come.
    package static func exchanges(_ records: [ResourceRecord]) -> [MailExchange] {
        records.compactMap { MailExchange($0) }.enumerated()
            .sorted { ($0.element.preference, $0.offset) < ($1.element.preference, $1.offset) }
            .map(\.element)
    }
}
