import DNS
import MailAuth

/// A list of addresses in the DNS (RFC 5782), and what it counts.
package struct DNSList: Sendable, Equatable {
    /// As rules call it.
    package let name: String
    package let zone: DomainName
    /// Added to a client's score where the list has it; below zero for a list of good hosts.
    package let weight: Int
    /// The last octets of answers that count; empty for all of 127.0.0.0/8.
    package let codes: [ClosedRange<UInt8>]

    package init(name: String, zone: DomainName, weight: Int, codes: [ClosedRange<UInt8>] = []) {
        self.name = name
        self.zone = zone
        self.weight = weight
        self.codes = codes
    }

    /// Whether one of a list's answers is a listing. What isn't in 127.0.0.0/8 is none (RFC 5782 §2.1), nor is
    /// 127.255.255.0/24, by which lists say that they don't answer the one who asks.
    func counts(_ answers: [[UInt8]]) -> Bool {
        answers.contains { answer in
            guard answer.count == 4, answer[0] == 127, !answer.starts(with: [127, 255, 255]) else { return false }
            return codes.isEmpty || codes.contains { $0.contains(answer[3]) }
        }
    }
}

/// Asks lists about a client. One that doesn't answer in time has nobody listed.
package enum DNSListCheck {
    /// - Parameter address: of 4 or 16 octets.
    package static func run(
        _ address: [UInt8],
        lists: [DNSList],
        lookup: any MailAuthLookup
    ) async -> (names: Set<String>, score: Int) {
        guard let labels = ReverseNameCheck.labels(of: address) else { return ([], 0) }
        let found = await withTaskGroup(of: (Int, Bool).self) { group in
            for (place, list) in lists.enumerated() {
                group.addTask { (place, await isListed(labels, list, lookup)) }
            }
            var found = [Bool](repeating: false, count: lists.count)
            for await (place, isListed) in group { found[place] = isListed }
            return found
        }
        let listed = zip(lists, found).filter(\.1).map(\.0)
        return (Set(listed.map(\.name)), listed.reduce(0) { $0 + $1.weight })
    }

    private static func isListed(_ labels: [[UInt8]], _ list: DNSList, _ lookup: any MailAuthLookup) async -> Bool {
        guard let name = try? DomainName(labels: labels + list.zone.labels.map(Array.init)) else { return false }
        do throws(MailAuthLookupError) {
            return list.counts(try await lookup.ip4Addresses(name))
        } catch {
            return false
        }
    }
}
