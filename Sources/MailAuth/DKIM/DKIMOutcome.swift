import DNS
import Encodings

/// What a check of a signature says (RFC 8601 §2.7.1).
package enum DKIMResult: String, Sendable, CaseIterable {
    case none
    case pass
    /// It does not fit the message.
    case fail
    /// It may fit, but is not acceptable: too old, from the future, or over too little.
    case policy
    /// It can't be processed: syntax, unknown algorithms, limits.
    case neutral
    /// The key could not be looked up now.
    case temperror
    /// It can never be verified: there's no key, or no acceptable one, or something required is missing.
    case permerror
}

/// What became of one signature, and why.
package struct DKIMOutcome: Sendable {
    package var result: DKIMResult
    /// One sentence for people; parts of it may be a stranger's text.
    package var reason: String
    /// nil where it could not be read.
    package var signature: DKIMSignature?
    /// The signature's place among the fields of the header.
    package var field: Int
    /// The domain only tries DKIM out: a failure means no more than no signature (RFC 6376 §3.6.1, t=y).
    package var isTesting = false
    /// The size of the key; nil where there's none.
    package var keyBits: Int?
    /// Octets at the end of the body that l= leaves out.
    package var unsignedOctets = 0
    /// Signed fields that differ from the copies in z=, where the signature fails and has such.
    package var changedFields: [[UInt8]] = []

    /// The first eight characters of b=, which tell signatures apart (RFC 6008 §4).
    package var signaturePrefix: [UInt8] {
        Array(Base64.encode(signature?.signature.prefix(6) ?? []))
    }
}
