import Cryptography
import MIME

/// What a signature is over: chosen fields, then the signature's own without its b= (RFC 6376 §3.7).
enum SignatureInput {
    /// The fields that h= chooses, in their canonical form.
    ///
    /// - Parameter excluded: the signature's own field, which never signs itself.
    static func octets(
        _ names: [[UInt8]],
        of message: HashedMessage,
        excluding excluded: Int?,
        canonicalization: Canonicalization
    ) -> [UInt8] {
        let header = message.header
        return message.fieldIndex.select(names, excluding: excluded).flatMap {
            canonicalization.field(header.fields[$0], in: header.octets)
        }
    }

    /// A signature's field with an empty b=, without its last line end.
    ///
    /// - Parameter extent: where the value of b= lies in the field's value.
    static func unsigned(
        _ field: HeaderField,
        in header: HeaderBlock,
        extent: Range<Int>,
        canonicalization: Canonicalization
    ) -> [UInt8] {
        let start = field.value.lowerBound + extent.lowerBound
        let end = min(field.value.lowerBound + extent.upperBound, field.value.upperBound)
        guard start <= end else { return [] }
        let octets = header.octets[field.whole.lowerBound..<start] + header.octets[end..<field.whole.upperBound]
        return unsigned(Array(octets), canonicalization: canonicalization)
    }

    /// A field whose b= is empty already, without its last line end.
    static func unsigned(_ octets: [UInt8], canonicalization: Canonicalization) -> [UInt8] {
        // A field from its own octets: positions differ from those in the header. An empty line ends it nowhere.
        let block = HeaderBlock(octets)
        guard let field = block.fields.first else { return [] }
        return canonicalization.field(field, in: block.octets).dropLast(2)
    }

    /// Checks a signature (RFC 6376 §6.1.3, RFC 8463 §3).
    static func isValid(
        _ signature: [UInt8],
        of input: [UInt8],
        key: PublicKey,
        algorithm: SignatureAlgorithm
    ) -> Bool {
        switch algorithm {
        case .rsaSHA256: key.isValid(signature: signature, of: input, using: .sha256)
        case .ed25519SHA256:
            key.isValid(signature: signature, of: HashFunction.sha256.digest(of: input), using: nil)
        case .rsaSHA1: false
        }
    }
}
