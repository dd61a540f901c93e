import DNS

/// The DNS as a check sees it: every lookup is counted, and the limits of RFC 7208 §4.6.4 hold.
struct SPFLookups {
    typealias Stop = SPFCheck.Stop

    let limits: SPFLimits
    private let lookup: any MailAuthLookup
    /// Terms that asked the DNS.
    private(set) var terms = 0
    /// Lookups that found nothing.
    private(set) var voids = 0
    private var clientNames: [DomainName]?

    init(_ lookup: any MailAuthLookup, limits: SPFLimits) {
        self.lookup = lookup
        self.limits = limits
    }

    /// Counts a term that asks the DNS.
    mutating func countTerm(for domain: [UInt8]) throws(Stop) {
        terms += 1
        guard terms <= limits.lookups else {
            let reason = "more than \(limits.lookups) terms need DNS lookups"
            throw Stop(result: .permerror, reason: reason, domain: domain)
        }
    }

    private mutating func countVoid(for domain: [UInt8]) throws(Stop) {
        voids += 1
        guard voids <= limits.voidLookups else {
            let reason = "more than \(limits.voidLookups) lookups found nothing"
            throw Stop(result: .permerror, reason: reason, domain: domain)
        }
    }

    private func failure(_ name: DomainName, _ domain: [UInt8]) -> Stop {
        Stop(result: .temperror, reason: "\(Self.text(name)) could not be looked up", domain: domain)
    }

    mutating func texts(_ name: DomainName, countsVoid: Bool, for domain: [UInt8]) async throws(Stop) -> [[UInt8]] {
        do throws(MailAuthLookupError) {
            return try await lookup.txt(name)
        } catch {
            guard error.isVoid else { throw failure(name, domain) }
            if countsVoid { try countVoid(for: domain) }
            return []
        }
    }

    mutating func addresses(
        _ name: DomainName,
        ip6: Bool,
        countsVoid: Bool,
        for domain: [UInt8]
    ) async throws(Stop) -> [[UInt8]] {
        do throws(MailAuthLookupError) {
            return try await ip6 ? lookup.ip6Addresses(name) : lookup.ip4Addresses(name)
        } catch {
            guard error.isVoid else { throw failure(name, domain) }
            if countsVoid { try countVoid(for: domain) }
            return []
        }
    }

    /// The hosts that take a domain's mail, the root (RFC 7505) left out.
    mutating func mailExchanges(_ name: DomainName, for domain: [UInt8]) async throws(Stop) -> [DomainName] {
        var exchanges: [DomainName] = []
        do throws(MailAuthLookupError) {
            exchanges = try await lookup.mailExchanges(name).map(\.exchange)
        } catch {
            guard error.isVoid else { throw failure(name, domain) }
            try countVoid(for: domain)
        }
        guard exchanges.count <= limits.mailExchanges else {
            let reason = "\(Self.text(name)) has more than \(limits.mailExchanges) mail exchanges"
            throw Stop(result: .permerror, reason: reason, domain: domain)
        }
        return exchanges.filter { !$0.isRoot }
    }

    /// The names of the client's address that have that address; errors count as no name (RFC 7208 §5.5).
    mutating func validatedNames(of query: SPFQuery, for domain: [UInt8]) async throws(Stop) -> [DomainName] {
        if let clientNames { return clientNames }
        var names: [DomainName] = []
        if let reverse = query.reverseName {
            do throws(MailAuthLookupError) {
                names = try await lookup.pointers(reverse)
            } catch {
                if error.isVoid { try countVoid(for: domain) }
            }
        }
        var validated: [DomainName] = []
        for name in names.prefix(limits.addressNames) {
            let addresses = try? await addresses(name, ip6: query.isIPv6, countsVoid: false, for: domain)
            if let addresses, addresses.contains(query.address) { validated.append(name) }
        }
        clientNames = validated
        return validated
    }

    /// The record that a text is.
    func record(_ text: [UInt8]) throws(SPFSyntaxError) -> SPFRecord {
        guard let known = lookup.knownRecords else { return try SPFRecord(parsing: text) }
        return try known.policy(text)
    }

    // MARK: Names

    /// The name that the text is, a dot at its end or not; nil for empty labels and what is too long.
    static func name(_ text: [UInt8]) -> DomainName? {
        let text = text.last == UInt8(ascii: ".") ? text.dropLast() : text[...]
        return try? DomainName(dotted: text)
    }

    /// The domain with its labels in ASCII, as RFC 8616 asks before anything is checked; nil for what can't be one.
    static func ascii(_ domain: [UInt8]) -> [UInt8]? {
        guard domain.contains(where: { $0 >= 0x80 }) else { return domain }
        return MailDomain.name(domain).map { Array(text($0).utf8) }
    }

    /// A name without the dot at its end.
    static func text(_ name: DomainName) -> String { name.isRoot ? "." : String(name.description.dropLast()) }

    static func text(_ domain: [UInt8]) -> String {
        name(domain).map { text($0) } ?? String(decoding: domain, as: UTF8.self)
    }
}
