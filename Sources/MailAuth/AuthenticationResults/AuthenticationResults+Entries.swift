/// Readers take the values of these properties for domains, and addresses at domains. So what is neither, such as the name that
/// a client gave, is left out.
extension AuthenticationResults.Entry {
    /// What a DKIM signature says (RFC 8601 §2.7.1, and header.b of RFC 6008 §4).
    package init(_ outcome: DKIMOutcome) {
        var properties: [AuthenticationResults.Property] = []
        if let signature = outcome.signature {
            properties = [
                .init("header", "d", signature.domain),
                .init("header", "i", signature.identity),
                .init("header", "s", signature.selector),
                .init("header", "a", Array(signature.algorithm.rawValue.utf8)),
                .init("header", "b", Array(outcome.signaturePrefix)),
            ]
        }
        self.init(
            method: "dkim",
            result: outcome.result.rawValue,
            reason: outcome.result == .pass ? nil : Array(outcome.reason.utf8),
            properties: properties
        )
    }

    /// What an ARC chain says (RFC 8617 §10.2).
    package init(_ outcome: ARCOutcome) {
        var properties: [AuthenticationResults.Property] = []
        if let oldest = outcome.oldestPass {
            properties.append(.init("header", "oldest-pass", Array("\(oldest)".utf8)))
        }
        self.init(
            method: "arc",
            result: outcome.result.rawValue,
            reason: outcome.result == .fail ? Array(outcome.reason.utf8) : nil,
            properties: properties
        )
    }

    /// What SPF says of a client (RFC 8601 §2.7.2).
    package init(_ outcome: SPFOutcome, of query: SPFQuery) {
        var properties: [AuthenticationResults.Property] = []
        switch query.identity {
        case .helo:
            if MailDomain.isHostName(query.helo) { properties = [.init("smtp", "helo", query.helo)] }
        case .mailFrom:
            let sender = query.localPart == Array("postmaster".utf8) ? query.domain : query.sender
            if MailDomain.isHostName(query.domain) { properties = [.init("smtp", "mailfrom", sender)] }
        }
        self.init(
            method: "spf",
            result: outcome.result.rawValue,
            reason: outcome.result == .pass || outcome.result == .none ? nil : Array(outcome.reason.utf8),
            properties: properties
        )
    }

    /// What DMARC says of the author (RFC 7489 §11.1).
    package init(_ outcome: DMARCOutcome) {
        var comment: [UInt8]?
        if outcome.record != nil {
            comment = Array(
                "\(outcome.policyTag)=\(outcome.policy.rawValue) dis=\(outcome.disposition.rawValue)".utf8
            )
        }
        self.init(
            method: "dmarc",
            result: outcome.result.rawValue,
            comment: comment,
            properties: MailDomain.isHostName(outcome.domain) ? [.init("header", "from", outcome.domain)] : []
        )
    }
}
