import DNS
import Encodings
import MIME

/// Why a message can't be signed.
package enum DKIMSigningError: Error, Sendable, Equatable {
    /// The domain and the selector don't make a name.
    case badName
    /// The identity (i=) is not of the domain, nor of one below it.
    case badIdentity
    /// The key is neither RSA of at least 1024 bits nor Ed25519.
    case badKey
    /// The message has no From field, or a line in its header that is no field, or its header is longer than the limit.
    case badHeader
    /// The body was not hashed in the way that the signature needs.
    case noBodyHash
}

/// Which fields a signature covers.
package struct SignedFieldList: Sendable {
    /// In small letters: covered as often as they are there, and once more, so that none can be added.
    package var oversigned: [[UInt8]]
    /// In small letters: covered as often as they are there.
    package var signed: [[UInt8]]

    package init(oversigned: [[UInt8]], signed: [[UInt8]]) {
        self.oversigned = oversigned
        self.signed = signed
    }

    /// What says who wrote what to whom and how it's shown is oversigned; the rest of what RFC 6376 §5.4.1 lists is
    /// signed, since hosts on the way may add such.
    package static let standard = SignedFieldList(
        oversigned: names(
            "from to cc subject date message-id reply-to mime-version content-type content-transfer-encoding"
        ),
        signed: names(
            "sender in-reply-to references content-id content-description content-disposition resent-date resent-from "
                + "resent-sender resent-to resent-cc resent-message-id list-id list-help list-unsubscribe "
                + "list-unsubscribe-post list-subscribe list-post list-owner list-archive autocrypt"
        )
    )

    private static func names(_ text: String) -> [[UInt8]] { text.utf8.split(separator: 0x20).map { Array($0) } }

    /// The names for h=.
    func names(in header: HeaderBlock) -> [[UInt8]] {
        var counts: [[UInt8]: Int] = [:]
        for field in header.fields { counts[header.octets[field.name].map(ASCII.lower), default: 0] += 1 }
        return oversigned.flatMap { [[UInt8]](repeating: $0, count: (counts[$0] ?? 0) + 1) }
            + signed.flatMap { [[UInt8]](repeating: $0, count: counts[$0] ?? 0) }
    }
}

/// Signs messages (RFC 6376 §5).
package struct DKIMSigner: Sendable {
    package var name: SigningName
    package var headerCanonicalization = Canonicalization.relaxed
    package var bodyCanonicalization = Canonicalization.relaxed
    package var fields = SignedFieldList.standard
    /// i=; left out where nil.
    package var identity: [UInt8]?
    /// Seconds until the signature expires (x=); nil for never.
    package var lifetime: Int?
    /// Puts copies of the signed fields into z=, for diagnosis.
    package var copiesFields = false
    /// Signs only so many octets of the body (l=); nil for all, which is what should be.
    package var bodyLength: Int?

    package init(_ name: SigningName) { self.name = name }

    /// How the body has to be hashed.
    package var bodyHashMethod: BodyHashMethod { BodyHashMethod(bodyCanonicalization, length: bodyLength) }

    /// The DKIM-Signature field for the message, with CRLF at its end; it goes on top.
    ///
    /// - Parameter now: seconds since 1970.
    package func field(
        for message: HashedMessage,
        now: Int,
        by key: SigningKey
    ) throws(DKIMSigningError) -> [UInt8] {
        let draft = try draft(for: message, now: now)
        return draft.field(try key.signature(of: draft))
    }

    /// The DKIM-Signature field for the message but for its signature; it goes on top.
    ///
    /// - Parameter now: seconds since 1970.
    package func draft(for message: HashedMessage, now: Int) throws(DKIMSigningError) -> SignatureDraft {
        let header = message.header
        guard !message.isHeaderCut, header.first("from") != nil, header.hasOnlyFields else { throw .badHeader }
        guard let hash = message.bodyHashes[bodyHashMethod] else { throw .noBodyHash }
        if let bodyLength, bodyLength > hash.octets { throw .noBodyHash }
        try checkIdentity()
        let names = fields.names(in: header)
        var writer = SignatureWriter(name: "DKIM-Signature")
        writer.add("v", "1")
        writer.add("a", Array(name.algorithm.rawValue.utf8))
        writer.add("c", "\(headerCanonicalization.rawValue)/\(bodyCanonicalization.rawValue)")
        writer.add("d", name.domain)
        writer.add("s", name.selector)
        if let identity { writer.add("i", QuotedText.encode(identity)) }
        writer.add("t", "\(now)")
        if let lifetime { writer.add("x", "\(now + max(1, lifetime))") }
        if let bodyLength { writer.add("l", "\(bodyLength)") }
        writer.add("h", names, separator: UInt8(ascii: ":"))
        if copiesFields { writer.add("z", copies(names, message), separator: UInt8(ascii: "|"), breaking: true) }
        writer.add("bh", Base64.encode(hash.digest))
        var input = SignatureInput.octets(
            names,
            of: message,
            excluding: nil,
            canonicalization: headerCanonicalization
        )
        input += SignatureInput.unsigned(writer.unsigned(), canonicalization: headerCanonicalization)
        return SignatureDraft(name, writer, input: input)
    }

    /// A signature with another identity would be a permerror to all who verify it (RFC 6376 §3.5).
    private func checkIdentity() throws(DKIMSigningError) {
        guard let identity else { return }
        guard let at = identity.lastIndex(of: UInt8(ascii: "@")),
            let host = MailDomain.hostName(Array(identity[(at + 1)...])), let domain = MailDomain.hostName(name.domain),
            host.isSubdomain(of: domain)
        else { throw .badIdentity }
    }

    private func copies(_ names: [[UInt8]], _ message: HashedMessage) -> [[UInt8]] {
        let header = message.header
        return message.fieldIndex.select(names, excluding: nil).map { place in
            let field = header.fields[place]
            return Array(header.octets[field.name]) + [UInt8(ascii: ":")]
                + QuotedText.encode(header.octets[field.value], escaping: [UInt8(ascii: "|"), UInt8(ascii: ":")])
        }
    }
}
