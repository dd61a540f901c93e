import MailAuth

/// What a receiver saw of a domain's mail in a time (RFC 7489 §7.2, appendix C; RFC 9990).
package struct DMARCAggregateReport: Sendable, Hashable {
    /// Who reports, and of when.
    package struct Metadata: Sendable, Hashable {
        package var organization = ""
        package var email = ""
        package var extraContact: String?
        package var reportID = ""
        /// Seconds since 1970.
        package var begin = 0
        /// Seconds since 1970.
        package var end = 0
        package var errors: [String] = []

        package init() {}
    }

    /// The policy that was found.
    package struct Policy: Sendable, Hashable {
        package var domain = ""
        package var dkimAlignment: String?
        package var spfAlignment: String?
        package var policy = "none"
        package var subdomainPolicy: String?
        package var nonexistentPolicy: String?
        package var percentage: Int?
        package var failureOptions: String?
        package var testing: String?
        package var discoveryMethod: String?

        package init() {}

        /// The policy of a record.
        package init(domain: String, _ record: DMARCRecord) {
            self.domain = domain
            dkimAlignment = record.dkimAlignment.rawValue
            spfAlignment = record.spfAlignment.rawValue
            policy = record.policy.rawValue
            subdomainPolicy = record.subdomainPolicy?.rawValue ?? policy
            nonexistentPolicy = record.nonexistentPolicy?.rawValue
            percentage = record.percentage
            testing = record.isTesting ? "y" : nil
        }
    }

    /// Messages that are alike in all that is reported.
    package struct Record: Sendable, Hashable {
        package var sourceAddress = ""
        package var count = 0
        package var disposition = "none"
        /// Whether DKIM passed aligned: `pass` or `fail`.
        package var dkim = "fail"
        /// Whether SPF passed aligned: `pass` or `fail`.
        package var spf = "fail"
        package var reasons: [Reason] = []
        package var headerFrom = ""
        package var envelopeFrom: String?
        package var envelopeTo: String?
        package var signatures: [Signature] = []
        package var senders: [Sender] = []

        package init() {}
    }

    /// Why something else was done than the policy asks for.
    package struct Reason: Sendable, Hashable {
        package var type: String
        package var comment: String?

        package init(type: String, comment: String? = nil) {
            self.type = type
            self.comment = comment
        }
    }

    /// The result of a DKIM signature.
    package struct Signature: Sendable, Hashable {
        package var domain: String
        package var selector: String?
        package var result: String
        package var humanResult: String?

        package init(domain: String, selector: String?, result: String, humanResult: String? = nil) {
            self.domain = domain
            self.selector = selector
            self.result = result
            self.humanResult = humanResult
        }
    }

    /// The result of an SPF check.
    package struct Sender: Sendable, Hashable {
        package var domain: String
        package var scope: String?
        package var result: String

        package init(domain: String, scope: String?, result: String) {
            self.domain = domain
            self.scope = scope
            self.result = result
        }
    }

    package var metadata = Metadata()
    package var policy = Policy()
    package var records: [Record] = []
    /// Reading: whether there were more records than are kept.
    package var isCutShort = false

    package init() {}

    /// `RECEIVER!DOMAIN!BEGIN!END!ID.xml.gz` (RFC 7489 §7.2.1.1).
    package func fileName(receiver: String) -> String {
        let id = metadata.reportID.utf8.filter(Self.isSafe).prefix(64)
        let unique = id.isEmpty ? "" : "!" + String(decoding: id, as: UTF8.self)
        let names = [receiver, policy.domain].map { String(decoding: $0.utf8.filter(Self.isSafe), as: UTF8.self) }
        return "\(names[0])!\(names[1])!\(metadata.begin)!\(metadata.end)\(unique).xml.gz"
    }

    /// The subject of the mail that the report goes with (RFC 7489 §7.2.1.1).
    package func subject(receiver: String) -> String {
        let clean = { (text: String) in String(decoding: text.utf8.filter { (0x21...0x7E).contains($0) }, as: UTF8.self)
        }
        return "Report Domain: \(clean(policy.domain)) Submitter: \(clean(receiver)) "
            + "Report-ID: <\(clean(metadata.reportID))>"
    }

    private static func isSafe(_ octet: UInt8) -> Bool {
        octet &- 0x30 < 10 || (octet | 0x20) &- 0x61 < 26 || octet == UInt8(ascii: ".") || octet == UInt8(ascii: "-")
            || octet == UInt8(ascii: "_")
    }
}
