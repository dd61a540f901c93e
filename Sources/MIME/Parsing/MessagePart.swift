/// A message, or a part of one: where it is, and what its header says of its content (RFC 2045).
package struct MessagePart: Sendable {
    /// The header with the empty line behind it. Octets from the start of the message.
    package var header: Range<Int>
    /// The body, without the line end that belongs to the boundary behind it. Octets from the start of the message.
    package var body: Range<Int>
    /// Line ends in the body.
    package var lines = 0
    package var content = ContentFields()
    /// What is wrong with it.
    package var defects: Defects = []
    /// The envelope's fields; only in messages, not in other parts.
    package var envelope: EnvelopeFields?
    /// The parts of a multipart; the one message of a message/rfc822.
    package var children: [MessagePart] = []

    package var isMultipart: Bool { content.isMultipart && !children.isEmpty }
    /// Whether this part is a message in itself that was looked into.
    package var isEmbeddedMessage: Bool { !content.isMultipart && !children.isEmpty }

    /// The part with that number (RFC 3501 §6.4.5): `[]` is the message itself, `[2, 1]` the first part of the second.
    package func part(_ path: ArraySlice<Int>) -> MessagePart? {
        guard let number = path.first else { return self }
        if isMultipart {
            guard children.indices.contains(number - 1) else { return nil }
            return children[number - 1].part(path.dropFirst())
        }
        if envelope == nil, isEmbeddedMessage, let message = children.first { return message.part(path) }
        // A message that has only one part: its body is part 1.
        guard number == 1, envelope != nil else { return nil }
        if path.count == 1 { return self }
        // The one part of the message may itself be a message.
        return isEmbeddedMessage ? children.first?.part(path.dropFirst()) : nil
    }

    /// Octets that the part takes in memory, about.
    package var weight: Int {
        200 + content.weight + (envelope?.weight ?? 0) + children.reduce(0) { $0 + $1.weight }
    }
}

/// What a header says of the content.
package struct ContentFields: Sendable, Equatable {
    /// Such as `text/plain`, with its parameters.
    package var type = ParameterizedValue(
        value: Array("text/plain".utf8),
        parameters: [MIMEParameter(name: Array("charset".utf8), value: Array("us-ascii".utf8))]
    )
    package var identifier: [UInt8]?
    package var description: [UInt8]?
    /// As it is written; nil stands for `7bit`.
    package var transferEncoding: [UInt8]?
    package var md5: [UInt8]?
    package var disposition: ParameterizedValue?
    package var language: [[UInt8]] = []
    package var location: [UInt8]?
    /// Whether there is a Content-Type that names no type and subtype.
    package var hasInvalidType = false
    /// Whether a field was read although its grammar doesn't allow what stands there.
    package var hasMalformedField = false

    package init() {}

    package init(_ header: HeaderBlock, isInDigest: Bool = false) {
        if let field = header.first("content-type") {
            read(type: field)
        } else if isInDigest {
            type = ParameterizedValue(value: Array("message/rfc822".utf8))
        }
        identifier = header.first("content-id")
        description = header.first("content-description")
        transferEncoding = header.first("content-transfer-encoding").map { field in
            let (word, isAlone) = FieldScanner.word(field)
            hasMalformedField = hasMalformedField || !isAlone
            return word
        }
        md5 = header.first("content-md5")
        disposition = header.first("content-disposition").map { field in
            var disposition = ParameterizedValue(field: field)
            // What names no disposition is as one that isn't known (RFC 2183 §2.8).
            if disposition.value.isEmpty { disposition.value = Array("attachment".utf8) }
            return disposition
        }
        hasMalformedField = hasMalformedField || type.isMalformed || disposition?.isMalformed == true
        language = (header.first("content-language") ?? []).split(separator: UInt8(ascii: ",")).map {
            Array(ASCII.trim($0))
        }
        location = header.first("content-location")
    }

    /// A type without a subtype is as none (RFC 2045 §5.2), but for its parameters, and where a boundary says that there are
    /// parts.
    private mutating func read(type field: [UInt8]) {
        let type = ParameterizedValue(field: field)
        let slash = type.value.firstIndex(of: UInt8(ascii: "/"))
        guard slash == nil || slash == 0 || slash == type.value.count - 1 else {
            self.type = type
            return
        }
        hasInvalidType = true
        let isMultipart =
            ASCII.equal(type.value.prefix { $0 != UInt8(ascii: "/") }, "multipart") && type["boundary"] != nil
        if isMultipart { self.type.value = Array("multipart/mixed".utf8) }
        if !type.parameters.isEmpty { self.type.parameters = type.parameters }
    }

    /// `text` of `text/plain`.
    package var mainType: ArraySlice<UInt8> { type.value.prefix { $0 != UInt8(ascii: "/") } }
    /// `plain` of `text/plain`.
    package var subtype: ArraySlice<UInt8> { type.value[mainType.endIndex...].dropFirst() }

    package var isMultipart: Bool { ASCII.equal(mainType, "multipart") }
    package var isText: Bool { ASCII.equal(mainType, "text") }
    package var isMessage: Bool {
        ASCII.equal(type.value, "message/rfc822") || ASCII.equal(type.value, "message/global")
    }

    /// Whether the octets are words for people, also where they're a multipart or a message that could not be looked into.
    package var isReadable: Bool { isText || isMultipart || ASCII.equal(mainType, "message") }

    package var encoding: TransferDecoder.Encoding { TransferDecoder.Encoding(field: transferEncoding ?? []) }
    package var charset: Charset? { type["charset"].map { Charset($0) } ?? .utf8 }

    var weight: Int {
        let parameters = type.parameters + (disposition?.parameters ?? [])
        return type.value.count + (identifier?.count ?? 0) + (description?.count ?? 0) + (location?.count ?? 0)
            + parameters.reduce(0) { $0 + $1.name.count + $1.value.count + 64 }
    }
}

/// The fields that IMAP's ENVELOPE is made of (RFC 3501 §7.4.2), unfolded; nil where a field is missing.
package struct EnvelopeFields: Sendable, Equatable {
    package var date: [UInt8]?
    package var subject: [UInt8]?
    package var from: [UInt8]?
    package var sender: [UInt8]?
    package var replyTo: [UInt8]?
    package var to: [UInt8]?
    package var cc: [UInt8]?
    package var bcc: [UInt8]?
    package var inReplyTo: [UInt8]?
    package var messageID: [UInt8]?

    package init(_ header: HeaderBlock) {
        date = header.first("date")
        subject = header.first("subject")
        from = header.first("from")
        sender = header.first("sender")
        replyTo = header.first("reply-to")
        to = Self.joined(header, "to")
        cc = Self.joined(header, "cc")
        bcc = Self.joined(header, "bcc")
        inReplyTo = header.first("in-reply-to")
        messageID = header.first("message-id")
    }

    /// Several fields of one name count as one list.
    private static func joined(_ header: HeaderBlock, _ name: String) -> [UInt8]? {
        let values = header.all(name.utf8)
        return values.isEmpty ? nil : Array(values.joined(separator: [UInt8(ascii: ","), ASCII.space]))
    }

    var weight: Int {
        [date, subject, from, sender, replyTo, to, cc, bcc, inReplyTo, messageID].reduce(160) { $0 + ($1?.count ?? 0) }
    }
}
