import DNS
import NIOCore
import Network

/// What `[resolverd]` says about clients: who gets what, and how much.
package struct ResolverdClientsConfiguration: Sendable {
    /// Networks whose questions about other than local zones are answered.
    package var allowRecursion: [AddressRange]
    /// Who gets answers from local zones that have no list of their own; nil for everybody.
    package var allowQuery: AccessList?
    /// Whether clients get cookies.
    package var cookies: Bool
    /// A file with the secret that cookies are made with, and perhaps the one before; nil for one of chance.
    package var cookieSecrets: String?
    /// Whether clients whose answers are limited must show a cookie before they get a whole answer by UDP.
    package var requireCookies: Bool
    /// What is answered to those who ask for the server's identity; empty for nothing.
    package var identity: [UInt8]
    /// Answers of one kind, and of all kinds, that a network gets by UDP in a second; 0 for no limit.
    package var rateLimit: Int
    package var rateLimitAll: Int
    /// One in so many answers over the limit is sent cut; 0 for none.
    package var rateLimitSlip: Int
    /// Whose answers aren't limited.
    package var rateLimitExempt: [AddressRange]
    /// Questions of one network that may wait, on each event loop.
    package var maximumPendingPerClient: Int
    package var dns64: DNS64Configuration?

    private static let maximumIdentity = 64

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        allowRecursion = try table.networks("allow-recursion", default: ["127.0.0.0/8", "::1"])
        allowQuery = table.keys.contains("allow-query") ? try AccessList(table, "allow-query") : nil
        cookies = try table.boolean("cookies", default: true)
        cookieSecrets = try table.string("cookie-secrets")
        requireCookies = try table.boolean("require-cookies", default: false)
        identity = try Self.identity(table)
        guard identity.count <= Self.maximumIdentity else {
            throw table.error("nsid", "must not have more than \(Self.maximumIdentity) octets")
        }
        rateLimit = try table.integer("rate-limit", default: 50, in: 0...1_000_000)
        rateLimitAll = try table.integer("rate-limit-all", default: 500, in: 0...1_000_000)
        rateLimitSlip = try table.integer("rate-limit-slip", default: 2, in: 0...100)
        if table.keys.contains("rate-limit-exempt") {
            rateLimitExempt = try table.networks("rate-limit-exempt")
        } else {
            // Who may ask for everything is known; but where that's everybody, nobody is.
            rateLimitExempt =
                allowRecursion.filter { $0.bits > 0 } + ["127.0.0.0/8", "::1"].compactMap(AddressRange.init)
        }
        maximumPendingPerClient = try table.integer("maximum-pending-per-client", default: 500, in: 1...1_000_000)
        dns64 = try DNS64Configuration(table)
        guard cookies || !requireCookies else { throw table.error("require-cookies", "needs cookies") }
    }
}

extension ResolverdClientsConfiguration {
    /// A text, or octets as `0x` and hexadecimal digits.
    private static func identity(_ table: ConfigurationTable) throws(ConfigurationError) -> [UInt8] {
        let text = try table.string("nsid", default: "")
        guard text.hasPrefix("0x") else { return Array(text.utf8) }
        guard let octets = RadixCoding.hexadecimal.decode(text.utf8.dropFirst(2)) else {
            throw table.error("nsid", "must be a text, or 0x with an even number of hexadecimal digits")
        }
        return octets
    }
}

/// Addresses that are made up for clients that only have IPv6.
package struct DNS64Configuration: Sendable {
    /// The translator's prefix.
    package var prefix: AddressRange
    /// Whom it's for; nil for all whose questions are answered recursively.
    package var clients: [AddressRange]?
    /// IPv6 addresses that count as if they weren't there.
    package var excluded: [AddressRange]
    /// IPv4 addresses that get none.
    package var unmapped: [AddressRange]

    /// How long a prefix may be. Bits (RFC 6052 §2.2).
    private static let lengths = [32, 40, 48, 56, 64, 96]

    /// nil where no prefix is set.
    init?(_ table: ConfigurationTable) throws(ConfigurationError) {
        let hasClients = table.keys.contains("dns64-clients")
        clients = hasClients ? try table.networks("dns64-clients") : nil
        excluded = try table.networks("dns64-exclude")
        unmapped = try table.networks("dns64-exclude-ipv4")
        guard let text = try table.string("dns64") else { return nil }
        guard let range = AddressRange(text), range.octets.count == 16, Self.lengths.contains(range.bits),
            range.octets[8] == 0
        else {
            throw table.error(
                "dns64",
                "\"\(text)\" is not a prefix such as 64:ff9b::/96, of 32, 40, 48, 56, 64 or 96 bits"
            )
        }
        prefix = range
    }
}

extension ConfigurationTable {
    /// Networks such as `192.0.2.0/24` or `2001:db8::/32`, or single addresses.
    func networks(_ key: String, default standard: [String] = []) throws(ConfigurationError) -> [AddressRange] {
        var ranges: [AddressRange] = []
        for text in try strings(key, default: standard) {
            guard let range = AddressRange(text) else {
                throw error(key, "\"\(text)\" is not a network such as 192.0.2.0/24 or 2001:db8::/32")
            }
            ranges.append(range)
        }
        return ranges
    }
}
