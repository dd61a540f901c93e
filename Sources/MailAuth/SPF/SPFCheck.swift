import DNS

/// One check: a domain's record, and those it includes or hands over to, matched with a client (RFC 7208 §4).
package struct SPFCheck {
    /// What ends a check before a record has been walked through.
    struct Stop: Error {
        var result: SPFResult
        var reason: String
        var domain: [UInt8]
    }

    /// What a record says of the client.
    struct Verdict {
        var result: SPFResult
        var reason: String
        var mechanism: [UInt8]?
        var domain: [UInt8]
        var explanation: SPFMacroString?
    }

    let query: SPFQuery
    var source: SPFLookups
    var trace: [SPFStep] = []

    private init(_ query: SPFQuery, lookup: any MailAuthLookup, limits: SPFLimits) {
        self.query = query
        source = SPFLookups(lookup, limits: limits)
    }

    /// Checks one identity of a client. Lookups that don't end are the lookup's to end.
    package static func run(
        _ query: SPFQuery,
        lookup: any MailAuthLookup,
        limits: SPFLimits = SPFLimits()
    ) async -> SPFOutcome {
        var check = SPFCheck(query, lookup: lookup, limits: limits)
        return await check.outcome()
    }

    private mutating func outcome() async -> SPFOutcome {
        var outcome: SPFOutcome
        do {
            let verdict = try await evaluate(query.domain, depth: 0)
            outcome = SPFOutcome(
                result: verdict.result,
                reason: verdict.reason,
                mechanism: verdict.mechanism,
                domain: verdict.domain
            )
            if verdict.result == .fail, let explanation = verdict.explanation {
                outcome.explanation = await explain(explanation, domain: verdict.domain)
            }
        } catch {
            outcome = SPFOutcome(result: error.result, reason: error.reason, domain: error.domain)
        }
        outcome.lookups = source.terms
        outcome.voidLookups = source.voids
        outcome.trace = trace
        return outcome
    }

    /// check_host() of RFC 7208 §4.
    private mutating func evaluate(_ domain: [UInt8], depth: Int) async throws(Stop) -> Verdict {
        guard let record = try await record(of: domain, depth: depth) else {
            return Verdict(result: .none, reason: "\(text(domain)) has no SPF record", domain: domain)
        }
        for directive in record.directives {
            guard try await matches(directive, domain: domain, depth: depth) else { continue }
            return Verdict(
                result: SPFResult(directive.qualifier),
                reason: Self.reason(directive.qualifier, query, domain),
                mechanism: directive.text,
                domain: domain,
                explanation: record.explanation
            )
        }
        if let redirect = record.redirect {
            return try await follow(redirect, domain: domain, depth: depth)
        }
        return Verdict(result: .neutral, reason: "nothing in the record of \(text(domain)) matches", domain: domain)
    }

    /// The domain's only record; nil where there is none, or can be none (RFC 7208 §4.3 to §4.5).
    private mutating func record(of domain: [UInt8], depth: Int) async throws(Stop) -> SPFRecord? {
        guard let name = SPFLookups.name(domain), name.labelCount > 1 else { return nil }
        let texts = try await source.texts(name, countsVoid: depth > 0 || source.terms > 0, for: domain)
        let records = texts.filter { SPFRecord.isRecord($0) }
        guard let first = records.first else { return nil }
        guard records.count == 1 else {
            throw Stop(result: .permerror, reason: "\(text(domain)) has \(records.count) SPF records", domain: domain)
        }
        note(.record, depth, domain, first, "")
        do throws(SPFSyntaxError) {
            return try source.record(first)
        } catch {
            note(.record, depth, domain, first, error.description)
            let reason = "the SPF record of \(text(domain)) has \(error)"
            throw Stop(result: .permerror, reason: reason, domain: domain)
        }
    }

    /// The record that `redirect` names decides alone (RFC 7208 §6.1).
    private mutating func follow(
        _ redirect: SPFMacroString,
        domain: [UInt8],
        depth: Int
    ) async throws(Stop) -> Verdict {
        try source.countTerm(for: domain)
        guard let target = try await expand(redirect, domain: domain) else {
            throw Stop(result: .permerror, reason: "redirect of \(text(domain)) names no domain", domain: domain)
        }
        note(.redirect, depth, domain, Array("redirect=".utf8) + redirect.text, "on to \(text(target))")
        let verdict = try await evaluate(target, depth: depth)
        guard verdict.result != .none else {
            let reason = "\(text(domain)) redirects to \(text(target)), which has no SPF record"
            throw Stop(result: .permerror, reason: reason, domain: domain)
        }
        return verdict
    }

    // MARK: Mechanisms

    private mutating func matches(
        _ directive: SPFDirective,
        domain: [UInt8],
        depth: Int
    ) async throws(Stop) -> Bool {
        if directive.mechanism.needsLookup { try source.countTerm(for: domain) }
        var found = ""
        do throws(Stop) {
            let isMatch = try await matches(directive.mechanism, domain: domain, depth: depth, found: &found)
            let separator = found.isEmpty ? "" : ": "
            note(
                .directive,
                depth,
                domain,
                directive.text,
                (isMatch ? "matches" : "does not match") + separator + found
            )
            return isMatch
        } catch {
            note(.directive, depth, domain, directive.text, "\(error.result.rawValue): \(error.reason)")
            throw error
        }
    }

    private mutating func matches(
        _ mechanism: SPFMechanism,
        domain: [UInt8],
        depth: Int,
        found: inout String
    ) async throws(Stop) -> Bool {
        switch mechanism {
        case .all: return true
        case .ip4(let network, let prefix), .ip6(let network, let prefix):
            return query.isIn(network, prefix: prefix)
        case .include(let target):
            return try await includes(target, domain: domain, depth: depth, found: &found)
        case .a(let target, let lengths):
            guard let name = try await name(target, domain: domain, found: &found) else { return false }
            let addresses = try await source.addresses(name, ip6: query.isIPv6, countsVoid: true, for: domain)
            return contains(addresses, lengths, found: &found)
        case .mx(let target, let lengths):
            guard let name = try await name(target, domain: domain, found: &found) else { return false }
            return try await isExchange(of: name, lengths, domain: domain, found: &found)
        case .exists(let target):
            guard let name = try await name(target, domain: domain, found: &found) else { return false }
            let addresses = try await source.addresses(name, ip6: false, countsVoid: true, for: domain)
            found += addresses.isEmpty ? " has no address" : " has an address"
            return !addresses.isEmpty
        case .ptr(let target):
            guard let name = try await name(target, domain: domain, found: &found) else { return false }
            let names = try await source.validatedNames(of: query, for: domain)
            found = names.isEmpty ? "the client has no validated name" : "the client is \(Self.list(names))"
            return names.contains { $0.isSubdomain(of: name) }
        }
    }

    /// RFC 7208 §5.2.
    private mutating func includes(
        _ target: SPFMacroString,
        domain: [UInt8],
        depth: Int,
        found: inout String
    ) async throws(Stop) -> Bool {
        guard let included = try await expand(target, domain: domain) else {
            throw Stop(result: .permerror, reason: "include in \(text(domain)) names no domain", domain: domain)
        }
        let verdict = try await evaluate(included, depth: depth + 1)
        guard verdict.result != .none else {
            let reason = "\(text(domain)) includes \(text(included)), which has no SPF record"
            throw Stop(result: .permerror, reason: reason, domain: domain)
        }
        found = "\(text(included)) says \(verdict.result.rawValue)"
        return verdict.result == .pass
    }

    /// RFC 7208 §5.4.
    private mutating func isExchange(
        of name: DomainName,
        _ lengths: SPFPrefixLengths,
        domain: [UInt8],
        found: inout String
    ) async throws(Stop) -> Bool {
        let exchanges = try await source.mailExchanges(name, for: domain)
        found += exchanges.isEmpty ? " has no mail exchange" : ""
        for exchange in exchanges {
            let addresses = try await source.addresses(exchange, ip6: query.isIPv6, countsVoid: false, for: domain)
            found += ", \(SPFLookups.text(exchange))"
            if contains(addresses, lengths, found: &found) { return true }
        }
        return false
    }

    private func contains(_ addresses: [[UInt8]], _ lengths: SPFPrefixLengths, found: inout String) -> Bool {
        if addresses.isEmpty {
            found += " has no address of the client's family"
            return false
        }
        found += " is " + Self.list(addresses.map { AddressText.print($0) })
        let prefix = query.isIPv6 ? lengths.ip6 : lengths.ip4
        return addresses.contains { query.isIn($0, prefix: prefix) }
    }

    // MARK: Names

    /// The name that a mechanism looks up; nil where it can't be one, so that nothing matches.
    private mutating func name(
        _ target: SPFMacroString?,
        domain: [UInt8],
        found: inout String
    ) async throws(Stop) -> DomainName? {
        var expanded: [UInt8]? = domain
        if let target { expanded = try await expand(target, domain: domain) }
        guard let expanded, let name = SPFLookups.name(expanded) else {
            found = "not a name that can be looked up"
            return nil
        }
        found = SPFLookups.text(name)
        return name
    }

    private mutating func expand(_ string: SPFMacroString, domain: [UInt8]) async throws(Stop) -> [UInt8]? {
        string.expandedDomain(try await values(for: string, domain: domain))
    }

    private mutating func values(for string: SPFMacroString, domain: [UInt8]) async throws(Stop) -> SPFMacroValues {
        var values = SPFMacroValues(query: query, domain: domain, validatedName: Array("unknown".utf8))
        if string.needsValidatedName {
            let names = try await source.validatedNames(of: query, for: domain)
            if let best = Self.best(names, for: domain) { values.validatedName = Array(SPFLookups.text(best).utf8) }
        }
        return values
    }

    /// The domain itself, else a name below it, else any (RFC 7208 §7.3).
    private static func best(_ names: [DomainName], for domain: [UInt8]) -> DomainName? {
        guard let domain = SPFLookups.name(domain) else { return names.first }
        return names.first { $0 == domain } ?? names.first { $0.isSubdomain(of: domain) } ?? names.first
    }

    // MARK: Explanations

    /// The text behind `exp=`; nil for all that goes wrong on the way to it (RFC 7208 §6.2).
    private mutating func explain(_ explanation: SPFMacroString, domain: [UInt8]) async -> [UInt8]? {
        let written = Array("exp=".utf8) + explanation.text
        do throws(Stop) {
            guard let target = try await expand(explanation, domain: domain), let name = SPFLookups.name(target) else {
                note(.explanation, 0, domain, written, "not a name that can be looked up")
                return nil
            }
            let texts = try await source.texts(name, countsVoid: false, for: domain)
            guard let only = texts.first, texts.count == 1 else {
                note(.explanation, 0, domain, written, "\(text(target)) has \(texts.count) TXT records")
                return nil
            }
            guard let string = try? SPFMacroParser.parse(only[...], use: .explanation),
                let expanded = string.expanded(try await values(for: string, domain: domain))
            else {
                note(.explanation, 0, domain, written, "the text at \(text(target)) is not an explanation")
                return nil
            }
            note(.explanation, 0, domain, written, "the text is at \(text(target))")
            return expanded.map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }
        } catch {
            note(.explanation, 0, domain, written, error.reason)
            return nil
        }
    }

    // MARK: Notes

    private mutating func note(_ kind: SPFStep.Kind, _ depth: Int, _ domain: [UInt8], _ term: [UInt8], _ note: String) {
        guard trace.count < source.limits.steps else { return }
        let step = SPFStep(kind: kind, depth: depth, domain: domain, text: term, note: note, lookups: source.terms)
        trace.append(step)
    }

    private func text(_ domain: [UInt8]) -> String { SPFLookups.text(domain) }

    private static func list(_ items: [some CustomStringConvertible]) -> String {
        let shown = items.prefix(10).map { ($0 as? DomainName).map { SPFLookups.text($0) } ?? $0.description }
        return shown.joined(separator: " ") + (items.count > shown.count ? " …" : "")
    }

    private static func reason(_ qualifier: SPFQualifier, _ query: SPFQuery, _ domain: [UInt8]) -> String {
        let client = AddressText.print(query.address)
        let domain = SPFLookups.text(domain)
        return switch qualifier {
        case .pass: "\(domain) lists \(client) as a permitted sender"
        case .fail: "\(domain) does not permit \(client) to send its mail"
        case .softfail: "\(domain) does not list \(client), but does not forbid it either"
        case .neutral: "\(domain) says nothing of \(client)"
        }
    }
}

extension SPFResult {
    init(_ qualifier: SPFQualifier) {
        self =
            switch qualifier {
            case .pass: .pass
            case .fail: .fail
            case .softfail: .softfail
            case .neutral: .neutral
            }
    }
}
