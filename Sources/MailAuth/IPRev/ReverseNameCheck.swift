import DNS
import MIME

/// Whether a client's address and one of the names of that address lead to each other (RFC 8601 §3).
package enum ReverseNameOutcome: Sendable, Equatable {
    /// The name has the address.
    case pass(DomainName)
    /// None of its names has the address.
    case fail
    /// The address has no name.
    case permerror
    /// It could not be looked up now.
    case temperror

    /// The result's keyword (RFC 8601 §2.7.3).
    package var keyword: String {
        switch self {
        case .pass: "pass"
        case .fail: "fail"
        case .permerror: "permerror"
        case .temperror: "temperror"
        }
    }

    /// The name in lower case, without the dot at its end; nil where there is none, or where it's no host's.
    package var name: String? {
        guard case .pass(let name) = self else { return nil }
        let text = Array(SPFLookups.text(name).utf8).map(ASCII.lower)
        return MailDomain.isHostName(text) ? String(decoding: text, as: UTF8.self) : nil
    }
}

/// Looks up a client's name and goes back from it to the address (RFC 8601 §3).
package enum ReverseNameCheck {
    /// Names of an address that are looked at.
    private static let maximumNames = 10

    /// The labels of an address in reverse order, as below `in-addr.arpa` and `ip6.arpa`; nil for what is no address.
    package static func labels(of address: [UInt8]) -> [[UInt8]]? {
        let query = SPFQuery(address: address, helo: [])
        guard query.address.count == 4 || query.address.count == 16 else { return nil }
        return query.reverseName.map { Array($0.labels.map { Array($0) }.dropLast(2)) }
    }

    /// The name below `in-addr.arpa` or `ip6.arpa` where an address's names are; nil for what is no address.
    package static func reverseName(of address: [UInt8]) -> DomainName? {
        SPFQuery(address: address, helo: []).reverseName
    }

    /// - Parameter address: of 4 or 16 octets; IPv4 mapped into IPv6 is IPv4 here.
    package static func run(_ address: [UInt8], lookup: any MailAuthLookup) async -> ReverseNameOutcome {
        let query = SPFQuery(address: address, helo: [])
        guard let reverse = query.reverseName else { return .permerror }
        var isUnknown = false
        do throws(MailAuthLookupError) {
            for name in try await lookup.pointers(reverse).prefix(maximumNames) {
                do throws(MailAuthLookupError) {
                    let addresses = try await query.isIPv6 ? lookup.ip6Addresses(name) : lookup.ip4Addresses(name)
                    if addresses.contains(query.address) { return .pass(name) }
                } catch {
                    if !error.isVoid { isUnknown = true }
                }
            }
        } catch {
            return error.isVoid ? .permerror : .temperror
        }
        return isUnknown ? .temperror : .fail
    }
}

extension AuthenticationResults.Entry {
    /// What the client's address and its name say of each other (RFC 8601 §2.7.3).
    package init(_ outcome: ReverseNameOutcome, of address: [UInt8]) {
        self.init(
            method: "iprev",
            result: outcome.keyword,
            comment: outcome.name.map { Array($0.utf8) },
            properties: [.init("policy", "iprev", Array(AddressText.print(address).utf8))]
        )
    }
}
