import DNS

/// A domain's record with all that it includes or hands over to, for people who publish it: nothing is matched, and
/// every term is looked at.
package struct SPFTree {
    /// A record or a term.
    package struct Line: Sendable, Hashable {
        /// One more for each include and redirect.
        package var depth: Int
        package var domain: [UInt8]
        package var text: [UInt8]
        package var isRecord: Bool
        /// What the term stands for now.
        package var note: String
        /// Whether the term counts against the ten that may ask the DNS.
        package var needsLookup: Bool
    }

    /// Where the walk ends, whatever the record says.
    private static let maximumTerms = 100

    package private(set) var lines: [Line] = []
    /// Terms that ask the DNS when nothing matches early.
    package private(set) var lookups = 0
    /// Lookups that find nothing.
    package private(set) var voidLookups = 0
    /// What is wrong, or may go wrong.
    package private(set) var problems: [String] = []

    private let lookup: any MailAuthLookup
    private let limits = SPFLimits()
    private var path: [[UInt8]] = []
    private var isCut = false

    private init(_ lookup: any MailAuthLookup) { self.lookup = lookup }

    /// Walks from a domain.
    package static func walk(_ domain: [UInt8], lookup: any MailAuthLookup) async -> SPFTree {
        var tree = SPFTree(lookup)
        await tree.visit(domain, depth: 0)
        if tree.lookups > tree.limits.lookups {
            tree.problems.append("\(tree.lookups) terms need lookups, of which \(tree.limits.lookups) may: permerror")
        }
        if tree.voidLookups > tree.limits.voidLookups {
            let most = tree.limits.voidLookups
            tree.problems.append("\(tree.voidLookups) lookups find nothing, of which \(most) may: permerror")
        }
        return tree
    }

    private mutating func visit(_ domain: [UInt8], depth: Int) async {
        let shown = SPFLookups.text(domain)
        guard !path.contains(domain) else {
            problems.append("\(shown) leads back to itself")
            return
        }
        // Names may be made up as they are asked for: no chain of redirects is followed without end.
        guard hasRoom() else { return }
        path.append(domain)
        defer { path.removeLast() }
        guard let text = await record(of: domain, depth: depth) else { return }
        lines.append(Line(depth: depth, domain: domain, text: text, isRecord: true, note: "", needsLookup: false))
        do throws(SPFSyntaxError) {
            try await visit(try SPFRecord(parsing: text), of: domain, depth: depth)
        } catch {
            problems.append("the record of \(shown) has \(error)")
        }
    }

    /// Whether more terms are looked at; where not, that is a problem, told once.
    private mutating func hasRoom() -> Bool {
        if lines.count < Self.maximumTerms { return true }
        if !isCut { problems.append("there are more than \(Self.maximumTerms) terms; the others were not looked at") }
        isCut = true
        return false
    }

    private mutating func record(of domain: [UInt8], depth: Int) async -> [UInt8]? {
        let shown = SPFLookups.text(domain)
        guard let name = SPFLookups.name(domain) else {
            problems.append("\(shown) is not a domain")
            return nil
        }
        var texts: [[UInt8]] = []
        do throws(MailAuthLookupError) {
            texts = try await lookup.txt(name)
        } catch {
            if error.isVoid {
                voidLookups += depth > 0 ? 1 : 0
            } else {
                problems.append("\(shown) could not be looked up")
                return nil
            }
        }
        let records = texts.filter { SPFRecord.isRecord($0) }
        if records.count != 1 {
            problems.append("\(shown) has \(records.isEmpty ? "no SPF record" : "\(records.count) SPF records")")
        }
        return records.count == 1 ? records[0] : nil
    }

    private mutating func visit(_ record: SPFRecord, of domain: [UInt8], depth: Int) async throws(SPFSyntaxError) {
        let shown = SPFLookups.text(domain)
        for (index, directive) in record.directives.enumerated() {
            guard hasRoom() else { return }
            lookups += directive.mechanism.needsLookup ? 1 : 0
            await visit(directive, of: domain, depth: depth)
            if directive.mechanism == .all {
                if directive.qualifier == .pass { problems.append("\(shown) lets the whole world send its mail") }
                if index + 1 < record.directives.count { problems.append("\(shown) has terms behind all") }
            }
            if case .ptr = directive.mechanism { problems.append("\(shown) uses ptr, which RFC 7208 discourages") }
        }
        guard let redirect = record.redirect else {
            if !record.hasAll { problems.append("\(shown) ends without all or redirect: neutral for all others") }
            return
        }
        if record.hasAll {
            problems.append("\(shown) has all and redirect: the redirect is never followed")
            return
        }
        lookups += 1
        let text = Array("redirect=".utf8) + redirect.text
        let target = expanded(redirect, domain)
        lines.append(
            Line(
                depth: depth,
                domain: domain,
                text: text,
                isRecord: false,
                note: target == nil ? "depends on the message" : "",
                needsLookup: true
            )
        )
        if let target { await visit(target, depth: depth + 1) }
    }

    private mutating func visit(_ directive: SPFDirective, of domain: [UInt8], depth: Int) async {
        var note = ""
        var included: [UInt8]?
        switch directive.mechanism {
        case .all, .ip4, .ip6, .ptr: break
        case .include(let target):
            included = expanded(target, domain)
            note = included == nil ? "depends on the message" : ""
        case .exists(let target):
            if let name = expanded(target, domain).flatMap({ SPFLookups.name($0) }) {
                note = await addresses(of: name, ip6: false)
            } else {
                note = "depends on the message"
            }
        case .a(let target, _):
            if let name = name(target, domain) {
                note = await addresses(of: name)
            } else {
                note = "depends on the message"
            }
        case .mx(let target, _):
            if let name = name(target, domain) {
                note = await exchanges(of: name)
            } else {
                note = "depends on the message"
            }
        }
        lines.append(
            Line(
                depth: depth,
                domain: domain,
                text: directive.text,
                isRecord: false,
                note: note,
                needsLookup: directive.mechanism.needsLookup
            )
        )
        if let included { await visit(included, depth: depth + 1) }
    }

    // MARK: Names

    private func name(_ target: SPFMacroString?, _ domain: [UInt8]) -> DomainName? {
        guard let target else { return SPFLookups.name(domain) }
        return expanded(target, domain).flatMap { SPFLookups.name($0) }
    }

    /// nil where the client or the sender decide.
    private func expanded(_ string: SPFMacroString, _ domain: [UInt8]) -> [UInt8]? {
        guard !string.dependsOnSender else { return nil }
        let query = SPFQuery(address: [0, 0, 0, 0], helo: domain)
        return string.expandedDomain(SPFMacroValues(query: query, domain: domain, validatedName: []))
    }

    private mutating func addresses(of name: DomainName, ip6: Bool = true) async -> String {
        var found: [[UInt8]] = []
        do throws(MailAuthLookupError) { found += try await lookup.ip4Addresses(name) } catch {
            if !error.isVoid { return "could not be looked up" }
        }
        if ip6 {
            do throws(MailAuthLookupError) { found += try await lookup.ip6Addresses(name) } catch {
                if !error.isVoid { return "could not be looked up" }
            }
        }
        if found.isEmpty {
            voidLookups += 1
            return "no address"
        }
        return found.prefix(20).map { AddressText.print($0) }.joined(separator: " ") + (found.count > 20 ? " …" : "")
    }

    private mutating func exchanges(of name: DomainName) async -> String {
        var exchanges: [MailExchange] = []
        do throws(MailAuthLookupError) { exchanges = try await lookup.mailExchanges(name) } catch {
            guard error.isVoid else { return "could not be looked up" }
            voidLookups += 1
            return "no mail exchange"
        }
        if exchanges.count > limits.mailExchanges {
            problems.append("\(SPFLookups.text(name)) has more than \(limits.mailExchanges) mail exchanges: permerror")
        }
        let before = voidLookups
        defer { voidLookups = before }
        var hosts: [String] = []
        for exchange in exchanges.prefix(limits.mailExchanges) where !exchange.exchange.isRoot {
            hosts.append("\(SPFLookups.text(exchange.exchange)) (\(await addresses(of: exchange.exchange)))")
        }
        return hosts.joined(separator: " ")
    }
}
