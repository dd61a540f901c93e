import Bus

/// What came of one message's DMARC check, as an aggregate report counts it (RFC 9990 §3.1): messages that are alike in all of
/// this are one row.
package struct DMARCEvaluation: Sendable, Hashable {
    /// What was done (RFC 9990 §3.1.1.9).
    package enum Disposition: String, Sendable {
        case none, pass, quarantine, reject
    }

    /// Why something else was done than the policy asks for (RFC 9990 §3.1.6).
    package struct Reason: Sendable, Hashable {
        package enum Kind: String, Sendable {
            case localPolicy = "local_policy"
            case mailingList = "mailing_list"
            case other
            case policyTestMode = "policy_test_mode"
            case trustedForwarder = "trusted_forwarder"
        }

        package var kind: Kind
        package var comment: String

        package init(_ kind: Kind, _ comment: String) {
            self.kind = kind
            self.comment = comment
        }
    }

    /// What became of a DKIM signature.
    package struct Signature: Sendable, Hashable {
        package var domain: String
        package var selector: String
        package var result: String

        package init(domain: String, selector: String, result: String) {
            self.domain = domain
            self.selector = selector
            self.result = result
        }
    }

    /// What SPF says of the sender.
    package struct Sender: Sendable, Hashable {
        package var domain: String
        package var result: String

        package init(domain: String, result: String) {
            self.domain = domain
            self.result = result
        }
    }

    /// Whose record applied.
    package var policyDomain: String
    /// The client's address.
    package var source: String
    package var disposition = Disposition.none
    /// Whether DKIM passed for a domain that is aligned with the author's.
    package var isAlignedByDKIM = false
    /// The same of SPF.
    package var isAlignedBySPF = false
    package var reasons: [Reason] = []
    /// The domain of the From field.
    package var headerFrom: String
    /// The domain of the reverse-path; empty for the null reverse-path.
    package var envelopeFrom = ""
    package var signatures: [Signature] = []
    package var sender: Sender?

    package init(policyDomain: String, source: String, headerFrom: String) {
        self.policyDomain = policyDomain
        self.source = source
        self.headerFrom = headerFrom
    }

    /// The most signatures that one row has (RFC 9990 §3.1.3).
    package static let maximumSignatures = 100
}

extension DMARCEvaluation {
    static let verb = "DMARC-RESULT"

    var fields: [Frame.Field] {
        var fields: [Frame.Field] = [
            .init("policy-domain", ReportedResult.clipped(policyDomain)),
            .init("source", ReportedResult.clipped(source)),
            .init("disposition", disposition.rawValue),
            .init("dkim", Self.word(isAlignedByDKIM)),
            .init("spf", Self.word(isAlignedBySPF)),
            .init("header-from", ReportedResult.clipped(headerFrom)),
            .init("envelope-from", ReportedResult.clipped(envelopeFrom)),
        ]
        for reason in reasons {
            fields.append(.init("reason", "\(reason.kind.rawValue) \(ReportedResult.clipped(reason.comment))"))
        }
        // What strangers write stands last or has no space.
        for signature in signatures.prefix(Self.maximumSignatures) where !signature.selector.utf8.contains(0x20) {
            let names = "\(ReportedResult.clipped(signature.selector)) \(ReportedResult.clipped(signature.domain))"
            fields.append(.init("signature", "\(signature.result) \(names)"))
        }
        if let sender { fields.append(.init("sender", "\(sender.result) \(ReportedResult.clipped(sender.domain))")) }
        return fields
    }

    init(_ frame: Frame) throws(ReportedResult.Malformed) {
        guard let policyDomain = frame["policy-domain"], !policyDomain.isEmpty, let source = frame["source"],
            let headerFrom = frame["header-from"],
            let disposition = frame["disposition"].flatMap(Disposition.init(rawValue:))
        else { throw ReportedResult.Malformed() }
        self.init(policyDomain: policyDomain, source: source, headerFrom: headerFrom)
        self.disposition = disposition
        isAlignedByDKIM = frame["dkim"] == Self.word(true)
        isAlignedBySPF = frame["spf"] == Self.word(true)
        envelopeFrom = frame["envelope-from"] ?? ""
        for text in frame.all("reason") {
            let words = text.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
            guard words.count == 2, let kind = Reason.Kind(rawValue: String(words[0])) else {
                throw ReportedResult.Malformed()
            }
            reasons.append(Reason(kind, String(words[1])))
        }
        for text in frame.all("signature").prefix(Self.maximumSignatures) {
            let words = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard words.count == 3 else { throw ReportedResult.Malformed() }
            signatures.append(Signature(domain: words[2], selector: words[1], result: words[0]))
        }
        if let text = frame["sender"] {
            let words = text.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard words.count == 2 else { throw ReportedResult.Malformed() }
            sender = Sender(domain: words[1], result: words[0])
        }
    }

    private static func word(_ passed: Bool) -> String { passed ? "pass" : "fail" }
}
