import NIOCore
import SMTP

/// `[reports]`: what other domains are told of their mail (RFC 9990) and of TLS with their hosts (RFC 8460).
package struct ReportsConfiguration: Sendable {
    /// Where reportd keeps what it counts, relative to the instance directory.
    package static let directory = "reports"

    /// Who reports. Nothing is reported without a name.
    package var organization: String?
    /// Where reports come from.
    package var from: MailAddress?
    /// Whom one may ask about reports; nil for `from`.
    package var contact: String?
    package var extraContact: String?
    private var sendsDMARC = true
    private var sendsTLS = false
    /// After the end of a day in UTC, how long until its reports go out.
    package var delay = TimeAmount.hours(1)
    /// Octets that are kept of a day.
    package var maximumRows = 32 << 20
    /// Reports about a day that go to addresses in one domain; 0 for no limit.
    package var maximumPerDestination = 1000

    /// The defaults: nothing is reported.
    package init() {}

    /// - Parameter domain: that of `from` where nothing else is said.
    init(_ table: ConfigurationTable, domain: String) throws(ConfigurationError) {
        organization = try table.string("organization").flatMap { $0.isEmpty ? nil : $0 }
        from = try Self.address(table, "from") ?? (try? MailAddress(localPart: "postmaster", domain: domain))
        contact = try Self.address(table, "contact")?.description
        extraContact = try table.string("extra-contact")
        sendsDMARC = try table.boolean("dmarc", default: sendsDMARC)
        sendsTLS = try table.boolean("tls", default: sendsTLS)
        delay = try table.duration("delay", default: delay, in: .zero ... .hours(23))
        maximumRows = try table.octets("maximum-results", default: maximumRows, in: (1 << 20)...(256 << 20))
        maximumPerDestination = try table.integer(
            "maximum-per-destination",
            default: maximumPerDestination,
            in: 0...1_000_000
        )
    }

    /// Whether anything is reported.
    package var isOn: Bool { organization != nil && (sendsDMARC || sendsTLS) }
    /// Whether results of DMARC are.
    package var isOnForDMARC: Bool { organization != nil && sendsDMARC }
    /// Whether results of TLS are.
    package var isOnForTLS: Bool { organization != nil && sendsTLS }

    private static func address(_ table: ConfigurationTable, _ key: String) throws(ConfigurationError) -> MailAddress? {
        guard let text = try table.string(key) else { return nil }
        guard let address = try? MailAddress(parsing: text.utf8) else {
            throw table.error(key, "\"\(text)\" is not an address such as reports@example.com")
        }
        return address
    }
}
