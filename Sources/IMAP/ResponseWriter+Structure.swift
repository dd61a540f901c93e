import MIME
import NIOCore

extension ResponseWriter {
    // MARK: ENVELOPE

    /// RFC 3501 §7.4.2, ENVELOPE. Sender and Reply-To default to From.
    package mutating func envelope(_ fields: EnvelopeFields) {
        raw("(")
        nstring(fields.date)
        space()
        nstring(fields.subject)
        let from = fields.from
        for list in [
            from, Self.present(fields.sender) ?? from, Self.present(fields.replyTo) ?? from, fields.to,
            fields.cc, fields.bcc,
        ] {
            space()
            addresses(list)
        }
        space()
        nstring(fields.inReplyTo)
        space()
        nstring(fields.messageID)
        raw(")")
    }

    private static func present(_ field: [UInt8]?) -> [UInt8]? {
        field.flatMap { AddressListParser.parse($0, maximum: 1).isEmpty ? nil : $0 }
    }

    private mutating func addresses(_ field: [UInt8]?) {
        let addresses = field.map { AddressListParser.parse($0) } ?? []
        guard !addresses.isEmpty else {
            raw("NIL")
            return
        }
        raw("(")
        for address in addresses {
            raw("(")
            nstring(address.name)
            space()
            nstring(address.route)
            space()
            nstring(address.mailbox)
            space()
            nstring(address.host)
            raw(")")
        }
        raw(")")
    }

    // MARK: BODYSTRUCTURE

    /// RFC 3501 §7.4.2, BODY and BODYSTRUCTURE (with extension data).
    package mutating func structure(_ part: MessagePart, isExtended: Bool) {
        raw("(")
        if part.isMultipart {
            for child in part.children { structure(child, isExtended: isExtended) }
            space()
            string(part.content.subtype)
            if isExtended {
                space()
                parameters(part.content.type.parameters)
                extensionData(part.content)
            }
        } else {
            single(part, isExtended: isExtended)
            if isExtended {
                space()
                nstring(part.content.md5)
                extensionData(part.content)
            }
        }
        raw(")")
    }

    private mutating func single(_ part: MessagePart, isExtended: Bool) {
        let content = part.content
        // The grammar has no multipart without parts; it's shown as what it holds: text.
        if content.isMultipart {
            raw("\"text\" \"plain\" NIL")
        } else {
            string(content.mainType)
            space()
            string(content.subtype)
            space()
            parameters(content.type.parameters)
        }
        space()
        nstring(content.identifier)
        space()
        nstring(content.description)
        space()
        string(content.transferEncoding.flatMap { $0.isEmpty ? nil : $0 } ?? Array("7bit".utf8))
        raw(" \(part.body.count)")
        // To IMAP4rev1 message/global is a type as any other (RFC 9755 §6, RFC 9051 §9, media-message).
        let isMessage =
            ASCII.equal(content.type.value, "message/rfc822")
            || dialect.isRev2 && ASCII.equal(content.type.value, "message/global")
        if !isMessage {
            if content.isText || content.isMultipart { raw(" \(part.lines)") }
        } else if part.isEmbeddedMessage, let message = part.children.first, let envelope = message.envelope {
            space()
            self.envelope(envelope)
            space()
            structure(message, isExtended: isExtended)
            raw(" \(part.lines)")
        } else {
            // It was not parsed: an empty envelope and body keep to the grammar.
            raw(
                " (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0) \(part.lines)"
            )
        }
    }

    private mutating func parameters(_ parameters: [MIMEParameter]) {
        guard !parameters.isEmpty else {
            raw("NIL")
            return
        }
        raw("(")
        for (index, parameter) in parameters.enumerated() {
            if index > 0 { space() }
            string(parameter.name)
            space()
            string(parameter.value)
        }
        raw(")")
    }

    /// Disposition, language and location.
    private mutating func extensionData(_ content: ContentFields) {
        space()
        if let disposition = content.disposition, !disposition.value.isEmpty {
            raw("(")
            string(disposition.value)
            space()
            parameters(disposition.parameters)
            raw(")")
        } else {
            raw("NIL")
        }
        space()
        let languages = content.language.filter { !$0.isEmpty }
        if languages.count > 1 {
            raw("(")
            for (index, language) in languages.enumerated() {
                if index > 0 { space() }
                string(language)
            }
            raw(")")
        } else {
            nstring(languages.first)
        }
        space()
        nstring(content.location)
    }

    // MARK: Section names

    /// `BINARY[1.2]<0>` or `BINARY.SIZE[1.2]`.
    package mutating func binaryName(_ word: StaticString, _ part: [Int], origin: Int?) {
        buffer.writeStaticString(word)
        raw("[" + part.map { String($0) }.joined(separator: ".") + "]")
        if let origin { raw("<\(origin)>") }
    }

    /// `BODY[1.2.HEADER.FIELDS (FROM TO)]<0>`, as a FETCH response names what it carries.
    package mutating func sectionName(_ section: Section, origin: Int?) {
        raw("BODY[" + section.part.map { String($0) }.joined(separator: "."))
        if !section.part.isEmpty, section.text != .content { raw(".") }
        switch section.text {
        case .content: break
        case .header: raw("HEADER")
        case .headerFields(let names): headerNames("HEADER.FIELDS", names)
        case .headerFieldsNot(let names): headerNames("HEADER.FIELDS.NOT", names)
        case .text: raw("TEXT")
        case .mime: raw("MIME")
        }
        raw("]")
        if let origin { raw("<\(origin)>") }
    }

    private mutating func headerNames(_ word: String, _ names: [[UInt8]]) {
        raw(word + " (")
        for (index, name) in names.enumerated() {
            if index > 0 { space() }
            astring(name)
        }
        raw(")")
    }
}
