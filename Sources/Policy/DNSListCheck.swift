import DNS
import MailAuth
import MailRules

/// A list of addresses in the DNS (RFC 5782), and what it counts.
package struct DNSList: Sendable, Equatable {
    /// As rules call it.
    package let name: String
    package let zone: DomainName
    /// Added to a client's score where the list has it; below zero for a list of good hosts.
    package let weight: Int
    /// Answers that count; empty for all of 127.0.0.0/8.
    package let codes: [DNSListCode]

    package init(name: String, zone: DomainName, weight: Int, codes: [DNSListCode] = []) {
        self.name = name
        self.zone = zone
        self.weight = weight
        self.codes = codes
    }

    /// Where it says something of an address, by the labels that stand for that; nil where the name would be too long.
    func name(_ labels: [[UInt8]]) -> DomainName? { try? DomainName(labels: labels + zone.labels.map(Array.init)) }

    /// What is there; empty for nothing, nil where there is no answer now.
    static func answers(_ name: DomainName, _ lookup: any MailAuthLookup) async -> [[UInt8]]? {
        do throws(MailAuthLookupError) {
            return try await lookup.ip4Addresses(name)
        } catch {
            return error.isVoid ? [] : nil
        }
    }

    /// Whether a list can have said that.
    static func isAnswer(_ answers: [[UInt8]]) -> Bool {
        answers.allSatisfy { $0.count == 4 && $0[0] == 127 && !$0.starts(with: [127, 255, 255]) }
    }

    /// Whether one of a list's answers is a listing; nil where they are no answer: 127.255.255.0/24, by which lists say that
    /// they don't answer the one who asks, and what isn't in 127.0.0.0/8 (RFC 5782 §2.1), as of a domain that was sold.
    func isListing(_ answers: [[UInt8]]) -> Bool? {
        guard Self.isAnswer(answers) else { return nil }
        return codes.isEmpty || answers.contains { answer in codes.contains { $0.matches(answer) } }
    }
}

/// Asks lists about a client.
package enum DNSListCheck {
    /// What the lists say of a client.
    package struct Outcome: Sendable, Equatable {
        /// The names of those that have it.
        package var listed: Set<String> = []
        /// The names of those that gave no answer.
        package var unknown: Set<String> = []
        /// The weights of those that have it. A list of good hosts counts without an answer, too: that it's away must not have
        /// anybody refused.
        package var score = 0
    }

    /// - Parameters:
    ///   - address: of 4 or 16 octets.
    ///   - faulty: names of lists that aren't to be believed, which are asked for meanwhile.
    package static func run(
        _ address: [UInt8],
        lists: [DNSList],
        lookup: any MailAuthLookup,
        without faulty: () async -> Set<String> = { [] }
    ) async -> Outcome {
        guard let labels = ReverseNameCheck.labels(of: address) else { return Outcome() }
        async let said = answers(labels, lists, lookup)
        let ignored = await faulty()
        var outcome = Outcome()
        for (list, isListed) in zip(lists, await said) where !ignored.contains(list.name) {
            switch isListed {
            case true: outcome.listed.insert(list.name)
            case nil: outcome.unknown.insert(list.name)
            default: continue
            }
            if isListed == true || list.weight < 0 { outcome.score += list.weight }
        }
        // Of a list that is ignored nobody knows what it would say.
        outcome.unknown.formUnion(ignored)
        return outcome
    }

    private static func answers(
        _ labels: [[UInt8]],
        _ lists: [DNSList],
        _ lookup: any MailAuthLookup
    ) async -> [Bool?] {
        await withTaskGroup(of: (Int, Bool?).self) { group in
            for (place, list) in lists.enumerated() {
                group.addTask { (place, await isListed(labels, list, lookup)) }
            }
            var found = [Bool?](repeating: nil, count: lists.count)
            for await (place, isListed) in group { found[place] = isListed }
            return found
        }
    }

    /// nil where that isn't known.
    private static func isListed(_ labels: [[UInt8]], _ list: DNSList, _ lookup: any MailAuthLookup) async -> Bool? {
        // An address of IPv6 may be too long below a long zone: the list can't have it.
        guard let name = list.name(labels) else { return false }
        guard let answers = await DNSList.answers(name, lookup) else { return nil }
        return answers.isEmpty ? false : list.isListing(answers)
    }
}
