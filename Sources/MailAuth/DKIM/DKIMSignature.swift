import Cryptography
import DNS
import MIME

/// What a signature was made with (RFC 6376 §3.3, RFC 8301, RFC 8463).
package enum SignatureAlgorithm: String, Sendable, Hashable {
    case rsaSHA256 = "rsa-sha256"
    case ed25519SHA256 = "ed25519-sha256"
    /// Known, but no longer valid (RFC 8301 §3.1).
    case rsaSHA1 = "rsa-sha1"

    /// The value of k= that a key for it has.
    package var keyType: StaticString {
        switch self {
        case .rsaSHA256, .rsaSHA1: "rsa"
        case .ed25519SHA256: "ed25519"
        }
    }
}

/// Why a check came out otherwise than it should.
package struct SignatureFault: Error, Sendable, Equatable {
    package var result: DKIMResult
    /// For people.
    package var reason: String

    package init(_ result: DKIMResult, _ reason: String) {
        self.result = result
        self.reason = reason
    }
}

/// A DKIM-Signature field, or an ARC-Message-Signature, which is the same with an instance in i= and without v=
/// (RFC 6376 §3.5, RFC 8617 §4.1.2).
package struct DKIMSignature: Sendable, Equatable {
    package enum Kind: Sendable, Hashable { case message, arcMessage }

    package let kind: Kind
    package let algorithm: SignatureAlgorithm
    /// b=.
    package let signature: [UInt8]
    /// bh=.
    package let bodyHash: [UInt8]
    package let headerCanonicalization: Canonicalization
    package let bodyCanonicalization: Canonicalization
    /// d=, as it is written.
    package let domain: [UInt8]
    package let selector: [UInt8]
    /// h=, in small letters.
    package let signedFields: [[UInt8]]
    /// i=, decoded; `@` and the domain where it's left out. Empty in ARC.
    package let identity: [UInt8]
    /// i= of ARC; 0 elsewhere.
    package let instance: Int
    /// l=.
    package let bodyLength: Int?
    /// t= and x=, seconds since 1970.
    package let signedAt: Int?
    package let expiresAt: Int?
    /// z=: fields as they were signed, decoded.
    package let copiedFields: [(name: [UInt8], value: [UInt8])]
    /// Where the key is.
    package let keyName: DomainName
    /// Where the value of b= lies in the field's value.
    let signatureExtent: Range<Int>

    package static func == (left: DKIMSignature, right: DKIMSignature) -> Bool {
        left.signature == right.signature && left.bodyHash == right.bodyHash && left.keyName == right.keyName
            && left.signedFields == right.signedFields && left.instance == right.instance
    }

    package var bodyHashMethod: BodyHashMethod {
        BodyHashMethod(bodyCanonicalization, algorithm == .rsaSHA1 ? .sha1 : .sha256, length: bodyLength)
    }

    /// Reads a field's value, folded as it came.
    package init(field value: ArraySlice<UInt8>, kind: Kind) throws(SignatureFault) {
        let reader = try SignatureTags(value, what: kind == .message ? "signature" : "ARC-Message-Signature")
        self.kind = kind
        if kind == .message {
            guard try reader.required("v") == [UInt8(ascii: "1")] else {
                throw SignatureFault(.neutral, "the signature is of a version other than 1")
            }
            instance = 0
        } else {
            instance = try reader.instance()
        }
        algorithm = try reader.algorithm()
        (signature, signatureExtent) = try reader.signature()
        bodyHash = try reader.base64("bh")
        (headerCanonicalization, bodyCanonicalization) = try reader.canonicalizations()
        (domain, selector, keyName) = try reader.key()
        signedFields = try reader.signedFields()
        bodyLength = try reader.number("l")
        signedAt = try reader.number("t")
        expiresAt = try reader.number("x")
        identity = kind == .message ? try reader.identity(domain: domain) : []
        copiedFields = try reader.copiedFields()
        try reader.checkQueryMethods()
        if let signedAt, let expiresAt, expiresAt <= signedAt {
            throw SignatureFault(.neutral, "the signature expires (x=) before it was made (t=)")
        }
        if kind == .arcMessage, signedFields.contains(where: { ASCII.equal($0, "arc-seal") }) {
            throw SignatureFault(.permerror, "an ARC-Message-Signature must not sign ARC-Seal fields")
        }
    }
}
