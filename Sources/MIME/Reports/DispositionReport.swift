/// What a recipient's program did with a message (message/disposition-notification, RFC 8098 and RFC 3798).
package struct DispositionReport: Sendable, Equatable {
    /// RFC 8098 §3.2.6.2; `denied` and `failed` are of RFC 3798.
    package enum Kind: String, Sendable {
        case displayed, deleted, dispatched, processed, denied, failed
    }

    package var reportingUA: String?
    package var gateway: ReportValue?
    package var originalRecipient: ReportValue?
    package var finalRecipient: ReportValue?
    /// With its angle brackets.
    package var originalMessageID: String?
    /// Whether the recipient, rather than a program, decided what was done.
    package var isManualAction = false
    /// Whether the recipient agreed to this report.
    package var isSentManually = false
    /// nil where it's none that is known.
    package var kind: Kind?
    /// Such as `error`, in lower case.
    package var modifiers: [String] = []
    /// What went wrong, one text a field.
    package var errors: [String] = []
    /// All other fields.
    package var extensions: [ReportField] = []

    package init() {}

    /// Reads the decoded body of the part; nil for one without fields. Lenient: fields that make no sense count as missing.
    package init?(reading body: [UInt8]) {
        guard let block = ReportFields.whole(body) else { return nil }
        reportingUA = block.text("reporting-ua")
        gateway = block.reportValue("mdn-gateway")
        originalRecipient = block.reportValue("original-recipient")
        finalRecipient = block.reportValue("final-recipient")
        originalMessageID = block.text("original-message-id")
        if let value = block.first("disposition") { read(disposition: value) }
        errors = block.all("error".utf8).map { EncodedWords.text($0) }
        extensions = block.others(than: [
            "reporting-ua", "mdn-gateway", "original-recipient", "final-recipient", "original-message-id",
            "disposition",
            "error",
        ])
    }

    /// `manual-action/MDN-sent-manually; displayed/error` (RFC 8098 §3.2.6), with blanks and comments anywhere.
    private mutating func read(disposition value: [UInt8]) {
        var scanner = FieldScanner(value)
        isManualAction = ASCII.equal(scanner.token(), "manual-action")
        scanner.skipBlanks()
        if scanner.take(UInt8(ascii: "/")) { isSentManually = ASCII.equal(scanner.token(), "mdn-sent-manually") }
        guard scanner.skipTo(UInt8(ascii: ";")), scanner.take(UInt8(ascii: ";")) else { return }
        kind = Kind(rawValue: String(decoding: scanner.token().map(ASCII.lower), as: UTF8.self))
        scanner.skipBlanks()
        guard scanner.take(UInt8(ascii: "/")) else { return }
        repeat {
            let modifier = scanner.token()
            if !modifier.isEmpty { modifiers.append(String(decoding: modifier.map(ASCII.lower), as: UTF8.self)) }
            scanner.skipBlanks()
        } while scanner.take(UInt8(ascii: ",")) && modifiers.count < 100
    }

    /// The part's body. Throws for line breaks in a value.
    package func written() throws(BuildError) -> [UInt8] {
        var block = HeaderBuilder()
        try block.add("Reporting-UA", report: reportingUA)
        try block.add("MDN-Gateway", report: gateway?.field)
        try block.add("Original-Recipient", report: originalRecipient?.field)
        try block.add("Final-Recipient", report: finalRecipient?.field)
        try block.add("Original-Message-ID", report: originalMessageID)
        if let kind {
            let mode =
                "\(isManualAction ? "manual" : "automatic")-action/MDN-sent-\(isSentManually ? "manually" : "automatically")"
            let what = ([kind.rawValue] + (modifiers.isEmpty ? [] : [modifiers.joined(separator: ",")]))
            try block.add("Disposition", report: "\(mode); \(what.joined(separator: "/"))")
        }
        for error in errors { try block.add("Error", report: error) }
        for field in extensions { try block.add(field.name, report: field.value) }
        return block.octets
    }
}
