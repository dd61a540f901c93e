/// A part of a message that is to be built (RFC 2045, RFC 2046).
package indirect enum MIMEEntity: Sendable {
    /// Text in UTF-8; any line ends become CRLF.
    case text(subtype: String, String)
    /// A file, attached under a name.
    case attachment(type: String, name: String, [UInt8])
    /// Lines of fields as a report has them (message/delivery-status, message/disposition-notification), in ASCII or UTF-8;
    /// or a message with UTF-8 in its header (message/global, RFC 6532). Never encoded.
    case fields(type: String, [UInt8])
    case multipart(subtype: String, parameters: [String: String], [MIMEEntity])
    /// A message within this one, as message/rfc822; it's never encoded.
    case message([UInt8])

    /// A report of any kind (RFC 6522): words for people, fields for programs, and what it's about.
    ///
    /// - Parameters:
    ///   - type: such as `delivery-status` (RFC 3464) or `disposition-notification` (RFC 8098).
    ///   - original: the header of the message that it's about.
    package static func report(type: String, text: String, fields: [UInt8], original: [UInt8]?) -> MIMEEntity {
        var parts: [MIMEEntity] = [.text(subtype: "plain", text), .fields(type: "message/\(type)", fields)]
        if let original { parts.append(.fields(type: "text/rfc822-headers", original)) }
        return .multipart(subtype: "report", parameters: ["report-type": type], parts)
    }

    /// A report of what became of a message (RFC 3464).
    ///
    /// - Parameters:
    ///   - isUTF8: whether it may have UTF-8 where others have ASCII (RFC 6533).
    ///   - original: the message that it's about, or its header.
    package static func deliveryReport(
        _ status: DeliveryReport,
        isUTF8: Bool,
        text: String,
        original: MIMEEntity
    ) throws(BuildError) -> MIMEEntity {
        let type = isUTF8 ? "global-delivery-status" : "delivery-status"
        return .multipart(
            subtype: "report",
            parameters: ["report-type": type],
            [
                .text(subtype: "plain", text), .fields(type: "message/\(type)", try status.written(isUTF8: isUTF8)),
                original,
            ]
        )
    }
}

/// A message that was built.
package struct BuiltMessage: Sendable {
    package var octets: [UInt8]
    /// Whether its lines have octets beyond ASCII: it needs 8BITMIME (RFC 6152).
    package var needsEightBit: Bool
    /// Whether it needs SMTPUTF8 (RFC 6531).
    package var needsUTF8: Bool
}

/// Puts a header and a body together.
package struct MessageBuilder {
    private let allowsEightBit: Bool
    private var random: () -> UInt64

    /// Multiparts within each other.
    private static let depth = 20

    /// - Parameters:
    ///   - allowsEightBit: whether text may be sent as it is.
    ///   - random: for boundaries, which nobody must be able to guess.
    package init(allowsEightBit: Bool = false, random: @escaping () -> UInt64) {
        self.allowsEightBit = allowsEightBit
        self.random = random
    }

    /// The message, with MIME-Version behind the given fields.
    package func build(_ header: HeaderBuilder, _ body: MIMEEntity) throws(BuildError) -> BuiltMessage {
        var header = header
        try header.add("MIME-Version", text: "1.0")
        let octets = header.octets + (try render(body, depth: 0))
        let needsEightBit = octets.contains { $0 >= 0x80 }
        return BuiltMessage(octets: octets, needsEightBit: needsEightBit, needsUTF8: header.needsUTF8)
    }

    private func render(_ entity: MIMEEntity, depth: Int) throws(BuildError) -> [UInt8] {
        switch entity {
        case .text(let subtype, let text):
            try leaf("text/\(subtype)", [("charset", "utf-8")], Self.withLineEnds(Array(text.utf8)), isText: true)
        case .attachment(let type, let name, let content):
            try leaf(type, [("name", name)], content, name: name, isText: false)
        case .fields(let type, let content):
            try leaf(type, [], Self.withLineEnds(content), isText: true, isEncoded: false)
        case .message(let content): try leaf("message/rfc822", [], content, isText: true, isEncoded: false)
        case .multipart(let subtype, let parameters, let parts):
            try multipart("multipart/\(subtype)", parameters, parts, depth: depth)
        }
    }

    private func leaf(
        _ type: String,
        _ parameters: [(name: String, value: String)],
        _ content: [UInt8],
        name: String? = nil,
        isText: Bool,
        isEncoded: Bool = true
    ) throws(BuildError) -> [UInt8] {
        try Self.check(type)
        var header = HeaderBuilder()
        try header.add("Content-Type", value: type, parameters: parameters)
        var encoding = ContentEncoding(for: content, isText: isText, allowsEightBit: allowsEightBit)
        // These types may not be encoded (RFC 2046 §5.2.1); what is in them tells what they need.
        if !isEncoded { encoding = content.contains { $0 >= 0x80 } ? .eightBit : .sevenBit }
        try header.add("Content-Transfer-Encoding", text: encoding.rawValue)
        if let name { try header.add("Content-Disposition", value: "attachment", parameters: [("filename", name)]) }
        return header.octets + [ASCII.carriageReturn, ASCII.lineFeed] + encoding.encode(content, isText: isText)
    }

    private func multipart(
        _ type: String,
        _ parameters: [String: String],
        _ parts: [MIMEEntity],
        depth: Int
    ) throws(BuildError) -> [UInt8] {
        guard !parts.isEmpty, depth < Self.depth else { throw .badStructure }
        try Self.check(type)
        var rendered: [[UInt8]] = []
        for part in parts { rendered.append(try render(part, depth: depth + 1)) }
        let boundary = boundary(notIn: rendered)
        var header = HeaderBuilder()
        let sorted = parameters.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        try header.add("Content-Type", value: type, parameters: sorted + [("boundary", boundary)])
        if rendered.contains(where: { $0.contains { $0 >= 0x80 } }) {
            try header.add("Content-Transfer-Encoding", text: "8bit")
        }
        var octets = header.octets
        for part in rendered {
            octets += "\r\n--\(boundary)\r\n".utf8
            octets += part
        }
        return octets + "\r\n--\(boundary)--\r\n".utf8
    }

    /// A boundary that begins no line of the parts. Neither base64 nor quoted-printable can hold it (RFC 2045 §6.7 (5)).
    private func boundary(notIn parts: [[UInt8]]) -> String {
        while true {
            let boundary = "=_" + String(random(), radix: 36) + String(random(), radix: 36)
            let mark = Array("--\(boundary)".utf8)
            let isTaken = parts.contains { part in
                part.split(separator: ASCII.lineFeed).contains { $0.starts(with: mark) }
            }
            if !isTaken { return boundary }
        }
    }

    /// `type/subtype`, both tokens (RFC 2045 §5.1).
    private static func check(_ type: String) throws(BuildError) {
        let parts = type.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(ExtendedParameter.isTokenCharacter) })
        else { throw .badType(type) }
    }

    /// CRLF for CRLF, CR and LF.
    static func withLineEnds(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count + text.count / 16)
        var last: UInt8 = 0
        for octet in text {
            if octet == ASCII.lineFeed || octet == ASCII.carriageReturn {
                if octet == ASCII.carriageReturn || last != ASCII.carriageReturn {
                    result += [ASCII.carriageReturn, ASCII.lineFeed]
                }
            } else {
                result.append(octet)
            }
            last = octet
        }
        return result
    }
}
