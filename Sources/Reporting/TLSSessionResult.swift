import Bus

/// How TLS went with a host that mail was sent to, as a report counts it (RFC 8460 §4.3): sessions that are alike in all of this
/// are one row.
package struct TLSSessionResult: Sendable, Hashable {
    /// What the domain had published (RFC 8460 §4.4).
    package enum PolicyType: String, Sendable {
        case tlsa
        case sts
        case none = "no-policy-found"
    }

    /// What went wrong (RFC 8460 §4.3).
    package enum Failure: String, Sendable {
        case notSupported = "starttls-not-supported"
        case hostMismatch = "certificate-host-mismatch"
        case expired = "certificate-expired"
        case notTrusted = "certificate-not-trusted"
        case validation = "validation-failure"
        /// No TLSA record could be used (RFC 8460 §4.3.2.1), as what follows.
        case tlsaInvalid = "tlsa-invalid"
        case dnssecInvalid = "dnssec-invalid"
        case daneRequired = "dane-required"
        /// The policy couldn't be fetched (RFC 8460 §4.3.2.2), as what follows.
        case stsFetch = "sts-policy-fetch-error"
        case stsInvalid = "sts-policy-invalid"
        case stsWebPKI = "sts-webpki-invalid"
    }

    /// The recipients' domain.
    package var domain: String
    package var policyType = PolicyType.none
    /// The lines of the policy, or the TLSA records in presentation form; those beyond a limit are left out.
    package var policyStrings: [String] = []
    /// The patterns of hosts of an MTA-STS policy, within the same limit.
    package var exchangePatterns: [String] = []
    /// nil for a session that was encrypted.
    package var failure: Failure?
    /// Of a session that failed, as what follows.
    package var receivingHost: String?
    package var receivingAddress: String?
    /// For people.
    package var information: String?

    package init(domain: String) { self.domain = domain }
}

extension TLSSessionResult {
    static let verb = "TLS-RESULT"
    /// Lines of a policy, and patterns, that one row has.
    private static let maximumStrings = 60

    var fields: [Frame.Field] {
        var fields: [Frame.Field] = [
            .init("policy-domain", ReportedResult.clipped(domain)), .init("policy-type", policyType.rawValue),
        ]
        for (name, values) in [("policy-string", policyStrings), ("mx-host", exchangePatterns)] {
            for value in values.prefix(Self.maximumStrings) {
                fields.append(.init(name, ReportedResult.clipped(value)))
            }
        }
        if let failure { fields.append(.init("failure", failure.rawValue)) }
        for (name, value) in [("host", receivingHost), ("address", receivingAddress), ("information", information)] {
            if let value { fields.append(.init(name, ReportedResult.clipped(value))) }
        }
        return fields
    }

    init(_ frame: Frame) throws(ReportedResult.Malformed) {
        guard let domain = frame["policy-domain"], !domain.isEmpty,
            let type = frame["policy-type"].flatMap(PolicyType.init(rawValue:))
        else { throw ReportedResult.Malformed() }
        self.init(domain: domain)
        policyType = type
        policyStrings = frame.all("policy-string")
        exchangePatterns = frame.all("mx-host")
        if let text = frame["failure"] {
            guard let known = Failure(rawValue: text) else { throw ReportedResult.Malformed() }
            failure = known
        }
        receivingHost = frame["host"]
        receivingAddress = frame["address"]
        information = frame["information"]
    }
}
