/// A reverse-path with the parameters of its MAIL command: `<alice@example.test> BODY=8BITMIME`.
///
/// The text form is what queue files and the frames between daemons hold.
package struct EnvelopeSender: Hashable, Sendable, CustomStringConvertible {
    /// Where failures are reported to.
    package var path: ReversePath
    /// What MAIL said beside it.
    package var parameters: MailParameters

    /// A sender of its parts.
    package init(_ path: ReversePath, parameters: MailParameters = MailParameters()) {
        self.path = path
        self.parameters = parameters
    }

    /// Reads the text form, all of `bytes`.
    package init(
        parsing bytes: some Sequence<UInt8>,
        options: MailAddress.ParsingOptions = .envelope
    ) throws(EnvelopeError) {
        var scanner = ByteScanner(bytes)
        try self.init(&scanner, options: options)
    }

    init(_ scanner: inout ByteScanner, options: MailAddress.ParsingOptions) throws(EnvelopeError) {
        path = try ReversePath(&scanner, options: options)
        parameters = try MailParameters(&scanner)
    }

    /// The text form.
    package var description: String {
        var text = path.description
        parameters.write(to: &text)
        return text
    }
}

/// A recipient with the parameters of its RCPT command: `<bob@example.test> NOTIFY=NEVER`.
///
/// The text form is what queue files and the frames between daemons hold.
package struct EnvelopeRecipient: Hashable, Sendable, CustomStringConvertible {
    /// Whom the message is for.
    package var address: MailAddress
    /// What RCPT said beside it.
    package var parameters: RecipientParameters

    /// A recipient of its parts.
    package init(_ address: MailAddress, parameters: RecipientParameters = RecipientParameters()) {
        self.address = address
        self.parameters = parameters
    }

    /// Reads the text form, all of `bytes`.
    package init(
        parsing bytes: some Sequence<UInt8>,
        options: MailAddress.ParsingOptions = .envelope
    ) throws(EnvelopeError) {
        var scanner = ByteScanner(bytes)
        guard case .mailbox(let address) = try ForwardPath(&scanner, options: options) else {
            throw .malformedAddress
        }
        self.init(address, parameters: try RecipientParameters(&scanner))
    }

    /// The text form.
    package var description: String {
        var text = "<\(address)>"
        parameters.write(to: &text)
        return text
    }
}
