extension AuthenticationResults.Entry {
    /// What a DKIM signature says (RFC 8601 §2.7.1, with header.a and header.s of RFC 8601 and RFC 6008's header.b).
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
}
