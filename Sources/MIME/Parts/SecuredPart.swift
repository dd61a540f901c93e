/// A multipart/signed or multipart/encrypted (RFC 1847; RFC 3156 for OpenPGP, RFC 8551 for S/MIME), of which it is known
/// which part is which. Nothing is verified or decrypted.
package struct SecuredPart: Sendable {
    package enum Kind: Sendable {
        case signed, encrypted
    }

    package let kind: Kind
    /// The type that `protocol` names, in lower case.
    package let protocolName: String
    /// The hash that `micalg` names, in lower case; only of signed ones.
    package let micalg: String?
    /// What is signed; or the encrypted octets.
    package let content: MessagePart
    /// The signature; or what tells how to decrypt.
    package let control: MessagePart

    /// The octets that a signature is made over: the part with its header, without the line end that belongs to the
    /// delimiter behind it. They count with CRLF as line ends.
    package var signedRange: Range<Int> {
        content.header.lowerBound..<max(content.header.lowerBound, content.body.upperBound)
    }

    /// nil where it is none or isn't formed as RFC 1847 says: two parts, one of the type that `protocol` names, in the
    /// second place where it's a signature and in the first where it controls decryption.
    package init?(_ part: MessagePart) {
        guard let kind = Self.kind(part), part.children.count == 2, let name = part.content.type["protocol"] else {
            return nil
        }
        let (content, control) =
            kind == .signed ? (part.children[0], part.children[1]) : (part.children[1], part.children[0])
        guard ASCII.equal(control.content.type.value, name) else { return nil }
        self.kind = kind
        protocolName = String(decoding: name.map(ASCII.lower), as: UTF8.self)
        micalg = part.content.type["micalg"].map { String(decoding: $0.map(ASCII.lower), as: UTF8.self) }
        self.content = content
        self.control = control
    }

    /// What the part claims to be.
    package static func kind(_ part: MessagePart) -> Kind? {
        guard part.content.isMultipart else { return nil }
        if ASCII.equal(part.content.subtype, "signed") { return .signed }
        return ASCII.equal(part.content.subtype, "encrypted") ? .encrypted : nil
    }

    /// Whether a part claims to be encrypted, in any of the ways of MIME.
    package static func isEncrypted(_ part: MessagePart) -> Bool {
        if kind(part) == .encrypted { return true }
        let types: [StaticString] = ["application/pkcs7-mime", "application/x-pkcs7-mime"]
        guard types.contains(where: { ASCII.equal(part.content.type.value, $0) }) else { return false }
        return part.content.type["smime-type"].map {
            ASCII.equal($0, "enveloped-data") || ASCII.equal($0, "authenveloped-data")
        } ?? true
    }

    /// Encrypted parts that stand beside others, where a reader that shows them together can be made to give away what is
    /// in them (RFC 9787 §4.5): none in a message that is encrypted as a whole.
    package static func splicedParts(of root: MessagePart) -> [MessagePart] {
        if root.isEmbeddedMessage { return root.children.flatMap { splicedParts(of: $0) } }
        guard root.isMultipart, !isEncrypted(root) else { return [] }
        let isAlone = root.children.count == 1 || (kind(root) == .signed)
        return root.children.flatMap { child in
            isEncrypted(child) && !isAlone ? [child] : splicedParts(of: child)
        }
    }
}
