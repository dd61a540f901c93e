/// What a sender of mail saw of a domain's TLS in a time (RFC 8460 §4.4).
package struct TLSReport: Sendable, Hashable {
    /// What happened under one policy.
    package struct Policy: Sendable, Hashable {
        /// `tlsa`, `sts` or `no-policy-found`.
        package var type = "no-policy-found"
        /// The lines of the policy file, or the TLSA records.
        package var strings: [String] = []
        package var domain = ""
        /// The patterns of an MTA-STS policy.
        package var exchanges: [String] = []
        package var successfulSessions = 0
        package var failedSessions = 0
        package var failures: [Failure] = []

        package init() {}
    }

    /// Sessions that failed alike.
    package struct Failure: Sendable, Hashable {
        /// Such as `starttls-not-supported` or `certificate-expired` (RFC 8460 §4.3).
        package var resultType = ""
        package var sendingAddress: String?
        package var receivingHost: String?
        package var receivingHelo: String?
        package var receivingAddress: String?
        package var failedSessions = 0
        package var additionalInformation: String?
        package var reasonCode: String?

        package init() {}
    }

    package var organization = ""
    /// RFC 3339, such as `2016-04-01T00:00:00Z`.
    package var start = ""
    /// RFC 3339.
    package var end = ""
    package var contact = ""
    package var reportID = ""
    package var policies: [Policy] = []

    package init() {}

    /// The most octets that a report may have when unpacked.
    package static let maximumOctets = 16 << 20

    /// `SENDER!DOMAIN!BEGIN!END!ID.json.gz`, times in seconds since 1970 (RFC 8460 §5.1).
    package func fileName(sender: String, domain: String, begin: Int, end: Int) -> String {
        let names = [sender, domain].map { Self.kept($0, Self.isSafe) }
        let id = Self.kept(String(reportID.prefix(64)), Self.isSafe)
        return "\(names[0])!\(names[1])!\(begin)!\(end)\(id.isEmpty ? "" : "!" + id).json.gz"
    }

    /// The subject of the mail that the report goes with (RFC 8460 §5.3).
    package func subject(sender: String, domain: String) -> String {
        let parts = [domain, sender, reportID].map { Self.kept($0) { (0x21...0x7E).contains($0) } }
        return "Report Domain: \(parts[0]) Submitter: \(parts[1]) Report-ID: <\(parts[2])>"
    }

    private static func kept(_ text: String, _ condition: (UInt8) -> Bool) -> String {
        String(decoding: text.utf8.filter(condition), as: UTF8.self)
    }

    private static func isSafe(_ octet: UInt8) -> Bool {
        octet &- 0x30 < 10 || (octet | 0x20) &- 0x61 < 26 || octet == UInt8(ascii: ".") || octet == UInt8(ascii: "-")
            || octet == UInt8(ascii: "_")
    }
}
